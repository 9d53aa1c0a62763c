# Two commands do all set-up: `make demo` and `make test`. Paths are relative, so the folder may have spaces.
.PHONY: help demo demo-once test lint format bench schema lock clean
.DEFAULT_GOAL := help
SHELL := /bin/bash

PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin
INSTALLED := .venv/installed

help:
	@echo "make demo       leadq on a simulated firm, with Dagster's UI, until Ctrl-C"
	@echo "make demo-once  the same, exits after the summary"
	@echo "make test       every test, on servers of its own"
	@echo "make lint       ruff, mypy, import directions"
	@echo "make bench      the benchmarks"

# uv installs ten times as fast; where it is not to be had, or does not know the certificates or the index that pip was
# told of, pip installs the same hashed files.
$(INSTALLED): requirements.lock pyproject.toml
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info[:2] not in ((3, 11), (3, 12)))' \
		|| { echo "leadq needs Python 3.11 or 3.12: make PYTHON=/path/to/python3.11"; exit 1; }
	@echo "installing leadq into .venv"
	@"$(PYTHON)" -m venv .venv
	@{ $(BIN)/python -m pip install --quiet --disable-pip-version-check uv \
		&& $(BIN)/python -m uv pip install --quiet --compile-bytecode --python $(BIN)/python \
			--require-hashes -r requirements.lock; } \
		|| { echo "uv could not; pip installs the same files instead"; \
			$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock; }
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $(INSTALLED)

demo: $(INSTALLED)
	@$(BIN)/leadq demo

demo-once: $(INSTALLED)
	@$(BIN)/leadq demo --once

test: $(INSTALLED)
	@$(BIN)/python deploy/install_for_tests.py
	@$(BIN)/python -m pytest -n auto

lint: $(INSTALLED)
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

format: $(INSTALLED)
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

# Beside the desk run two other queues, which only the benchmarks need.
bench: $(INSTALLED)
	@$(BIN)/python -m uv pip install --quiet --python $(BIN)/python --require-hashes -r bench/requirements.lock
	@$(BIN)/python deploy/install_for_tests.py
	@$(BIN)/python -m bench

# After a new migration: write down what the migrations give, for `leadq db check` to compare with.
schema: $(INSTALLED)
	@$(BIN)/python -m leadq_dagster_tests.write_schema

# After a change of dependencies. No index is named in the lock, so any mirror may serve it.
lock: $(INSTALLED)
	@$(BIN)/python -m uv pip compile --quiet --universal --no-strip-extras --generate-hashes \
		--no-emit-index-url --no-header --no-annotate --extra dev pyproject.toml -o requirements.lock

clean:
	@rm -rf .venv .leadq .cache dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
