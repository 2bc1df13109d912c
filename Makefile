# `make` sets up the pinned environment and runs the demo to its figures; `make help` lists the rest.

PYTHON ?= python3
# pyenv hides the versions that are not selected; where there is no pyenv the variable does nothing.
PYTHON312 ?= env PYENV_VERSION=3.12 python3.12
CORES ?= all
# `make CONFIG=my.yaml`, `make report CONFIG=my.yaml`: another config than the demo's
CONFIG ?= config/config.yaml
REPORT ?= results/report.html
snakemake = .venv/bin/snakemake --cores $(CORES) --keep-going --configfile $(CONFIG)

# Nothing of the user's own Python may shadow what is pinned.
export PYTHONNOUSERSITE := 1
export PIP_USER := 0
export PIP_DISABLE_PIP_VERSION_CHECK := 1
unexport PYTHONPATH PYTHONHOME

# The copy of the lock inside an environment says what it holds: it is made anew when the lock changes.
core := .venv/installed.lock
scvelo := .envs/scvelo/installed.lock
# CellRank wants Python 3.12; where there is none its tests say so and are skipped.
cellrank := $(if $(shell $(PYTHON312) -c 'print("found")' 2>/dev/null),.envs/cellrank/installed.lock)

.DEFAULT_GOAL := demo
.DELETE_ON_ERROR:
.PHONY: demo report image test test-all test-peers test-cluster test-report test-deployment lint format lock bench clean help

demo: $(core) ## set up and run the demo (the default)
	$(snakemake)

report: $(core) ## write results/report.html of a finished run
	$(snakemake) --forcerun tabulate_run --quiet rules -- tabulate_all
	$(snakemake) --report $(REPORT) --report-stylesheet workflow/report/report.css -- tabulate_all

image: ## build the container image veloshard with podman or docker
	envs/image.sh

test: $(core) ## set up and run the fast tests
	.venv/bin/pytest

test-all: $(core) $(scvelo) $(cellrank) ## run every test, slow ones and other people's programs too
	.venv/bin/pytest -m ""

test-peers: $(core) $(scvelo) $(cellrank) ## open our results in scVelo and CellRank
	.venv/bin/pytest -m peers

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

lint: $(core) ## check the form of Python and Snakemake code
	.venv/bin/ruff check
	.venv/bin/ruff format --check
	.venv/bin/snakefmt --check Snakefile workflow/rules
	.venv/bin/snakemake --lint

format: $(core) ## bring Python and Snakemake code into form
	.venv/bin/ruff check --fix
	.venv/bin/ruff format
	.venv/bin/snakefmt Snakefile workflow/rules

bench: $(core) ## measure time and memory
	.venv/bin/python benchmarks/run.py

lock: ## renew envs/*.lock after an edit of envs/*.yaml
	PYTHON="$(PYTHON)" envs/lock.sh

clean: ## remove environments, caches and the demo's results; other results stay
	rm -rf .venv .envs .compiled .pytest_cache .ruff_cache results/demo logs/demo
	find workflow tests -name __pycache__ -type d -prune -exec rm -rf {} +

help:
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 18

# $(call install,PYTHON,VERSION): this target's environment, with nothing left over from an older lock
define install
	@$(1) -c 'import sys; found = "%d.%d" % sys.version_info[:2]; found == "$(2)" or \
	sys.exit("$(@D) needs Python $(2), but $(1) is " + found + "; try: make PYTHON=python$(2)")'
	$(1) -m venv --clear $(@D)
	$(@D)/bin/python -m pip install --quiet --require-hashes --requirement $<
	@cp $< $@
endef

.venv/installed.lock: envs/core.lock
	$(call install,$(PYTHON),3.11)

.envs/scvelo/installed.lock: envs/scvelo.lock
	$(call install,$(PYTHON),3.11)

.envs/cellrank/installed.lock: envs/cellrank.lock
	$(call install,$(PYTHON312),3.12)
