#!/usr/bin/env bash
# Make .venv (once), install vdr in it with the named extras, and activate it:
#   source launch/setup.sh [extra,extra]
# Reads PYTHON for the interpreter to use (3.11 or newer), default python3.
extras="${1:-}"
if [ ! -x .venv/bin/python ]; then
  echo "== making .venv"
  "${PYTHON:-python3}" -m venv .venv
fi
# shellcheck source=/dev/null
source .venv/bin/activate
# The stamp holds what the last install was made from: no change, no install.
stamp=".venv/installed-${extras:-base}"
if ! cat setup.py constraints.txt | cmp --silent - "$stamp"; then
  echo "== installing vdr${extras:+[$extras]} (a minute or two)"
  pip install --quiet --disable-pip-version-check \
    --constraint constraints.txt --editable ".${extras:+[$extras]}"
  cat setup.py constraints.txt > "$stamp"
fi
