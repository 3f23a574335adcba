# Everything here sets up .venv first; nothing but Python 3.11 and make is needed before.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin
export HF_HUB_OFFLINE = 1

.PHONY: quickstart test test-long check lint bench clean
.DELETE_ON_ERROR:

quickstart: .venv/quickstart  ## Fine-tune a small real encoder on the data in examples/data
	$(BIN)/hfrecipes run text-classification/quickstart

test: check  ## Lint, types and tests; CI runs test-long after it
	$(BIN)/python -m pytest -n 2 -m "not long"
	$(BIN)/python -m pytest -n 4 tests/hub

test-long: .venv/dev  ## What is slow by nature: every architecture in fresh processes, models that learn to write
	$(BIN)/python -m pytest -n 2 -m long

check: .venv/dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy hfrecipes

bench: .venv/quickstart  ## The plain Trainer tutorial beside hfrecipes, on the same data
	$(BIN)/python benchmarks/compare.py

# The first line is pip's own: old releases of it resolve slowly.
.venv/quickstart: setup.cfg constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade "pip>=25"
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[quickstart]"
	touch $@

.venv/dev: .venv/quickstart
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[quickstart,generation,dev]"
	touch $@

clean:
	rm -rf .venv build dist *.egg-info
