#!/bin/sh
# Creates a virtual environment in a clone. The argument names its content:
#   demo, all: .venv, with the packages of the demo (make demo), or with all packages (make install)
#   gen: .venv-gen, with the code generator, which needs an older protobuf (make gen)
#   docs: .venv-docs, with the packages that build the site of documentation (make docs)
# Installs with uv, which takes a tenth of pip's time, if it is on the machine or in the package index, else with pip.
set -eu
cd "$(dirname "$0")/.."
part=$1 venv=.venv began=$(date +%s)
# Nothing is served without the compiled models. hnswlib is built for any CPU, since its wheel is kept.
export DEJAVU_COMPILE=1 HNSWLIB_NO_NATIVE=1

step() { echo "[$(($(date +%s) - began)) s] $*"; }
pip() { "$bin/pip" --disable-pip-version-check -q "$@"; }
install() {
  { [ -n "$uv" ] && "$uv" pip install -q --python "$bin/python" "$@"; } || pip install "$@"
}

"${PYTHON:-python3}" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
  { echo "Python 3.11 or newer is needed; set PYTHON=…"; exit 1; }
case $part in
demo | all) ;;
gen | docs) venv=.venv-$part ;;
*) echo "install.sh: expected demo, all, gen or docs, not $part" >&2; exit 2 ;;
esac
bin=$venv/bin
[ -x "$bin/python" ] || { step "Creating $venv"; "${PYTHON:-python3}" -m venv "$venv"; }
uv=$(command -v uv || :)
if [ -z "$uv" ] && { [ -x "$bin/uv" ] || pip install --only-binary :all: --require-hashes -r server/requirements-uv.txt 2>/dev/null; }; then
  uv=$bin/uv
fi
if [ "$part" = gen ]; then
  step "Installing the code generator"
  [ -n "$uv" ] || pip install -c constraints-gen.txt pip # an older one knows no groups
  DEJAVU_COMPILE=0 install -c constraints-gen.txt --group gen -e '.[postgres,redis,server]'
  step "Installed"
  exit
fi
if [ "$part" = docs ]; then
  step "Installing what builds the documentation"
  install --require-hashes -r docs/requirements.txt
  step "Installed"
  exit
fi
step "Installing what compiles the models"
install --require-hashes -r server/requirements-build.txt
step "Compiling the models, and installing packages meanwhile"
"$bin/python" hatch_build.py >/dev/null &
compiling=$!
case $part in
demo)
  install --require-hashes -r server/requirements.txt -r client/requirements-live.txt -r gateway/requirements.txt
  ;;
all)
  install --require-hashes -r trainer/requirements-build.txt
  install --require-hashes --no-build-isolation -r requirements-dev.txt
  step "Installing torch"
  pip install -c constraints.txt torch # by pip, which prefers a build that is on the machine
  ;;
esac
wait "$compiling"
install --no-deps --no-build-isolation -e .
step "Installed"
