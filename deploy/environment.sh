#!/bin/sh
# Makes the environment of an image in /opt/dejavu, in two steps, each a layer of the build:
#   environment.sh download LOCK   # fetches or builds the wheel of every package of a lock, and compares the hashes
#   environment.sh install         # installs them and our own wheel (/wheel), without a network
set -eu
case "$1" in
download)
  /build/bin/pip wheel -q --require-hashes --no-deps --no-build-isolation --wheel-dir /wheels -r "$2"
  ;;
install)
  python3 -m venv --without-pip /opt/dejavu
  /build/bin/pip --python /opt/dejavu/bin/python install -q --no-index --no-deps --no-compile /wheels/*.whl /wheel/*.whl
  find /opt/dejavu/lib -depth -type d -name tests -exec rm -r {} +  # of numpy and others: a tenth of the server's image
  # A root that is read-only keeps no bytecode, and an image's files do not change: compile once, never look at the source.
  /opt/dejavu/bin/python -m compileall -q -j 0 --invalidation-mode unchecked-hash /opt/dejavu/lib
  ;;
*)
  echo "environment.sh: expected download LOCK or install, not $1" >&2
  exit 2
  ;;
esac
