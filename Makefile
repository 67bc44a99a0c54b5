# Everything sets itself up: its own virtual environment in .venv, an editable install, pinned versions.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
CORE := $(VENV)/.core-installed
STAMP := $(VENV)/.installed
export PYTHONDONTWRITEBYTECODE :=

.PHONY: help demo test lint bench soak docs clean
.DEFAULT_GOAL := help

help:  ## Show this list
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | awk -F'\t' '{printf "  make %-8s %s\n", $$1, $$2}'

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Outlay needs Python 3.11 or newer: make PYTHON=/path/to/python3.11 ..."; exit 1; }
	@$(PYTHON) -m venv $(VENV)

$(CORE): pyproject.toml constraints.txt tools/install.py | $(BIN)/python
	@$(BIN)/python tools/install.py core
	@touch $@

$(STAMP): pyproject.toml constraints.txt tools/install.py | $(BIN)/python
	@$(BIN)/python tools/install.py dev
	@touch $@ $(CORE)

demo: $(CORE)  ## Three simulated AI products, 90 days: what they spent, and why one video cost what it did
	@$(BIN)/outlay demo

test: $(STAMP)  ## All tests, big counts time-boxed
	@$(BIN)/python -m pytest -n 2 --dist worksteal

lint: $(STAMP)  ## ruff, mypy --strict, import-linter
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

bench: $(STAMP)  ## Side by side with peers, written to docs/benchmarks.md
	@$(BIN)/python bench/run.py

soak: $(STAMP)  ## The big counts in full: kill -9, forks, random commands
	@OUTLAY_SOAK=1 $(BIN)/python -m pytest -m soak -n 0 -s

clean:  ## Remove what make made
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
