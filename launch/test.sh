#!/usr/bin/env bash
# Set up .venv from the exact versions of constraints.txt, then lint, format
# check, type check and test. Arguments go to pytest: launch/test.sh -m slow
# EXTRAS adds to what is installed. CI has EXTRAS=metrics,tpu:
#   metrics  our metrics are compared with those of PyTorch's libraries, too
#   tpu      programs are compiled for TPUs, too; needs no TPU, but 200 MB
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source launch/setup.sh "dev${EXTRAS:+,$EXTRAS}"

echo "== lint";         ruff check .
echo "== format";       ruff format --check .
echo "== shell"
shellcheck -x launch/*.sh launch/slurm.sbatch .ci/run findings/*.sh
echo "== types";        basedpyright --warnings
echo "== tests"
# Two processes, as on the smallest machine that CI has; -n 0 runs in this one.
# A file's tests stay in one process, which sets up once what they share.
exec python -m pytest -n 2 --dist loadfile --no-loadscope-reorder "$@"
