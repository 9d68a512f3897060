# Everything here needs only python3 (3.11 or newer, with venv) and make. `make help` lists the targets.
.DEFAULT_GOAL := help
SHELL := /bin/sh
MAKEFLAGS += --no-builtin-rules --no-print-directory

VENV := .venv
VENV_SANDBOX := .venv-sandbox
VENV_COMPAT := .venv-airflow-2.11
VENV_BENCHMARKS := .venv-benchmarks
VENV_VENDOR := .venv-vendor
VENV_BROWSER := .venv-browser
VENV_SYSTEM := .venv-system
VENV_FORMATS := .venv-formats
VENV_DOCS := .venv-docs
VENV_PACKAGE := .venv-package
SANDBOX_STATE := sandbox-state
SANDBOX_PORT ?= 8420
AWS_PORT ?= 8421
AIRFLOW_PORT ?= 8080

# Hundreds of processes import Airflow: what Python compiles is kept, whatever the caller's environment says.
export PYTHONDONTWRITEBYTECODE :=
export LIGHTLY_SANDBOX := $(CURDIR)/$(VENV_SANDBOX)/bin/lightly-sandbox

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-23s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: demo
demo: $(VENV)/.ready $(VENV_SANDBOX)/.ready ## onboard a local bucket of real photos, and show what was selected
	@$(VENV)/bin/python -m demo

.PHONY: demo-fleet
demo-fleet: $(VENV)/.ready $(VENV_SANDBOX)/.ready ## onboard twelve datasets from one file; the one that is refused is named, with the fix
	@$(VENV)/bin/python -m demo.fleet

# One test process for each core, and one more, because tests also wait; each has a sandbox and an Airflow home of its own.
PROCESSES ?= $(shell expr $$(getconf _NPROCESSORS_ONLN) + 1)
PYTEST := -m pytest --numprocesses $(PROCESSES) --durations 10 --durations-min 1 --dist
SAMPLED := -m "not exhaustive"
THE_REST := -m exhaustive

.PHONY: test
test: $(VENV)/.ready $(VENV_SANDBOX)/.ready ## run the tests: provider on the newest Airflow, then the sandbox's own; of the long matrices a sample
	$(VENV)/bin/python $(PYTEST) worksteal $(SAMPLED)
	cd sandbox && ../$(VENV_SANDBOX)/bin/python $(PYTEST) loadfile $(SAMPLED)

.PHONY: test-all
test-all: test test-exhaustive ## run all tests: those of `make test`, then the rest of the long matrices

.PHONY: test-exhaustive
test-exhaustive: $(VENV)/.ready $(VENV_SANDBOX)/.ready ## run only what `make test` leaves out
	$(VENV)/bin/python $(PYTEST) worksteal $(THE_REST)
	cd sandbox && ../$(VENV_SANDBOX)/bin/python $(PYTEST) loadfile $(THE_REST)

.PHONY: test-compat
test-compat: $(VENV_COMPAT)/.ready $(VENV_SANDBOX)/.ready ## run the provider's tests on Airflow 2.11; of the long matrices a sample
	$(VENV_COMPAT)/bin/python $(PYTEST) worksteal $(SAMPLED)

.PHONY: test-compat-exhaustive
test-compat-exhaustive: $(VENV_COMPAT)/.ready $(VENV_SANDBOX)/.ready ## run on Airflow 2.11 only what `make test-compat` leaves out
	# The client and the drain know no Airflow: `make test-exhaustive` runs what they meet.
	$(VENV_COMPAT)/bin/python $(PYTEST) worksteal $(THE_REST) --deselect tests/hostile --deselect tests/integration/test_uploads_drained.py

.PHONY: test-vendor
test-vendor: $(VENV_VENDOR)/.ready $(VENV_SANDBOX)/.ready ## drive the sandbox with the vendor's own client, lightly 1.5.26
	cd sandbox && ../$(VENV_VENDOR)/bin/python -m pytest --durations 10 tests_vendor

.PHONY: test-formats
test-formats: $(VENV_FORMATS)/.ready ## have the labeling tools' own packages check the import files that are made for them
	$(VENV_FORMATS)/bin/python -m pytest tests_formats

# Airflow runs in an environment of its own; the tests need its Python only to start it. AGAIN=--last-failed: only what
# failed before.
BROWSER := AIRFLOW_PYTHON=$(CURDIR)/$(VENV)/bin/python $(VENV_BROWSER)/bin/python -m pytest -c tests_browser/pytest.ini --durations 10 $(AGAIN) tests_browser

.PHONY: test-browser
test-browser: $(VENV_BROWSER)/.ready $(VENV)/.ready $(VENV_SANDBOX)/.ready ## look at Airflow's and the sandbox's pages in Chromium, with axe-core; skipped where Chromium cannot be installed
	@scripts/setup-browser $(VENV_BROWSER) || { [ $$? -eq 3 ] && touch $(VENV_BROWSER)/.skipped; }
	@if [ -e $(VENV_BROWSER)/.skipped ]; then rm $(VENV_BROWSER)/.skipped; else \
	  $(BROWSER) && cd sandbox && ../$(VENV_BROWSER)/bin/python -m pytest --durations 10 tests_browser; fi

