# Development tasks; `make help` lists them.
.DEFAULT_GOAL := help
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
GEN    := .venv-gen
DOCS   := .venv-docs
MLSERVER := .venv-mlserver
NODE   := examples/node
WEB    := gateway/web
PIP     = $(BIN)/pip --disable-pip-version-check -q
PROTOS := $(wildcard protos/dejavu/v1/*.proto protos/dejavu/ops/v1/*.proto protos/dejavu/inference/*.proto)

# Baseline of the breaking-change check: the tag of the last release, or its image if the clone has no tags; none before 1.0.
RELEASE := $(shell git describe --tags --abbrev=0 --match 'v*' 2>/dev/null)
BASE    ?= $(if $(RELEASE),.git#ref=$(RELEASE),$(wildcard protos/released/v*.binpb))

NODE_SOURCES := $(wildcard $(NODE)/src/*.ts $(NODE)/protos/*.proto) $(PROTOS)

# Many processes of a test run import the same files: allow bytecode, so that each file is compiled only once.
unexport PYTHONDONTWRITEBYTECODE

# The page's tools need Node 20.19 or newer; without it, the committed build stays as it is.
WEB_NODE := $(shell node -e 'const [a, b] = process.versions.node.split(".").map(Number); if (a > 20 || (a === 20 && b >= 19)) console.log("yes")' 2>/dev/null)

.PHONY: help docs install install-node web check-web gen lock audit sbom check check-style check-types check-contract check-imports check-layers check-gen release test test-fast test-protobuf6 bench demo demo-page format clean \
  nightly nightly-bench nightly-rounds nightly-faults nightly-models nightly-laws nightly-postgres nightly-images

help:  ## list the targets
	@grep -hE '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 18

# Stamp files skip repeated installs; a target runs again if its prerequisites change.
INSTALLING := pyproject.toml constraints.txt $(wildcard *requirements*.txt server/requirements*.txt client/requirements*.txt gateway/requirements*.txt trainer/requirements*.txt) server/install.sh hatch_build.py $(wildcard model_store/native/*.?pp model_store/native/python/*)

$(VENV)/.installed: $(INSTALLING)
	@PYTHON=$(PYTHON) server/install.sh all
	@touch $@ $(VENV)/.demo

$(VENV)/.demo: $(INSTALLING)
	@PYTHON=$(PYTHON) server/install.sh demo
	@touch $@

$(GEN)/.installed: pyproject.toml constraints.txt constraints-gen.txt server/install.sh
	@PYTHON=$(PYTHON) server/install.sh gen
	@touch $@

$(DOCS)/.installed: docs/requirements.txt server/install.sh
	@PYTHON=$(PYTHON) server/install.sh docs
	@touch $@

# The peer that make bench compares with, whose protobuf is older than ours.
$(MLSERVER)/.installed: pyproject.toml constraints-mlserver.txt
	test -x $(MLSERVER)/bin/python || $(PYTHON) -m venv $(MLSERVER)
	$(MLSERVER)/bin/pip --disable-pip-version-check -q install -c constraints-mlserver.txt pip
	HNSWLIB_NO_NATIVE=1 $(MLSERVER)/bin/pip --disable-pip-version-check -q install -c constraints-mlserver.txt --group mlserver
	@touch $@

# The processes of a test run import the same files at once, and would each compile all those of a new environment.
$(VENV)/.compiled: $(VENV)/.installed
	@echo "Compiling the tests"
	@$(PYTEST) -q -p no:cacheprovider --collect-only >/dev/null 2>&1 || true
	@touch $@

$(VENV)/.release: $(VENV)/.installed deploy/requirements-release.txt
	$(PIP) install --require-hashes -r deploy/requirements-release.txt
	@touch $@

install: $(VENV)/.installed  ## create .venv with all extras and development tools

$(NODE)/node_modules/.installed: $(NODE)/package.json $(NODE)/package-lock.json $(NODE)/.npmrc
	@node -e 'process.exit(parseInt(process.versions.node) < 18 ? 1 : 0)' || { echo "Node 18 or newer is needed"; exit 1; }
	cd $(NODE) && npm ci --prefer-offline --loglevel=error
	@touch $@

$(NODE)/dist/.built: $(NODE)/node_modules/.installed $(NODE)/tsconfig.json $(NODE_SOURCES)
	rm -rf $(NODE)/dist $(NODE)/src/gen
	cd $(NODE) && npm run --silent build
	@touch $@

install-node: $(NODE)/dist/.built  ## build the Node example: types from the contract, then strict TypeScript

$(WEB)/node_modules/.installed: $(WEB)/package.json $(WEB)/package-lock.json $(WEB)/.npmrc
	cd $(WEB) && npm ci --prefer-offline --loglevel=error
	@touch $@

web: install $(WEB)/node_modules/.installed  ## build the page: types from the contract, strict TypeScript, unit tests, committed assets
	cd $(WEB) && PATH="$(CURDIR)/$(BIN):$$PATH" npm run --silent types && npm run --silent check && npm run --silent test && npm run --silent build

gen: install $(GEN)/.installed  ## generate protos/gen (messages, stubs, .pyi), the colors of teams, the page /docs and the dashboard
	$(GEN)/bin/python -m grpc_tools.protoc -I protos --plugin=protoc-gen-mypy=$(GEN)/bin/protoc-gen-mypy \
	  --plugin=protoc-gen-mypy_grpc=$(GEN)/bin/protoc-gen-mypy_grpc \
	  --python_out=protos/gen --grpc_python_out=protos/gen --mypy_out=quiet:protos/gen --mypy_grpc_out=quiet:protos/gen $(PROTOS)
	$(GEN)/bin/python -m grpc_tools.protoc -I protos --include_source_info --descriptor_set_out=protos/gen/dejavu/contract.binpb $(PROTOS)
	$(BIN)/python gateway/generate_team_colors.py
	$(BIN)/python gateway/generate_reference.py
	$(BIN)/python server/monitoring/generate_dashboard.py

format: install  ## format the code
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix-only -q .

lock: install  ## write the locked requirements with hashes, from pyproject.toml and constraints.txt
	$(BIN)/python server/lock_requirements.py

# In CI everything has to be audited, unless DEJAVU_AUDIT is partial: then, as elsewhere, something of each lock has to be.
audit: install  ## compare the locked requirements with known vulnerabilities; fails if it can't
	$(BIN)/python server/audit_requirements.py $(if $(filter 1,$(DEJAVU_CI)),$(if $(filter partial,$(DEJAVU_AUDIT)),,--complete))

sbom: $(VENV)/.release  ## write a CycloneDX bill of materials of server, client and trainer into dist/
	mkdir -p dist
	for part in server client trainer; do $(BIN)/cyclonedx-py requirements $$part/requirements.txt --pyproject pyproject.toml \
	  --output-reproducible --of JSON -o dist/sbom-$$part.cdx.json || exit 1; done

# Strict: a link or an anchor that leads nowhere fails the build, and so does a page that the navigation lacks.
docs: $(DOCS)/.installed  ## build the site of documentation into site/, and check its links
	NO_MKDOCS_2_WARNING=1 $(DOCS)/bin/mkdocs build --strict

check: check-style check-types check-contract check-imports check-web test-protobuf6 docs  ## format, lint, strict types, contract lint and drift, import directions, the documentation's links

check-style: install
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/python server/lock_requirements.py --check
	$(BIN)/check-jsonschema -q --builtin-schema vendor.github-workflows .github/workflows/*.yml
	$(BIN)/zizmor -q --offline .github
	$(BIN)/check-jsonschema -q --builtin-schema vendor.github-issue-forms .github/ISSUE_TEMPLATE/[!c]*.yml
	$(BIN)/check-jsonschema -q --builtin-schema vendor.citation-file-format CITATION.cff

# What reads the generated code waits until it was generated again.
check-types: install check-gen
	$(BIN)/mypy

check-contract: install check-gen
	$(BIN)/buf lint
	$(BIN)/buf format --diff --exit-code protos
	$(if $(BASE),$(BIN)/buf breaking --against '$(BASE)',@echo "there is no release yet: the contract is compared with nothing")

check-imports: check-layers
	$(BIN)/pytest -q -p no:cacheprovider tests/test_structure.py

check-layers: install check-gen
	PYTHONPATH=. $(BIN)/lint-imports --no-logo --no-cache

check-gen: install
	$(BIN)/python gateway/generate_team_colors.py --check
	$(BIN)/python gateway/generate_reference.py --check
	$(BIN)/python server/monitoring/generate_dashboard.py --check
	@$(MAKE) --no-print-directory gen
	@git diff --exit-code --stat -- protos/gen || { echo "protos/gen differs from the output of make gen: commit it"; exit 1; }
	@test -z "$$(git status --porcelain -- protos/gen)" || { git status --short -- protos/gen; echo "protos/gen has untracked files: commit them"; exit 1; }

check-web: install
ifeq ($(WEB_NODE),yes)
	@$(MAKE) --no-print-directory web
	@test -z "$$(git status --porcelain -- gateway/dejavu_gateway/page)" || { git status --short -- gateway/dejavu_gateway/page; echo "gateway/dejavu_gateway/page differs from the output of make web: commit it"; exit 1; }
else
	@echo "the build of the page is not checked: Node 20.19 or newer is needed"
endif

release: $(VENV)/.release  ## build and verify release VERSION in dist/, without uploading it; ARGS=--prepare first, ARGS=--images with images
	@test -n "$(VERSION)" || { echo "Which release? make release VERSION=X.Y.Z"; exit 1; }
	$(BIN)/python deploy/release.py $(VERSION) $(ARGS)

# Many tests wait for processes that they start, so run more of them at a time than there are cores. Limit numeric
# libraries to one thread per process; by default they start one per core.
PYTEST = OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 $(BIN)/pytest
ALL    = $(PYTEST) -n 4 --dist worksteal
# Tests that start no processes: models, feed, converters, the ledger's arithmetic and queries, other unit tests.
FAST   = tests/test_structure.py tests/models tests/feed tests/contract/test_messages.py tests/cli/output tests/client/transport \
         tests/server/test_settings.py tests/server/api/test_converters.py tests/ledger/entries tests/ledger/queries \
         tests/server/forecasting/test_batcher.py tests/trainer/data tests/trainer/training

# Node is optional: without it, or without npm's registry, its tests are skipped. CI requires it.
test: install  ## all tests except the nightly ones
	@$(MAKE) --no-print-directory -j 2 -k $(VENV)/.compiled $(if $(shell command -v node),install-node $(WEB)/node_modules/.installed) || test "$(DEJAVU_CI)" != 1
	@echo "5,000 tests, many of them of real processes: about five minutes on two cores, up to nine on slow ones. What failed is named at the end."
	$(ALL) -p no:randomly

test-fast: install  ## quick tests while developing: models, feed and units, about a minute
	$(PYTEST) -q -n 2 --dist worksteal -p no:randomly $(FAST)

test-protobuf6: $(GEN)/.installed
	$(GEN)/bin/pytest -q -p no:cacheprovider tests/contract/test_calls.py tests/contract/test_messages.py

# Each nightly part can be run separately. The first two run nothing beside a program or test: it measures, or calls with
# deadlines. Each program of bench/ exits with 1 if a promise is broken.
MEASURED = "hangs --rounds 1 --seconds 30" "idle_connections --connections 700 --soft 256 --clients 12" \
  "streams" "stopped_worker --seconds 4 --callers 4" "stopped_worker --writing --seconds 10 --callers 4" \
  "overload --seconds 1 --connections 8 --factors 1.5 --at-once 240 --timeout-ms 5000" "page --browsers 100 --events 40 --rate 8"
ROUNDS = "kills" "kills --servers 2" "kills --servers 2 --postgres" "notifier_kills" "restarts" "promotions --rounds 20"
run_benches = failed=; $(PYTEST) -m nightly --durations 0 $(1) || failed="\npytest $(1)"; export OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1; \
  for each in $(2); do echo "python -m bench.$$each"; $(BIN)/python -m bench.$$each || failed="$$failed\n$$each"; done; \
  test -z "$$failed" || { printf "failed:$$failed\n"; exit 1; }
FUZZING = tests/bench/test_fuzz.py

nightly: nightly-bench nightly-rounds nightly-faults nightly-models nightly-laws nightly-postgres nightly-images  ## tests that take too long for every change: the seven parts below

# The longest tests come first, and the process that is free takes the next one.
ONE_BY_ONE := --dist load --maxschedchunk 1

nightly-bench: install install-node  ## measurements of bench/ against their bounds; run nothing else at the same time
	@$(call run_benches,tests/bench --ignore $(FUZZING),$(MEASURED))

nightly-rounds: install  ## rounds of kills, restarts and promotions, fuzzing
	@$(call run_benches,$(FUZZING),$(ROUNDS))

nightly-faults: install $(WEB)/node_modules/.installed  ## days with feed faults, complete real evenings, and the server's long tests
	$(PYTEST) -m nightly --durations 12 -n 3 $(ONE_BY_ONE) tests/cli tests/client tests/feed tests/poller tests/store tests/e2e tests/gateway tests/server tests/web

nightly-models: install install-node  ## recipes, the shipped bundle and the documents of training on real seasons, interrupted walk-forwards; examples in Go and C++, with Debian's packages that examples/README.md names
	$(PYTEST) -m nightly --durations 12 -n 2 $(ONE_BY_ONE) tests/trainer tests/models tests/examples

nightly-laws: install install-node $(GEN)/.installed $(WEB)/node_modules/.installed  ## all other tests in a random order, property tests on 200 examples
	DEJAVU_NIGHTLY=1 $(ALL) -m "not nightly" --timeout 900

nightly-postgres: install  ## the tests of ledger, streams and record on PostgreSQL
	DEJAVU_TEST_LEDGER=postgresql $(PYTEST) -n 2 --dist worksteal -m "not nightly" --timeout 900 tests/ledger tests/server/streaming \
	  tests/server/coordination tests/server/forecasting tests/server/api tests/examples/test_check_ledger.py

nightly-images: $(VENV)/.release  ## build the wheel, and the images, and run them hardened; needs root, and Debian's buildah, mmdebstrap and docker-compose
	$(PYTEST) -m nightly -s tests/deploy tests/test_supply_chain.py tests/test_wheel.py

# Without the package index, MLServer is left out, and the report says so. CI requires it.
bench: install  ## measure calls, batches, streams, start, memory … beside an echo and MLServer; writes docs/performance.md
	@$(MAKE) --no-print-directory $(MLSERVER)/.installed || test "$(DEJAVU_CI)" != 1
	OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 $(BIN)/python -m bench.performance

demo: $(VENV)/.demo  ## forecast eight simulated games live, from the feed to the subscriber
	$(BIN)/dejavu demo

demo-page: $(VENV)/.demo  ## the same with the page in a browser, until Ctrl-C
	$(BIN)/dejavu demo --page

clean:  ## remove all files that the targets created
	rm -rf $(VENV) $(GEN) $(DOCS) $(MLSERVER) $(NODE)/node_modules $(NODE)/dist $(NODE)/src/gen $(WEB)/node_modules $(WEB)/src/gen .mypy_cache .pytest_cache .ruff_cache .hypothesis dist build site
