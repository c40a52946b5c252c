# Everything a developer or CI types. Each target does all of the set-up that it needs.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

PYTHON ?= /usr/bin/python3
VENV := .venv
BIN := $(VENV)/bin
CLUSTER_TOOL := $(BIN)/python -m tests.cluster
VENV_READY := $(VENV)/.ready

export PYTHONDONTWRITEBYTECODE :=

.PHONY: help
help: ## Show these targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-14s %s\n", $$1, $$2}'

$(VENV_READY): pyproject.toml tests/install-dev.sh
	bash tests/install-dev.sh "$(PYTHON)" "$(VENV)"
	touch $@

.PHONY: venv
venv: $(VENV_READY) ## Make the virtual environment, with what it needs from Debian

.PHONY: lint
lint: $(VENV_READY) ## Linters, types and the direction of imports
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/mypy -p tests.cluster
	$(BIN)/mypy -p tests.docs
	$(BIN)/mypy -p tests.release
	$(BIN)/lint-imports

.PHONY: unit
unit: $(VENV_READY) ## Unit and contract tests, without a cluster
	$(BIN)/pytest tests/unit tests/contract

.PHONY: cluster
cluster: $(VENV_READY) ## Start a local Kubernetes (CLUSTER=current takes the current context)
	$(CLUSTER_TOOL) up

.PHONY: cluster-down
cluster-down: $(VENV_READY) ## Stop it and leave nothing behind
	$(CLUSTER_TOOL) down

.PHONY: kubeconfig
kubeconfig: ## Print the path of the kubeconfig
	@$(CLUSTER_TOOL) kubeconfig

.PHONY: images
images: cluster ## Build the images and bring them to the node
	$(CLUSTER_TOOL) images

.PHONY: install
install: images ## Install everything in namespace wps, with the test processes
	$(BIN)/python -m tests.deployment install

.PHONY: url
url: ## Print the WPS URL that this machine reaches
	@$(BIN)/python -m tests.deployment url

.PHONY: demo
demo: install ## Send real Executes and look at the results
	$(BIN)/python -m tests.demo

.PHONY: docs
docs: $(VENV_READY) ## Build the documentation as a site in build/site
	$(BIN)/python -m tests.docs.site

.PHONY: pages
pages: $(VENV_READY) ## Write the pages that are made from schemas, Helm values and source
	$(BIN)/python -m tests.docs

.PHONY: release-check
release-check: cluster ## Build packages, charts, images and their lists of parts, and look at them
	$(BIN)/python -m tests.release

.PHONY: bench
bench: install ## Measure, on simulated nodes, against the limits of docs/benchmarks.md
	$(BIN)/python -m tests.bench

.PHONY: soak
soak: install ## The long forms of what `make test` does in minutes: storms at random, an hour of steady load
	WPSJOBS_SOAK=20 $(BIN)/pytest -q --timeout 3600 tests/unit/controller/test_simulation.py::TestStorm \
		tests/unit/controller/test_simulation.py::TestStormAmongMany \
		tests/unit/controller/test_consumers.py::TestConsumersStorm
	$(BIN)/python -m tests.bench steady --seconds 3600

# Four at once: the steady load takes five minutes of the clock and little else, and what is installed waits
# for pods more than it computes; the fifth begins when the first has ended. The faults come last and alone,
# for they kill parts of the cluster.
.PHONY: test
test: lint install ## All tests: linters, types, unit, contract, integration, end to end, faults
	$(MAKE) --no-print-directory --jobs=4 test-steady test-releases test-installed test-parts test-integration
	$(BIN)/pytest tests/faults

.PHONY: test-steady
test-steady: $(VENV_READY)
	$(BIN)/pytest -q tests/integration/test_steady_load.py

OWN_RELEASES := $(addprefix tests/e2e/test_,documents.py kubectl_wps.py readme.py)

.PHONY: test-releases
test-releases: $(VENV_READY)
	$(BIN)/pytest -q tests/charts $(OWN_RELEASES)

.PHONY: test-installed
test-installed: $(VENV_READY)
	$(BIN)/pytest -q tests/e2e $(addprefix --ignore=,$(OWN_RELEASES))

.PHONY: test-parts
test-parts: $(VENV_READY)
	$(BIN)/pytest -q tests/unit tests/contract

.PHONY: test-integration
test-integration: $(VENV_READY)
	$(BIN)/pytest -q tests/integration --ignore=tests/integration/test_steady_load.py
