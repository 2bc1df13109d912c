# `make` sets up the pinned environment and runs the demo to its figures; `make help` lists the rest.

# `make PYTHON=python3.13`: that Python, otherwise python3 or the newest supported one (envs/python.sh)
PYTHON ?=
CORES ?= all
# `make CONFIG=my.yaml`, `make report CONFIG=my.yaml`: another config than the demo's
CONFIG ?= config/config.yaml
REPORT ?= results/report.html
# models of other groups whose environments `make test-methods` installs and tests
MODELS ?= $(notdir $(basename $(wildcard workflow/scripts/models/*.py)))
snakemake = .venv/bin/snakemake --cores $(CORES) --keep-going --configfile $(CONFIG)

# Nothing of the user's own Python may shadow what is pinned.
export PYTHONNOUSERSITE := 1
export PIP_USER := 0
export PIP_DISABLE_PIP_VERSION_CHECK := 1
unexport PYTHONPATH PYTHONHOME

# The copy of the lock inside an environment says what it holds: it is made anew when the lock changes.
core := .venv/installed.lock
scvelo := .envs/scvelo/installed.lock
dynamo := .envs/dynamo/installed.lock
# CellRank wants Python 3.12; where there is none its tests say so and are skipped.
cellrank := $(if $(shell envs/python.sh cellrank 2>/dev/null),.envs/cellrank/installed.lock)

# a PYTHON of another version than that of .venv makes .venv anew
another_python := $(if $(PYTHON),$(shell [ ! -e .venv/pyvenv.cfg ] || grep -qxF .venv/pyvenv.cfg \
	-e "version = $$("$$(PYTHON="$(PYTHON)" envs/python.sh core 2>/dev/null || echo false)" -c 'import platform; print(platform.python_version())')" || \
	echo FORCE))

.DEFAULT_GOAL := demo
.DELETE_ON_ERROR:
.PHONY: demo report image test test-all test-newest test-peers test-methods test-cluster test-report test-deployment \
	lint format docs lock bench clean help FORCE

demo: $(core) ## set up and run the demo (the default)
	$(snakemake)

report: $(core) ## write results/report.html of a finished run
	$(snakemake) --forcerun tabulate_run tabulate_comparison --quiet rules -- tabulate_all
	$(snakemake) --report $(REPORT) --report-stylesheet workflow/report/report.css -- tabulate_all

image: ## build the container image veloshard with podman or docker
	envs/image.sh

test: $(core) ## set up and run the fast tests
	.venv/bin/pytest

test-all: $(core) $(scvelo) $(dynamo) $(cellrank) ## run every test, also slow ones and those with other programs
	.venv/bin/pytest -m ""

test-newest: $(core) .envs/newest/installed.lock ## run the unit tests on the newest Python found, compare its results
	.envs/newest/bin/pytest $(or $(ARGS),tests/unit)
	.venv/bin/pytest -m stacks tests/stacks

test-peers: $(core) $(scvelo) $(dynamo) $(cellrank) ## open our results in scVelo, Dynamo and CellRank
	.venv/bin/pytest -m peers

test-methods: $(core) $(MODELS:%=.envs/%/installed.lock) ## run models of other groups; `make test-methods MODELS=velovi`: those only
	.venv/bin/pytest -m methods $(ARGS)

test-cluster: $(core) ## run the workflow on a Slurm that is started for it (root, Debian)
	@command -v slurmctld >/dev/null || PATH="$$PATH:/usr/sbin" command -v slurmctld >/dev/null || \
	{ apt-get update -qq && apt-get install -y -qq --no-install-recommends slurm-wlm munge; } >/dev/null || \
	echo "Slurm cannot be installed here"
	.venv/bin/pytest -m cluster

test-report: $(core) ## open the report of a run in Chromium (which root on Debian need not have)
	@command -v chromium >/dev/null || \
	{ apt-get update -qq && apt-get install -y -qq --no-install-recommends chromium; } >/dev/null || \
	echo "Chromium cannot be installed here"
	.venv/bin/pytest -m browser

test-deployment: $(core) ## run the workflow in the image (`make image`), install all locks
	.venv/bin/pytest -m deployment

lint: $(core) ## check form, spelling, types, layers and docstrings
	.venv/bin/ruff check
	.venv/bin/ruff format --check
	.venv/bin/snakefmt --check workflow/Snakefile workflow/rules
	.venv/bin/snakemake --lint
	.venv/bin/codespell
	.venv/bin/mypy
	.venv/bin/lint-imports
	.venv/bin/pytest -q tests/unit/test_docstrings.py

format: $(core) ## bring Python and Snakemake code into form
	.venv/bin/ruff check --fix
	.venv/bin/ruff format
	.venv/bin/snakefmt workflow/Snakefile workflow/rules

docs: $(core) ## build the documentation: docs/_build/html/index.html
	.venv/bin/sphinx-build -W --keep-going -b html docs docs/_build/html

bench: $(core) ## measure time and memory
	.venv/bin/python benchmarks/run.py

lock: ## renew envs/*.lock after an edit of envs/*.yaml; `make lock ENV=velovi`: of one
	PYTHON="$(PYTHON)" envs/lock.sh $(ENV)

clean: ## remove environments, caches and the demo's results; other results stay
	rm -rf .venv .envs .compiled .pytest_cache .ruff_cache .mypy_cache .import_linter_cache docs/_build results/demo logs/demo
	find workflow tests -name __pycache__ -type d -prune -exec rm -rf {} +

help:
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 18

# an environment holds what its lock says, and a copy of it
.venv/installed.lock: envs/core.lock $(another_python)
	PYTHON="$(PYTHON)" envs/install.sh core $(@D)

.envs/newest/installed.lock: envs/core.lock
	envs/install.sh core $(@D) --newest

.SECONDEXPANSION:
.envs/%/installed.lock: envs/%.lock envs/%.yaml $$(wildcard envs/$$*.post-deploy.sh)
	PYTHON="$(PYTHON)" envs/install.sh $* $(@D)