.PHONY: pictures
pictures: $(VENV_BROWSER)/.ready $(VENV)/.ready $(VENV_SANDBOX)/.ready ## take the pictures of the guide and the README again; Chromium is needed
	@scripts/setup-browser $(VENV_BROWSER)
	LIGHTLY_TAKE_PICTURES=1 $(BROWSER)

.PHONY: pictures-check
pictures-check: ## fail if a picture of the guide shows an older state of the DAGs, texts, templates or Airflow
	@python3 -m tests_browser.pictures

.PHONY: test-system
test-system: $(VENV_SYSTEM)/.ready $(VENV_SANDBOX)/.ready ## kill, mark and clear worker runs in an Airflow of separate services
	@scripts/setup-services
	$(VENV_SYSTEM)/bin/python -m pytest --durations 10 tests/system

.PHONY: lint
lint: $(VENV)/.ready $(VENV_SANDBOX)/.ready ## format check, lint, direction of the imports, declared dependencies
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/ruff check .
	$(VENV)/bin/lint-imports --no-logo
	cd sandbox && ../$(VENV)/bin/lint-imports --no-logo
	@# Its notes about tools that this environment does not have are of interest only if it finds something.
	@said=$$($(VENV)/bin/deptry lightly_provider dags 2>&1) || { echo "$$said"; exit 1; }
	@cd sandbox && said=$$(../$(VENV_SANDBOX)/bin/deptry lightly_sandbox 2>&1) || { echo "$$said"; exit 1; }

.PHONY: types
types: $(VENV)/.ready $(VENV_SANDBOX)/.ready ## mypy, strict
	$(VENV)/bin/mypy
	cd sandbox && ../$(VENV_SANDBOX)/bin/mypy && ../$(VENV_SANDBOX)/bin/mypy ../benchmarks/sandbox.py

.PHONY: docs
docs: $(VENV_DOCS)/.ready ## build the guide as a site, into site/, and check it
	@python3 -m tests_browser.pictures
	NO_MKDOCS_2_WARNING=1 $(VENV_DOCS)/bin/mkdocs build --quiet --strict --clean
	$(VENV_DOCS)/bin/python -m pytest -q -p no:cacheprovider tests_docs

.PHONY: package
package: dist secrets ## build the wheels and sdists of both distributions into dist/, and check them
	$(VENV_PACKAGE)/bin/python -m pytest --durations 10 --durations-min 2 tests_package
	$(VENV_PACKAGE)/bin/python -m release.matrix --only 3.3.2/3.11 --without-tests

.PHONY: dist
dist: $(VENV_PACKAGE)/.ready
	@rm -rf dist
	$(VENV_PACKAGE)/bin/python -m release.distributions --into dist

.PHONY: secrets
secrets: $(VENV_PACKAGE)/.ready ## look for secrets in all files; those of the tests, which open nothing, are in .secrets.baseline
	$(VENV_PACKAGE)/bin/python -m release.secret_scan

.PHONY: test-matrix
test-matrix: dist ## try the wheel in each Airflow of release/matrix.toml, on each of its Pythons that is on the PATH
	$(VENV_PACKAGE)/bin/python -m release.matrix

.PHONY: test-quick-start
test-quick-start: dist ## follow the README of the built wheel, without this checkout, to a green run of the example DAG
	$(VENV_PACKAGE)/bin/python -m release.quick_start

.PHONY: constraints-matrix
constraints-matrix: $(VENV_PACKAGE)/.ready ## resolve the constraints of each Airflow in release/matrix.toml anew
	$(VENV_PACKAGE)/bin/python -m release.resolve_constraints

.PHONY: sbom
sbom: dist ## write what the wheel brings with it as CycloneDX, for both distributions, into dist/
	$(VENV_PACKAGE)/bin/python -m release.sbom --into dist

.PHONY: release
release: $(VENV_PACKAGE)/.ready ## check that this commit can be released as TAG=v1.2.3, build it, and check that; uploads nothing
	$(VENV_PACKAGE)/bin/python -m release.readiness --tag "$(TAG)"
	$(MAKE) package
	$(VENV_PACKAGE)/bin/python -m release.sbom --into dist

.PHONY: sandbox
sandbox: $(VENV_SANDBOX)/.ready ## run the local Lightly platform, AWS and worker until Ctrl-C
	@$(LIGHTLY_SANDBOX) up --state-dir $(SANDBOX_STATE) --port $(SANDBOX_PORT) --aws-port $(AWS_PORT) \
	  --workers 1 --ready-file $(SANDBOX_STATE)/ready.json

