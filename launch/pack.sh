#!/usr/bin/env bash
# Packs the working tree as it is: changes and new files that are not committed
# are in it, ignored files are not.
#   launch/pack.sh FILE.tar.gz
# Nothing in the repository is touched.
set -euo pipefail
fail() {
  echo "launch/pack.sh: $*" >&2
  exit 2
}
[ $# -eq 1 ] && [[ "$1" == *.tar.gz ]] || fail "use it as: launch/pack.sh FILE.tar.gz"
[[ "$1" == /* ]] && file="$1" || file="$PWD/$1"
cd "$(dirname "${BASH_SOURCE[0]}")/.."
objects="$(git rev-parse --path-format=absolute --git-path objects 2> /dev/null)" ||
  fail "$PWD is not a git checkout, or git is missing; clone vdr with git"
scratch="$(mktemp -d)"
trap 'rm -rf "$scratch"' EXIT
export GIT_INDEX_FILE="$scratch/index"
export GIT_OBJECT_DIRECTORY="$scratch/objects"
export GIT_ALTERNATE_OBJECT_DIRECTORIES="$objects"
mkdir "$scratch/objects"
git add --all .
git archive --format=tar.gz --output="$file" "$(git write-tree)"
