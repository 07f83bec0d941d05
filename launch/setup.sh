#!/usr/bin/env bash
# Make .venv (once), install vdr in it with the named extras, and activate it:
#   source launch/setup.sh [extra,extra]
# Reads PYTHON for the interpreter to use (3.11 or newer), default python3.
# Functions, because this runs in the caller's shell: it leaves no variables
# behind, and fails by returning instead of closing the terminal.
_vdr_setup() {
  local root="$1" extras="$2" venv="$1/.venv" python stamp
  if [[ ! "$extras" =~ ^[a-z,]*$ ]]; then
    echo "launch/setup.sh: '$extras' is no list of extras; setup.py has them" >&2
    return 1
  fi
  python="$venv/bin/python"
  [ -x "$python" ] || python="${PYTHON:-python3}"
  if ! "$python" -c "import sys; sys.exit(sys.version_info < (3, 11))" \
    2> /dev/null; then
    echo "launch/setup.sh: $python is not Python 3.11 or newer; set PYTHON to" \
      "one that is, and remove .venv if it is there" >&2
    return 1
  fi
  # `activate` is the last file that venv writes: without it, start anew.
  if [ ! -x "$venv/bin/python" ] || [ ! -f "$venv/bin/activate" ]; then
    echo "== making .venv"
    "$python" -m venv --clear "$venv" || return 1
  fi
  # The stamp holds what the last install was made from: no change, no install.
  stamp="$venv/installed-${extras:-base}"
  if [ "$(_vdr_recipe "$root")" != "$(cat "$stamp" 2> /dev/null)" ]; then
    echo "== installing vdr${extras:+[$extras]} (a minute or two)"
    rm -f "$stamp"
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check \
      --constraint "$root/constraints.txt" \
      --editable "$root${extras:+[$extras]}" || return 1
    _vdr_recipe "$root" > "$stamp"
  fi
  # shellcheck source=/dev/null
  source "$venv/bin/activate"
}

_vdr_recipe() {
  echo "$1" # an editable install knows its place
  cat "$1/setup.py" "$1/constraints.txt"
}

_vdr_setup "$(cd "$(dirname "${BASH_SOURCE[0]:-$0}")/.." && pwd)" "${1:-}"
