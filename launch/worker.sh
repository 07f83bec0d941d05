#!/usr/bin/env bash
# What one TPU host does; launch/tpu_pod.sh calls it on all of them.
#   vdr/launch/worker.sh setup STORAGE    mount it at /mnt/vdr, install vdr
#   vdr/launch/worker.sh start OPTIONS…   start vdr, which outlives the caller
#   vdr/launch/worker.sh wait             show what it says, end as it ends
#   vdr/launch/worker.sh stop             ask it to save and end
# STORAGE is gs://BUCKET (by gcsfuse) or SERVER:/SHARE (NFS, say Filestore).
# State is in ~/.vdr: log, pid, status.
set -euo pipefail
MOUNT="${VDR_MOUNT:-/mnt/vdr}"
STATE="$HOME/.vdr"
cd "$(dirname "${BASH_SOURCE[0]}")/.."

fail() {
  echo "launch/worker.sh: $*" >&2
  exit 2
}

is_running() {
  [ -f "$STATE/pid" ] && kill -0 "$(cat "$STATE/pid")" 2> /dev/null
}

install_gcsfuse() {
  local list=/etc/apt/sources.list.d/gcsfuse.list
  local key=/usr/share/keyrings/cloud.google.asc
  local apt=https://packages.cloud.google.com/apt
  curl -fsS "$apt/doc/apt-key.gpg" | sudo tee "$key" > /dev/null
  echo "deb [signed-by=$key] $apt gcsfuse-$(lsb_release -cs) main" |
    sudo tee "$list" > /dev/null
  sudo apt-get update -qq
  sudo apt-get install -qq -y gcsfuse
}

mount_storage() {
  local storage="$1"
  sudo mkdir -p "$MOUNT"
  if mountpoint -q "$MOUNT"; then return; fi
  case "$storage" in
    gs://*)
      command -v gcsfuse > /dev/null || install_gcsfuse
      sudo chown "$(id -u):$(id -g)" "$MOUNT"
      # Checkpoints are renamed when they are whole (only a bucket with a
      # hierarchical namespace does that at once), and other hosts must see
      # what the first one has written: nothing is cached.
      gcsfuse --implicit-dirs --rename-dir-limit=1000000 \
        --metadata-cache-ttl-secs=0 "${storage#gs://}" "$MOUNT"
      ;;
    *:/*)
      command -v mount.nfs > /dev/null || {
        sudo apt-get update -qq
        sudo apt-get install -qq -y nfs-common
      }
      sudo mount -t nfs "$storage" "$MOUNT"
      ;;
    *) fail "storage '$storage' is neither gs://BUCKET nor SERVER:/SHARE" ;;
  esac
}

find_python() {
  if ! python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
    # Ubuntu 22.04, which TPU hosts have, ships 3.10 and offers 3.11 beside it.
    command -v python3.11 > /dev/null || {
      sudo apt-get update -qq
      sudo apt-get install -qq -y python3.11 python3.11-venv
    }
    export PYTHON=python3.11
  fi
}

activate() {
  find_python
  # shellcheck source=launch/setup.sh
  source launch/setup.sh tpu
}

case "${1:-}" in
  setup)
    [ $# -eq 2 ] || fail "use it as: setup STORAGE"
    mount_storage "$2"
    activate
    ;;
  start)
    [ $# -gt 1 ] || fail "use it as: start OPTIONS…"
    ! is_running || fail "process $(cat "$STATE/pid") is still at work here;" \
      "launch/tpu_pod.sh logs follows it, stop ends it"
    shift
    activate
    mkdir -p "$STATE"
    rm -f "$STATE/status"
    # Without a TPU, JAX would quietly take the CPU.
    export JAX_PLATFORMS="${JAX_PLATFORMS:-tpu,cpu}"
    # The trap keeps this shell alive to write how vdr ended.
    # shellcheck disable=SC2016
    setsid nohup bash -c '
      trap : TERM
      python -m vdr.runtime.launcher -- "$@"
      echo $? > "$0/status.new" && mv "$0/status.new" "$0/status"
    ' "$STATE" "$@" > "$STATE/log" 2>&1 < /dev/null &
    echo $! > "$STATE/pid"
    ;;
  wait)
    [ -f "$STATE/pid" ] || fail "nothing was started here"
    tail -n +1 -f --pid="$(cat "$STATE/pid")" "$STATE/log"
    # Killed before it could say how it ended: start again.
    exit "$(cat "$STATE/status" 2> /dev/null || echo 75)"
    ;;
  stop)
    if is_running; then kill -TERM -- "-$(cat "$STATE/pid")"; fi
    ;;
  *) fail "'${1:-}' is not setup, start, wait or stop" ;;
esac
