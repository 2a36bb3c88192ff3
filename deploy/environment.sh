#!/bin/sh
# Makes the environment of an image in /opt/dejavu, in two steps, each a layer of the build:
#   environment.sh download LOCK…  # fetches or builds the wheel of every package of each lock, and compares the hashes
#   environment.sh install         # installs them and our own wheel (/wheel), without a network
set -eu
case "$1" in
download)
  shift
  for lock in "$@"; do  # one by one: a lock may have an index of its own
    /build/bin/pip wheel -q --require-hashes --no-deps --no-build-isolation --wheel-dir /wheels -r "$lock"
  done
  ;;
install)
  python3 -m venv --without-pip /opt/dejavu
  /build/bin/pip --python /opt/dejavu/bin/python install -q --no-index --no-deps --no-compile /wheels/*.whl /wheel/*.whl
  find /opt/dejavu/lib -depth -type d -name tests -exec rm -r {} +  # of numpy and others: a tenth of the server's image
  # A root that is read-only keeps no bytecode, and an image's files do not change: compile once, never look at the source.
  # Not fatal: a package may carry files for newer Pythons (torch), which are never imported here.
  /opt/dejavu/bin/python -m compileall -q -j 0 --invalidation-mode unchecked-hash /opt/dejavu/lib || true
  ;;
*)
  echo "environment.sh: expected download LOCK… or install, not $1" >&2
  exit 2
  ;;
esac
