# make demo: the whole way on the embedded data and model.  make test: the test suite.
# make coverage: the suite, and the branches of fki that it executes.  make lint: style and types.
# make docs: the documentation into site/.  make bench: short benchmarks.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

.PHONY: bench coverage demo docs hooks lint test

$(VENV)/.installed: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) torch
	$(PIP) -e .
	touch $@

$(VENV)/.installed-%: $(VENV)/.installed
	$(PIP) -e ".[$*]"
	touch $@

demo: $(VENV)/.installed
	$(BIN)/python scripts/demo.py

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/codespell

test: $(VENV)/.installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -n 2 --dist worksteal

# The branches of fki that the suite executes, also in the processes that it starts.
coverage: $(VENV)/.installed-test
	$(BIN)/coverage erase
	$(BIN)/coverage run -m pytest
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report

docs: $(VENV)/.installed-docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict
	@echo "The documentation is in site/index.html."

# One short round each, by CPU time; docs/performance.md lists the rest.
bench: $(VENV)/.installed-test
	$(BIN)/python -m benchmarks.startup --rounds 1
	$(BIN)/python -m benchmarks.tokens --rounds 1
	$(BIN)/python -m benchmarks.run --only scoring --rounds 1 --threads 1

# Checks before each commit: style, types and spelling.
hooks: $(VENV)/.installed-dev
	$(BIN)/pre-commit install
