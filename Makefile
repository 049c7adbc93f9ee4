# Two commands matter: `make run` and `make test`. Both start from python3 (3.11 or newer) with venv, make and git.
.DEFAULT_GOAL := help
SHELL := /bin/bash

PYTHON ?= python3
# How many seeds `make simulate` tries.
SEEDS ?= 1000
# How many tests run side by side.
JOBS ?= auto

VENV := .venv
BIN := $(VENV)/bin

# Nothing but the environment itself is left in the tree.
CACHE := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/samband
export RUFF_CACHE_DIR := $(CACHE)/ruff
export MYPY_CACHE_DIR := $(CACHE)/mypy
export PYTHONPYCACHEPREFIX := $(CACHE)/pycache
export HYPOTHESIS_STORAGE_DIRECTORY := $(CACHE)/hypothesis
export PIP_DISABLE_PIP_VERSION_CHECK := 1

PYTEST := $(BIN)/pytest -o cache_dir=$(CACHE)/pytest

.PHONY: help run test lint format bench budgets simulate mutants soak kafka-up postgres-up lock clean

help: ## what there is
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  make \1\t/' | expand -t 18

run: $(VENV)/run.stamp ## samband with a small estate that breaks: see alerts become incidents
	$(BIN)/samband demo

test: $(VENV)/dev.stamp ## everything: the checks, then the tests against real counterparts
	tools/counterparts
	$(MAKE) --no-print-directory lint
	$(PYTEST) -m "not bench and not soak" -n $(JOBS) --dist loadfile -p no:benchmark tests

lint: $(VENV)/dev.stamp ## style, types, direction of imports
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports --cache-dir $(CACHE)/import-linter

format: $(VENV)/dev.stamp ## put the code into the house's form
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

bench: $(VENV)/dev.stamp ## how fast, beside Alertmanager; on a machine that does nothing else
	tools/counterparts
	$(PYTEST) -m bench -p no:xdist -p no:benchmark tests/bench --table docs/performance.md

budgets: $(VENV)/dev.stamp ## what a step may cost in CI: down by itself, up with RAISE=fold-new
	$(BIN)/python -m tests.bench.budgets $(if $(RAISE),--raise $(RAISE))

simulate: $(VENV)/dev.stamp ## the simulation with SEEDS seeds, or with one: SEED=17
	$(BIN)/python -m tests.simulation $(if $(SEED),--seed $(SEED) --story,--count $(SEEDS) --jobs $$(nproc))

mutants: $(VENV)/dev.stamp ## bugs planted in a copy, one at a time: every one must be caught, or one: ONLY=NAME
	tools/counterparts
	$(BIN)/python -m tests.mutation $(if $(ONLY),--only $(ONLY))

soak: $(VENV)/dev.stamp ## kills and faults for a long time
	tools/counterparts
	$(PYTEST) -m soak -o faulthandler_timeout=14400 -p no:xdist -p no:benchmark tests

kafka-up: $(VENV)/dev.stamp ## a Kafka broker to try things with, on port PORT (9092); Ctrl-C ends it
	tools/counterparts
	$(BIN)/python -m tests.counterparts.kafka_up $(PORT)

postgres-up: $(VENV)/dev.stamp ## a PostgreSQL to try things with, on port PORT (5432); Ctrl-C ends it
	tools/counterparts
	$(BIN)/python -m tests.counterparts.postgres_up $(PORT)

lock: $(VENV)/dev.stamp ## new versions of everything, into requirements/
	tools/lock $(PYTHON)

clean: ## the environment and everything that was made
	rm -rf $(VENV) build dist $(CACHE)

$(VENV)/%.stamp: requirements/%.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "samband needs Python 3.11 or newer, $(PYTHON) is " + sys.version.split()[0])'
	test -x $(BIN)/pip || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --require-hashes -r $<
	$(BIN)/pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@