.PHONY: airflow
airflow: $(VENV)/.ready $(VENV_SANDBOX)/.ready ## run Airflow with the example DAGs, connected to `make sandbox`
	@$(VENV)/bin/python -m demo.standalone --ready-file $(SANDBOX_STATE)/ready.json --port $(AIRFLOW_PORT)

.PHONY: benchmarks
benchmarks: $(VENV_BENCHMARKS)/.ready $(VENV_SANDBOX)/.ready $(VENV_VENDOR)/.ready ## measure what importing the operators costs, a full count of files, onboarding, waiting for runs, a triggerer, the sandbox, and exports
	$(VENV_BENCHMARKS)/bin/python benchmarks/import_cost.py
	$(VENV_BENCHMARKS)/bin/python benchmarks/inventory.py
	$(VENV_BENCHMARKS)/bin/python benchmarks/waiting.py
	$(VENV_BENCHMARKS)/bin/python benchmarks/triggerer.py
	$(VENV_SANDBOX)/bin/python benchmarks/sandbox.py
	$(VENV_BENCHMARKS)/bin/python benchmarks/onboarding.py
	$(VENV_BENCHMARKS)/bin/python benchmarks/export.py --vendor-python $(VENV_VENDOR)/bin/python
	$(VENV_BENCHMARKS)/bin/python benchmarks/predictions.py
	$(VENV_BENCHMARKS)/bin/python -m benchmarks.page

.PHONY: benchmark-fleet
benchmark-fleet: ## onboard DATASETS (100) datasets in an Airflow of separate services, with PostgreSQL and two Celery workers
	@python3 benchmarks/fleet.py --datasets $(or $(DATASETS),100)

.PHONY: benchmark-uploads
benchmark-uploads: $(VENV_SYSTEM)/.ready $(VENV_SANDBOX)/.ready ## 10,000 upload notifications to one DAG run per dataset, undisturbed and while parts of Airflow are killed
	@scripts/setup-services
	$(VENV_SYSTEM)/bin/python -m benchmarks.uploads --drain 10000 50000
	$(VENV_SYSTEM)/bin/python -m benchmarks.uploads
	$(VENV_SYSTEM)/bin/python -m benchmarks.uploads --kills 10

.PHONY: clean
clean: ## remove what the targets made, environments included
	rm -rf $(VENV) $(VENV_SANDBOX) $(VENV_BROWSER) $(VENV_COMPAT) $(VENV_BENCHMARKS) $(VENV_VENDOR) $(VENV_SYSTEM) $(VENV_FORMATS) $(VENV_DOCS) $(VENV_PACKAGE) dist site demo-output $(SANDBOX_STATE) airflow-home

$(VENV)/.ready: pyproject.toml constraints.txt scripts/setup-venv
	@scripts/setup-venv $(VENV) constraints.txt --editable . --group test --group lint

$(VENV_SANDBOX)/.ready: sandbox/pyproject.toml sandbox/constraints.txt scripts/setup-venv
	@scripts/setup-venv $(VENV_SANDBOX) sandbox/constraints.txt --editable './sandbox[test,lint]'

$(VENV_COMPAT)/.ready: pyproject.toml constraints-airflow-2.11.txt scripts/setup-venv
	@scripts/setup-venv $(VENV_COMPAT) constraints-airflow-2.11.txt --editable . --group test

$(VENV_VENDOR)/.ready: sandbox/vendor-constraints.txt scripts/setup-venv
	@scripts/setup-venv $(VENV_VENDOR) sandbox/vendor-constraints.txt --no-deps --requirement sandbox/vendor-constraints.txt

$(VENV_FORMATS)/.ready: pyproject.toml constraints-formats.txt scripts/setup-venv
	@scripts/setup-venv $(VENV_FORMATS) constraints-formats.txt --group formats

$(VENV_DOCS)/.ready: pyproject.toml constraints-docs.txt scripts/setup-venv
	@scripts/setup-venv $(VENV_DOCS) constraints-docs.txt --group docs

$(VENV_PACKAGE)/.ready: pyproject.toml constraints-package.txt scripts/setup-venv
	@scripts/setup-venv $(VENV_PACKAGE) constraints-package.txt --group package

$(VENV_BROWSER)/.ready: sandbox/browser-constraints.txt scripts/setup-venv
	@scripts/setup-venv $(VENV_BROWSER) sandbox/browser-constraints.txt --no-deps --requirement sandbox/browser-constraints.txt

$(VENV_SYSTEM)/.ready: pyproject.toml constraints.txt scripts/setup-venv
	@scripts/setup-venv $(VENV_SYSTEM) constraints.txt --editable . --group test --group system

$(VENV_BENCHMARKS)/.ready: pyproject.toml constraints.txt scripts/setup-venv
	@scripts/setup-venv $(VENV_BENCHMARKS) constraints.txt --editable . --group benchmarks
