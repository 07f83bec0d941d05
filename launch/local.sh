#!/usr/bin/env bash
# Set up .venv and run the whole study on this machine: data, tokenizer, both
# models, probes, report. Started again, it goes on where it stopped.
#   launch/local.sh [VARIANT] [--config.key=value …]
# The variant is one of configs/study.py, `local` by default; what it makes
# goes to runs/VARIANT, the report to runs/VARIANT/report/index.html.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
variant=local
case "${1:-}" in
  -h | --help)
    sed -n '2,6s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"
    exit 0
    ;;
  "" | -*) ;;
  *)
    variant="$1"
    shift
    ;;
esac
source launch/setup.sh
exec python -m vdr.main --config="configs/study.py:$variant" \
  --workdir="runs/$variant" "$@"
