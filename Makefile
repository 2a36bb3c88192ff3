# Everything a developer does here; `make help` lists it.
.DEFAULT_GOAL := help
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
GEN    := .venv-gen
NODE   := examples/node
PIP     = $(BIN)/pip --disable-pip-version-check -q
PROTOS := $(wildcard protos/dejavu/v1/*.proto)

# What the contract must not break: the last release, by its tag, or by its image where the clone has no tags.
RELEASE := $(shell git describe --tags --abbrev=0 --match 'v*' 2>/dev/null)
BASE    ?= $(if $(RELEASE),.git#ref=$(RELEASE),$(wildcard protos/released/v*.binpb))
VERSION := $(shell sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml)

NODE_SOURCES := $(wildcard $(NODE)/src/*.ts $(NODE)/protos/*.proto) $(PROTOS)

.PHONY: help install install-node gen check check-gen release-image test test-protobuf6 demo nightly format clean

help:  ## list the targets
	@grep -hE '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 18

# Stamps make a second run free; they are renewed when what they were made from changes.
$(VENV)/.installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed; set PYTHON=…"; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) install -c constraints.txt pip
	HNSWLIB_NO_NATIVE=1 $(PIP) install -c constraints.txt -e '.[dev]'
	@touch $@

$(GEN)/.installed: pyproject.toml constraints.txt constraints-gen.txt
	test -x $(GEN)/bin/python || $(PYTHON) -m venv $(GEN)
	$(GEN)/bin/pip --disable-pip-version-check -q install -c constraints-gen.txt pip
	HNSWLIB_NO_NATIVE=1 $(GEN)/bin/pip --disable-pip-version-check -q install -c constraints-gen.txt --group gen -e '.[server]'
	@touch $@

install: $(VENV)/.installed  ## make .venv with everything

$(NODE)/node_modules/.installed: $(NODE)/package.json $(NODE)/package-lock.json $(NODE)/.npmrc
	@node -e 'process.exit(parseInt(process.versions.node) < 18 ? 1 : 0)' || { echo "Node 18 or newer is needed"; exit 1; }
	cd $(NODE) && npm ci --prefer-offline --loglevel=error
	@touch $@

$(NODE)/dist/.built: $(NODE)/node_modules/.installed $(NODE)/tsconfig.json $(NODE_SOURCES)
	rm -rf $(NODE)/dist $(NODE)/src/gen
	cd $(NODE) && npm run --silent build
	@touch $@

install-node: $(NODE)/dist/.built  ## make the Node example: types from the contract, then strict TypeScript

gen: $(GEN)/.installed  ## write the Python messages, stubs and .pyi into protos/gen
	$(GEN)/bin/python -m grpc_tools.protoc -I protos --plugin=protoc-gen-mypy=$(GEN)/bin/protoc-gen-mypy \
	  --plugin=protoc-gen-mypy_grpc=$(GEN)/bin/protoc-gen-mypy_grpc \
	  --python_out=protos/gen --grpc_python_out=protos/gen --mypy_out=quiet:protos/gen --mypy_grpc_out=quiet:protos/gen $(PROTOS)

format: install  ## format the code
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix-only -q .

check: install check-gen  ## format, lint, strict types, contract lint and drift, import directions
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/buf lint
	$(BIN)/buf format --diff --exit-code protos
	$(BIN)/buf breaking --against '$(BASE)'
	PYTHONPATH=. $(BIN)/lint-imports --no-logo --no-cache
	$(BIN)/pytest -q tests/test_structure.py

check-gen: gen
	@git diff --exit-code --stat -- protos/gen || { echo "protos/gen is not what make gen writes: commit it"; exit 1; }
	@test -z "$$(git status --porcelain -- protos/gen)" || { git status --short -- protos/gen; echo "protos/gen has files that git does not know: commit them"; exit 1; }

release-image: install  ## write the contract as it is released, for those to come to be held against
	rm -f protos/released/v*.binpb
	$(BIN)/buf build --exclude-source-info -o protos/released/v$(VERSION).binpb

# Most tests wait for processes of their own, so three at a time take less than half as long, on two cores too. In the
# order of the folders: what has few tests and long ones would come last otherwise, when nobody is left to share it.
# Node is no part of what the project needs: without it, or without npm's registry, its tests say that they skip. CI has it.
test: install test-protobuf6  ## all tests but the long ones
	@! command -v node >/dev/null || $(MAKE) --no-print-directory install-node || test "$(DEJAVU_CI)" != 1
	$(BIN)/pytest -p no:randomly -n 3 --dist loadfile --no-loadscope-reorder

test-protobuf6: $(GEN)/.installed
	$(GEN)/bin/pytest -q -p no:cacheprovider tests/contract/test_calls.py tests/contract/test_messages.py

nightly: install  ## what takes too long for every change, and all tests in another order each time
	$(BIN)/pytest -m nightly
	$(BIN)/pytest

demo: install  ## eight simulated games, forecast live, from the feed to the subscriber
	$(BIN)/dejavu demo

clean:  ## remove what the targets made
	rm -rf $(VENV) $(GEN) $(NODE)/node_modules $(NODE)/dist $(NODE)/src/gen .mypy_cache .pytest_cache .ruff_cache .hypothesis dist build
