#!/usr/bin/env bash
# Runs vdr on a TPU slice of Google Cloud, of one host or many.
#
#   launch/tpu_pod.sh COMMAND --name=NAME --project=PROJECT --zone=ZONE …
#
#   create   ask for the slice (a queued resource) and wait until it is there:
#            --accelerator_type=v5litepod-16 --runtime_version=v2-alpha-tpuv5-lite
#            [--spot | --reserved]
#   setup    copy the working tree, uncommitted changes included, to all hosts,
#            install it there, and mount the storage at /mnt/vdr:
#            --storage=gs://BUCKET | SERVER:/SHARE
#            A bucket needs a hierarchical namespace: checkpoints are renamed
#            when they are whole. SERVER:/SHARE is NFS, such as Filestore.
#   run      start vdr on all hosts and follow it; it outlives this terminal:
#            -- --config=FILE --workdir=/mnt/vdr/DIR …
#   logs     follow it again [--worker=0 | all, the default]
#   stop     let it save and end; `run` goes on
#   resume   run to the end: wait for the slice, ask for a new one where it was
#            preempted, set up and run, again and again. Takes the options of
#            create, setup and run, and [--attempts=10], starts at the most
#   delete   give the slice back
#
# All: [--poll_s=60] seconds from one look at the slice to the next,
# [--dry_run] show the commands instead of running them (resume: those of one
# attempt on a slice that is there).
# The exit status of run, logs and resume says how vdr ended: 0 done, 2 mend the
# input, 75 a host was lost, 143 it was stopped: the same command goes on.
set -euo pipefail
# shellcheck source=launch/flags.sh
source "$(dirname "${BASH_SOURCE[0]}")/flags.sh"
MOUNT=/mnt/vdr

slice() { # VERB WORDS…
  act gcloud compute tpus queued-resources "$1" "${option[name]}" \
    "${place[@]}" "${@:2}"
}

on_hosts() { # COMMAND: on all of them, or the one asked for
  act gcloud compute tpus tpu-vm ssh "${option[name]}" "${place[@]}" \
    --worker="${option[worker]:-all}" --command="$1"
}

create() {
  local words=(--node-id="${option[name]}"
    --accelerator-type="${option[accelerator_type]}"
    --runtime-version="${option[runtime_version]}")
  [ -z "${option[spot]:-}" ] || words+=(--spot)
  [ -z "${option[reserved]:-}" ] || words+=(--reserved)
  slice create "${words[@]}"
}

# ACTIVE, and so on; ABSENT if there is no such slice.
state() {
  slice describe --format='value(state.state)' 2> /dev/null || echo ABSENT
}

wait_until_active() {
  local now=''
  if [ -n "${option[dry_run]:-}" ]; then
    slice describe --format='value(state.state)'
    return
  fi
  while true; do
    now="$(state)"
    case "$now" in
      ACTIVE) return ;;
      FAILED | SUSPEND* | DELETING | ABSENT)
        echo "$SCRIPT: the slice ${option[name]} is $now" >&2
        return 1
        ;;
    esac
    echo "$(date +%T) the slice ${option[name]} is $now" >&2
    sleep "${option[poll_s]}"
  done
}

delete() {
  slice delete --force --quiet
}

setup() {
  local packed="${TMPDIR:-/tmp}/vdr-${option[name]}.tar.gz"
  # All but the environment goes, so that files removed here are not there.
  local unpack="mkdir -p vdr && find vdr -mindepth 1 -maxdepth 1 ! -name .venv"
  unpack+=" -exec rm -rf {} + && tar -xzf vdr.tar.gz -C vdr"
  act "$ROOT/launch/pack.sh" "$packed" &&
    act gcloud compute tpus tpu-vm scp "$packed" \
      "${option[name]}:vdr.tar.gz" "${place[@]}" --worker=all &&
    on_hosts "$unpack" &&
    on_hosts "bash vdr/launch/worker.sh setup $(show "${option[storage]}")"
}

run() {
  on_hosts "bash vdr/launch/worker.sh start $(show "${rest[@]}" \
    --config.hosts.coordinator=auto)" &&
    on_hosts "bash vdr/launch/worker.sh wait"
}

# Waits for the slice, in place of which a preempted one asks for another.
is_there() {
  if wait_until_active; then return; fi
  [ "$(state)" = ABSENT ] || delete || true
  create && wait_until_active
}

resume() {
  local attempt limit="${option[attempts]}" status=75
  if [ -n "${option[dry_run]:-}" ]; then
    wait_until_active && setup && run
    return
  fi
  for ((attempt = 1; attempt <= limit; attempt++)); do
    echo "$SCRIPT: attempt $attempt of $limit" >&2
    status=0
    { is_there && setup && run; } || status=$?
    case "$status" in
      0 | 2) return "$status" ;;
    esac
    sleep "${option[poll_s]}"
  done
  echo "$SCRIPT: not done after $limit attempts" >&2
  return "$status"
}

command="${1:-}"
common="name project zone poll_s"
made="accelerator_type runtime_version"
case "$command" in
  create) read_options "$common $made" "spot reserved" "${@:2}" ;;
  setup) read_options "$common storage" "" "${@:2}" ;;
  run | stop | delete) read_options "$common" "" "${@:2}" ;;
  logs) read_options "$common worker" "" "${@:2}" ;;
  resume) read_options "$common $made storage attempts" "spot reserved" \
    "${@:2}" ;;
  --help | -h) usage ;;
  *) fail "'$command' is not create, setup, run, logs, stop, resume or delete;" \
    "--help tells more" ;;
esac
: "${option[poll_s]:=60}" "${option[attempts]:=10}"
need name project zone
need_number poll_s attempts
case "$command" in
  create | resume)
    # shellcheck disable=SC2086
    need $made
    [ -z "${option[spot]:-}" ] || [ -z "${option[reserved]:-}" ] ||
      fail "--spot and --reserved exclude each other"
    ;;&
  setup | resume)
    need storage
    [[ "${option[storage]}" =~ ^gs://[^/]+$|^[^/]+:/ ]] ||
      fail "--storage=${option[storage]} is neither gs://BUCKET nor" \
        "SERVER:/SHARE"
    ;;&
  run | resume) need_vdr_options "$MOUNT" ;;&
esac
case "$command" in
  run | resume) ;;
  *) [ ${#rest[@]} -eq 0 ] || fail "$command takes no options of vdr" ;;
esac
place=(--project="${option[project]}" --zone="${option[zone]}")
case "$command" in
  create)
    create
    wait_until_active
    ;;
  logs) on_hosts "bash vdr/launch/worker.sh wait" ;;
  stop) on_hosts "bash vdr/launch/worker.sh stop" ;;
  *) "$command" ;;
esac
