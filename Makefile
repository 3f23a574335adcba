# Everything here sets up .venv first; nothing but Python 3.11 and make is needed before.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin
export HF_HUB_OFFLINE = 1

.PHONY: quickstart quick test test-long browser kill hostile fuzz check lint bench bench-check settings docs pictures notebooks clean
.DELETE_ON_ERROR:

quickstart: .venv/quickstart  ## Fine-tune a small real encoder on the data in examples/data
	$(BIN)/hfrecipes run text-classification/quickstart

# What needs no model, and the contract of one task.
QUICK := tests/data tests/evaluation tests/metrics tests/hub_offline tests/config tests/test_cli.py tests/test_house.py
quick: .venv/dev  ## Less than a minute: lint, tests that train nothing, the contract of text-classification
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/python -m pytest -n 2 -m "not long and not model" -k "not test_contract or text-classification" \
		$(QUICK) tests/tasks/test_contract.py

test: check  ## Lint, types and tests; CI runs test-long after it
	$(BIN)/python -m pytest -n 2 -m "not long"
	$(BIN)/python -m pytest -n 3 -m "not long" tests/hub

test-long: .venv/dev  ## What is slow by nature: several processes, models that learn for long, pages that show many runs
	$(BIN)/python -m pytest -n 2 -m long
	$(BIN)/python -m pytest -n 2 -m long tests/hub

browser:  ## Debian's chromium, for the tests in a browser; without it they are skipped
	command -v chromium || (apt-get -qq update && apt-get -qq install -y --no-install-recommends chromium)

kill: .venv/dev  ## 300 kills of runs of all kinds, at random moments and before single changes of files; an hour
	$(BIN)/python tests/kill/kills.py --kills 38

hostile: .venv/dev  ## Some 3,400 bad inputs, each in a process of its own; half an hour
	$(BIN)/python tests/hostile/bad_inputs.py

fuzz: .venv/dev  ## A million random texts for all that reads texts; an hour, on Linux or a Mac
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[fuzz]"
	$(BIN)/python tests/hostile/fuzz.py

check: .venv/dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy hfrecipes

bench: .venv/dev  ## hfrecipes beside other ways to train and to predict; BENCH="--jobs ner --repeats 1" for a part of it
	$(BIN)/python -m benchmarks $(BENCH)

bench-check: .venv/dev  ## Fails where hfrecipes has become slower beside a loop by hand and beside pipeline; 2 minutes
	OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.check

settings: .venv/dev  ## The pages of all settings and of all error sentences, and the schema of recipe files, from the code
	$(BIN)/python docs/make_settings.py
	$(BIN)/python docs/make_errors.py

docs: .venv/dev  ## The site of the documentation, in site/; look at it with: python -m http.server --directory site
	$(BIN)/python docs/make_site.py

pictures: .venv/dev browser  ## The pictures of the pages, in docs/pictures, from runs in build/pictures
	$(BIN)/python docs/pictures.py

notebooks: .venv/dev  ## The notebooks in examples/notebooks, run, with what they print
	$(BIN)/python examples/notebooks/make.py

# The first line is pip's own: old releases of it resolve slowly.
.venv/quickstart: setup.cfg constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade "pip>=25"
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[quickstart]"
	touch $@

.venv/dev: .venv/quickstart
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[quickstart,generation,excel,report,explain,demo,search,serve,onnx,private,redact,docs,dev]"
	touch $@

clean:
	rm -rf .venv .cache build dist site *.egg-info
