#!/usr/bin/env bash
# Runs what takes too long for launch/test.sh, stage by stage, and sums up.
#
#   launch/nightly.sh [--only=wheel,notebooks] [--dry_run]
#
#   slow        the tests that take minutes
#   extras      all extras install together; then launch/test.sh with them, so
#               that no test is skipped because a package is missing
#   wheel       a source distribution and its wheel, which runs a study in an
#               environment of its own, from an empty folder
#   notebooks   both at full size
#   benchmarks  python -m benchmarks --quick
#
#   --only      some of these stages
#   --dry_run   show the commands instead of running them
#
# A stage that fails does not stop the next one; the exit status is then 1. It
# takes some hours on two cores, and installs into .venv. CONTRIBUTING.md says
# how to get PyTorch without CUDA.
set -euo pipefail
# shellcheck source=launch/flags.sh
source "$(dirname "${BASH_SOURCE[0]}")/flags.sh"
STAGES=(slow extras wheel notebooks benchmarks)
# All but `dev`, which launch/test.sh adds, and `cuda`; see below.
EXTRAS=cluster,interop,metrics,tpu

setup() {
  act source launch/setup.sh "dev,$EXTRAS"
}

slow() {
  setup
  act python -m pytest -n 2 --dist loadfile --no-loadscope-reorder -m slow \
    --ignore=tests/notebooks
}

extras() {
  setup
  act python -m pip check
  # Several GB, and of no use without a GPU: only whether it would install.
  act python -m pip install --quiet --disable-pip-version-check --dry-run \
    --constraint constraints.txt --editable ".[cuda]"
  act env EXTRAS="$EXTRAS" bash launch/test.sh -rs
}

wheel() {
  local folder="${TMPDIR:-/tmp}/vdr-nightly" version
  version="$(sed -n 's/^__version__ = "\(.*\)"/\1/p' vdr/__init__.py)"
  setup
  act rm -rf "$folder"
  act mkdir -p "$folder/tree" "$folder/empty"
  # Built from a copy: what earlier builds left in the clone is not in there.
  act "$ROOT/launch/pack.sh" "$folder/tree.tar.gz"
  act tar -xzf "$folder/tree.tar.gz" -C "$folder/tree"
  act python -m build --outdir "$folder/dist" "$folder/tree"
  act python -m venv "$folder/venv"
  act "$folder/venv/bin/python" -m pip install --quiet \
    --disable-pip-version-check --constraint "$ROOT/constraints.txt" \
    "$folder/dist/video_diffusion_representations-$version-py3-none-any.whl"
  act cd "$folder/empty"
  act env --unset=PYTHONPATH "$folder/venv/bin/python" -m vdr.main \
    --config=configs/study.py:debug --workdir=runs/debug
  act cd "$ROOT"
  act rm -rf "$folder" # 1.4 GB; it stays where something failed
}

notebooks() {
  setup
  act python -m pytest -n 0 -m slow tests/notebooks
}

benchmarks() {
  setup
  act python -m benchmarks --quick
}

# Runs the stages that are named; its status is 1 if one of them failed.
run_all() {
  local stage start seconds status word failed=0 summary=''
  for stage; do
    echo "== $stage"
    start=$SECONDS
    # Not as a condition: a stage has to end with the first command that fails.
    set +e
    (
      set -e
      cd "$ROOT"
      "$stage"
    )
    status=$?
    set -e
    word=passed
    [ "$status" -eq 0 ] || word=FAILED failed=1
    seconds=$((SECONDS - start))
    summary+="$(printf '%-12s%-8s%4d:%02d' "$stage" "$word" \
      $((seconds / 60)) $((seconds % 60)))"$'\n'
  done
  printf '== summary\n%s' "$summary"
  return "$failed"
}

read_options only "" "$@"
[ ${#rest[@]} -eq 0 ] || fail "it takes no options of vdr"
: "${option[only]:=$(IFS=,; echo "${STAGES[*]}")}"
IFS=, read -r -a stages <<< "${option[only]}"
for stage in "${stages[@]}"; do
  [[ " ${STAGES[*]} " == *" $stage "* ]] ||
    fail "--only=${option[only]}: there is no stage '$stage'; there are" \
      "${STAGES[*]}"
done
if [ -n "${option[dry_run]:-}" ]; then
  for stage in "${stages[@]}"; do
    echo "# $stage"
    act cd "$ROOT"
    (cd "$ROOT" && "$stage")
  done
  exit
fi
trap 'exit 130' INT # or only a stage would end
run_all "${stages[@]}"
