# shellcheck shell=bash
# What the launch scripts share: options, one-line errors, and --dry_run.
#   source "$(dirname "${BASH_SOURCE[0]}")/flags.sh"
#   read_options "name zone" "spot" "$@"   # with a value, and without
#   need name zone
#   act gcloud … --zone="${option[zone]}"  # run, or only shown
declare -A option=() # values by name; switches are "yes"
rest=()              # what follows --: the options of vdr

# shellcheck disable=SC2034 # the scripts use it
ROOT="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
SCRIPT="launch/$(basename "$0")"

fail() {
  echo "$SCRIPT: $*" >&2
  exit 2
}

# The comment at the top of the script.
usage() {
  sed -n '2,/^[^#]/s/^# \{0,1\}//p' "$0"
  exit 0
}

read_options() {
  local valued=" $1 " switches=" $2 dry_run " word name
  shift 2
  while (($#)); do
    word="$1"
    shift
    name="${word#--}"
    name="${name%%=*}"
    case "$word" in
      --help | -h) usage ;;
      --)
        rest=("$@")
        return
        ;;
      --*=*)
        [[ "$valued" == *" $name "* ]] ||
          fail "there is no option --$name=…; --help shows what there is"
        [ -n "${word#*=}" ] || fail "--$name= is empty; give it a value"
        option[$name]="${word#*=}"
        ;;
      --*)
        [[ "$valued" != *" $name "* ]] ||
          fail "--$name has no value; write --$name=VALUE"
        [[ "$switches" == *" $name "* ]] ||
          fail "there is no option --$name; --help shows what there is"
        option[$name]=yes
        ;;
      *) fail "unexpected '$word'; options look like --name=value, and those" \
        "of vdr stand after --" ;;
    esac
  done
}

need() {
  local name
  for name; do
    [ -n "${option[$name]:-}" ] || fail "--$name=… is missing; --help shows why"
  done
}

need_number() {
  local name
  for name; do
    [[ "${option[$name]}" =~ ^[1-9][0-9]*$ ]] ||
      fail "--$name=${option[$name]} is no number of 1 or more"
  done
}

# vdr's own options must be there, and leave the hosts to the script.
need_vdr_options() {
  local word config='' workdir=''
  for word in ${rest[@]+"${rest[@]}"}; do
    case "$word" in
      --config=*) config=yes ;;
      --workdir=*) workdir="${word#*=}" ;;
      --config.hosts.coordinator* | --config.hosts.count* | \
        --config.hosts.index*)
        fail "${word%%=*} is set by this script; leave it out"
        ;;
    esac
  done
  [ -n "$config" ] && [ -n "$workdir" ] ||
    fail "vdr needs -- --config=FILE --workdir=DIR …"
  [ -z "${1:-}" ] || [[ "$workdir" == "$1"/* ]] ||
    fail "--workdir=$workdir is on one host only; choose a place under $1," \
      "which all of them see"
}

# Words as a shell reads them, quoted where that is needed.
show() {
  local word line=''
  for word; do
    [[ "$word" =~ ^[A-Za-z0-9_./:=,@%+-]+$ ]] || word="${word@Q}"
    line+=" $word"
  done
  echo "${line:1}"
}

act() {
  if [ -n "${option[dry_run]:-}" ]; then show "$@"; else "$@"; fi
}
