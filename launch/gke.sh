#!/usr/bin/env bash
# Runs vdr on a TPU slice of a GKE cluster, by launch/gke.yaml.
#
#   launch/gke.sh image --image=REGISTRY/NAME:TAG
#            build the image of the working tree, uncommitted changes included,
#            with docker, and push it
#   launch/gke.sh apply --name=NAME --namespace=NAMESPACE --image=… \
#     --accelerator=tpu-v5-lite-podslice --topology=4x4 --hosts=4 \
#     --chips_per_host=4 --claim=CLAIM [--gcsfuse] [--restarts=10] \
#     -- --config=FILE --workdir=/mnt/vdr/DIR …
#            start it, or nothing if it is there; lost pods are started again
#   launch/gke.sh logs --name=NAME --namespace=NAMESPACE --hosts=4
#   launch/gke.sh delete --name=NAME --namespace=NAMESPACE
#            SIGTERM first, so that it saves; `apply` goes on
#
#   --claim    a persistent volume claim that all pods may write to; it is
#              mounted at /mnt/vdr. On a bucket (which needs a hierarchical
#              namespace: checkpoints are renamed when they are whole) add
#              --gcsfuse
#   --hosts    pods: the chips of the topology over those of a host
#   --dry_run  show the commands instead of running them
#
# The cluster is that of kubectl's current context.
set -euo pipefail
# shellcheck source=launch/flags.sh
source "$(dirname "${BASH_SOURCE[0]}")/flags.sh"
MOUNT=/mnt/vdr

# A word as YAML reads it, and nothing of it as more than a word.
yaml() {
  echo "'${1//\'/\'\'}'"
}

# shellcheck disable=SC2016 # the names in the file, not their values
render() {
  local text word args='' indent='                    - '
  for word in "${rest[@]}" --config.hosts.coordinator=auto; do
    args+="$indent$(yaml "$word")"$'\n'
  done
  text="$(grep -v '^#' "$ROOT/launch/gke.yaml")"
  text="${text//'${NAME}'/"${option[name]}"}"
  text="${text//'${NAMESPACE}'/"${option[namespace]}"}"
  text="${text//'${RESTARTS}'/"${option[restarts]}"}"
  text="${text//'${HOSTS}'/"${option[hosts]}"}"
  text="${text//'${GCSFUSE}'/"$([ -n "${option[gcsfuse]:-}" ] && echo true ||
    echo false)"}"
  text="${text//'${ACCELERATOR}'/"${option[accelerator]}"}"
  text="${text//'${TOPOLOGY}'/"${option[topology]}"}"
  text="${text//'${IMAGE}'/"$(yaml "${option[image]}")"}"
  text="${text//'${CHIPS_PER_HOST}'/"${option[chips_per_host]}"}"
  text="${text//'${CLAIM}'/"${option[claim]}"}"
  echo "${text//'${ARGS}'/"${args%$'\n'}"}"
}

apply() {
  if [ -n "${option[dry_run]:-}" ]; then
    echo "kubectl apply --filename=- <<'YAML'"
    render
    echo "YAML"
  else
    render | kubectl apply --filename=-
  fi
}

image() {
  local packed="${TMPDIR:-/tmp}/vdr-image"
  act "$ROOT/launch/pack.sh" "$packed.tar.gz"
  act rm -rf "$packed"
  act mkdir "$packed"
  act tar -xzf "$packed.tar.gz" -C "$packed"
  act docker build --file="$packed/launch/Dockerfile" \
    --tag="${option[image]}" "$packed"
  act docker push "${option[image]}"
}

logs() {
  act kubectl logs --namespace="${option[namespace]}" --follow --prefix \
    --selector="jobset.sigs.k8s.io/jobset-name=${option[name]}" \
    --container=vdr --tail=-1 --max-log-requests="${option[hosts]}"
}

delete() {
  act kubectl delete jobset "${option[name]}" \
    --namespace="${option[namespace]}"
}

command="${1:-}"
slice="image accelerator topology hosts chips_per_host claim"
case "$command" in
  apply) read_options "name namespace restarts $slice" gcsfuse "${@:2}" ;;
  logs) read_options "name namespace hosts" "" "${@:2}" ;;
  delete) read_options "name namespace" "" "${@:2}" ;;
  image) read_options image "" "${@:2}" ;;
  --help | -h) usage ;;
  *) fail "'$command' is not image, apply, logs or delete; --help tells more" ;;
esac
: "${option[restarts]:=10}"
case "$command" in
  apply)
    # shellcheck disable=SC2086
    need name namespace $slice
    need_number restarts hosts chips_per_host
    need_vdr_options "$MOUNT"
    for name in name namespace accelerator topology claim; do
      [[ "${option[$name]}" =~ ^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$ ]] ||
        fail "--$name=${option[$name]}: use small letters, digits and -"
    done
    ;;
  logs)
    need name namespace hosts
    need_number hosts
    ;;
  delete) need name namespace ;;
  image) need image ;;
esac
[ "$command" = apply ] || [ ${#rest[@]} -eq 0 ] ||
  fail "$command takes no options of vdr"
"$command"
