#!/usr/bin/env bash
# Runs vdr on the GPUs of this machine: sets .venv up for them, and starts.
#
#   launch/gpu.sh [--gpus=0,1] [--dry_run] -- --config=FILE --workdir=DIR …
#
#   --gpus     which of them (nvidia-smi counts them); all by default
#   --dry_run  show the commands instead of running them
#
# One process drives all GPUs: config.mesh says how they share the work. The
# NVIDIA driver must be there; CUDA comes with the installation.
set -euo pipefail
# shellcheck source=launch/flags.sh
source "$(dirname "${BASH_SOURCE[0]}")/flags.sh"
read_options "gpus" "" "$@"
need_vdr_options ""
[ -z "${option[gpus]:-}" ] || [[ "${option[gpus]}" =~ ^[0-9]+(,[0-9]+)*$ ]] ||
  fail "--gpus=${option[gpus]} is no list of numbers such as 0,1"

act cd "$ROOT"
[ -n "${option[dry_run]:-}" ] || nvidia-smi --list-gpus > /dev/null 2>&1 ||
  fail "nvidia-smi finds no GPU here; install the NVIDIA driver"
act source launch/setup.sh cuda
# Without a GPU that works, JAX would quietly take the CPU.
act export JAX_PLATFORMS=cuda,cpu
[ -z "${option[gpus]:-}" ] || act export CUDA_VISIBLE_DEVICES="${option[gpus]}"
act exec python -m vdr.main "${rest[@]}"
