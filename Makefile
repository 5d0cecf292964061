# drkeeper: `make demo` shows it at work, `make test` proves it. Both set up all they need.
.DEFAULT_GOAL := help
.PHONY: help demo test test-lowest check format lint types layers bench soak clean services
SHELL := /bin/bash

PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
# Two workers: the suite is sized for two cores, and more would fight over one disk.
JOBS   ?= 2

help: ## list what can be made
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

# ---------------------------------------------------------------- set-up
# A system Python may come without venv: then say which package to install instead of a traceback.
$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "drkeeper needs Python 3.11 or newer; $(PYTHON) is older. Try: make PYTHON=python3.11 $(MAKECMDGOALS)"; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || scripts/install-python-venv "$(PYTHON)"
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check 'pip>=25.1'

$(VENV)/.run: $(BIN)/python pyproject.toml src/drkeeper/__init__.py
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable .
	@touch $@

$(VENV)/.dev: $(VENV)/.run
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[apprise,pdf,postgresql]' --group test --group lint
	@touch $@

# ---------------------------------------------------------------- the two commands
demo: $(VENV)/.run ## the whole story: backups, a point in time, a daemon, drills, a lost machine, a report: two minutes and a half
	@$(BIN)/drkeeper demo

# Hundreds of tests start the command, which would be compiled each time where PYTHONDONTWRITEBYTECODE is set.
test: $(VENV)/.dev services ## every test, integration included
	$(BIN)/python -m compileall -q src
	$(BIN)/python -m pytest -n $(JOBS) --dist worksteal -m 'not soak'

# Missing servers never stop the tests here: what needs them skips and names them. With
# DRKEEPER_TESTS_REQUIRE_SERVICES=1 (as in .ci/run) the same tests fail instead.
services:
	@scripts/install-test-services || echo "make: some test services are missing; tests that need them will say so"

# ---------------------------------------------------------------- for those who change drkeeper
check: format lint types layers ## what a commit needs: format, lint, types, layers, unit and property tests
	$(BIN)/python -m pytest -q -n $(JOBS) tests/unit tests/house -m 'not slow and not integration and not soak'

format: $(VENV)/.dev
	$(BIN)/ruff format --check src tests tools benchmarks

lint: $(VENV)/.dev
	$(BIN)/ruff check src tests tools benchmarks
	$(BIN)/interrogate -q -c pyproject.toml tests
	$(BIN)/codespell src tests docs tools benchmarks README.md CHANGELOG.md

types: $(VENV)/.dev
	$(BIN)/mypy

layers: $(VENV)/.dev
	$(BIN)/lint-imports

test-lowest: $(BIN)/python ## the tests again, with the oldest versions pyproject.toml allows
	$(PYTHON) -m venv $(VENV)-lowest
	$(VENV)-lowest/bin/python -m pip install --quiet --disable-pip-version-check 'pip>=25.1'
	$(PYTHON) scripts/lowest-versions > $(VENV)-lowest/constraints.txt
	$(VENV)-lowest/bin/python -m pip install --quiet --disable-pip-version-check --group test --constraint $(VENV)-lowest/constraints.txt --editable '.[apprise,pdf,postgresql]'
	$(VENV)-lowest/bin/python -m pytest -q -n $(JOBS) tests/unit tests/contract tests/property -m 'not slow and not soak'

bench: $(VENV)/.dev ## drkeeper beside restic and borg; writes benchmarks/results.json
	$(BIN)/python -m benchmarks.run

soak: $(VENV)/.dev services ## minutes to hours: long kill, flip and model runs
	$(BIN)/python -m pytest -n $(JOBS) -m soak

clean: ## remove what make made
	rm -rf $(VENV) $(VENV)-lowest .pytest_cache .mypy_cache .ruff_cache .hypothesis .test-services benchmarks/work
