# Everything here needs only python3 (3.11 or newer, with venv) and make. `make help` lists the targets.
.DEFAULT_GOAL := help
SHELL := /bin/sh
MAKEFLAGS += --no-builtin-rules --no-print-directory

VENV := .venv
VENV_SANDBOX := .venv-sandbox
VENV_COMPAT := .venv-airflow-2.11
VENV_BENCHMARKS := .venv-benchmarks
VENV_VENDOR := .venv-vendor
VENV_SYSTEM := .venv-system
SANDBOX_STATE := sandbox-state
SANDBOX_PORT ?= 8420
AWS_PORT ?= 8421
AIRFLOW_PORT ?= 8080

# Hundreds of processes import Airflow: what Python compiles is kept, whatever the caller's environment says.
export PYTHONDONTWRITEBYTECODE :=
export LIGHTLY_SANDBOX := $(CURDIR)/$(VENV_SANDBOX)/bin/lightly-sandbox

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: demo
demo: $(VENV)/.ready $(VENV_SANDBOX)/.ready ## onboard a local bucket of real photos, and show what was selected
	@$(VENV)/bin/python -m demo

.PHONY: test
test: $(VENV)/.ready $(VENV_SANDBOX)/.ready ## run all tests: provider on the newest Airflow, then the sandbox's own
	$(VENV)/bin/python -m pytest
	cd sandbox && ../$(VENV_SANDBOX)/bin/python -m pytest

.PHONY: test-compat
test-compat: $(VENV_COMPAT)/.ready $(VENV_SANDBOX)/.ready ## run the core of the tests on Airflow 2.11
	$(VENV_COMPAT)/bin/python -m pytest

.PHONY: test-vendor
test-vendor: $(VENV_VENDOR)/.ready $(VENV_SANDBOX)/.ready ## drive the sandbox with the vendor's own client, lightly 1.5.26
	cd sandbox && ../$(VENV_VENDOR)/bin/python -m pytest tests_vendor

.PHONY: test-system
test-system: $(VENV_SYSTEM)/.ready $(VENV_SANDBOX)/.ready ## kill, mark and clear worker runs in an Airflow of separate services
	@scripts/setup-services
	$(VENV_SYSTEM)/bin/python -m pytest tests/system

.PHONY: lint
lint: $(VENV)/.ready ## format check, lint, direction of the imports
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/ruff check .
	$(VENV)/bin/lint-imports --no-logo
	cd sandbox && ../$(VENV)/bin/lint-imports --no-logo

.PHONY: types
types: $(VENV)/.ready $(VENV_SANDBOX)/.ready ## mypy, strict
	$(VENV)/bin/mypy
	cd sandbox && ../$(VENV_SANDBOX)/bin/mypy && ../$(VENV_SANDBOX)/bin/mypy ../benchmarks/sandbox.py

.PHONY: sandbox
sandbox: $(VENV_SANDBOX)/.ready ## run the local Lightly platform, AWS and worker until Ctrl-C
	@$(LIGHTLY_SANDBOX) up --state-dir $(SANDBOX_STATE) --port $(SANDBOX_PORT) --aws-port $(AWS_PORT) \
	  --workers 1 --ready-file $(SANDBOX_STATE)/ready.json

.PHONY: airflow
airflow: $(VENV)/.ready $(VENV_SANDBOX)/.ready ## run Airflow with the example DAGs, connected to `make sandbox`
	@$(VENV)/bin/python -m demo.standalone --ready-file $(SANDBOX_STATE)/ready.json --port $(AIRFLOW_PORT)

.PHONY: benchmarks
benchmarks: $(VENV_BENCHMARKS)/.ready $(VENV_SANDBOX)/.ready ## measure what importing the operators costs, a full count of files, waiting for runs, a triggerer, and the sandbox
	$(VENV_BENCHMARKS)/bin/python benchmarks/import_cost.py
	$(VENV_BENCHMARKS)/bin/python benchmarks/inventory.py
	$(VENV_BENCHMARKS)/bin/python benchmarks/waiting.py
	$(VENV_BENCHMARKS)/bin/python benchmarks/triggerer.py
	$(VENV_SANDBOX)/bin/python benchmarks/sandbox.py

.PHONY: clean
clean: ## remove what the targets made, environments included
	rm -rf $(VENV) $(VENV_SANDBOX) $(VENV_COMPAT) $(VENV_BENCHMARKS) $(VENV_VENDOR) $(VENV_SYSTEM) demo-output $(SANDBOX_STATE) airflow-home

$(VENV)/.ready: pyproject.toml constraints.txt scripts/setup-venv
	@scripts/setup-venv $(VENV) constraints.txt --editable . --group test --group lint

$(VENV_SANDBOX)/.ready: sandbox/pyproject.toml sandbox/constraints.txt scripts/setup-venv
	@scripts/setup-venv $(VENV_SANDBOX) sandbox/constraints.txt --editable './sandbox[test,lint]'

$(VENV_COMPAT)/.ready: pyproject.toml constraints-airflow-2.11.txt scripts/setup-venv
	@scripts/setup-venv $(VENV_COMPAT) constraints-airflow-2.11.txt --editable . --group test

$(VENV_VENDOR)/.ready: sandbox/vendor-constraints.txt scripts/setup-venv
	@scripts/setup-venv $(VENV_VENDOR) sandbox/vendor-constraints.txt --no-deps --requirement sandbox/vendor-constraints.txt

$(VENV_SYSTEM)/.ready: pyproject.toml constraints.txt scripts/setup-venv
	@scripts/setup-venv $(VENV_SYSTEM) constraints.txt --editable . --group test --group system

$(VENV_BENCHMARKS)/.ready: pyproject.toml constraints.txt scripts/setup-venv
	@scripts/setup-venv $(VENV_BENCHMARKS) constraints.txt --editable . --group benchmarks
