# make demo     install, train on the embedded images, write the report
# make test     install what the tests need and run them all
# make coverage the same, and which lines of the code no test runs (half as long again)
# make fuzz     ten thousand hostile files, two thousand evaluations against COCO's own code (an hour)
# make lint     style, types, import directions
# make figures  the figures of the chapters on optimisation and detection, into docs/pictures (ten minutes)
# make bench    every benchmark, one after the other (hours; see benchmarks/README.md for single ones)

PYTHON ?= python3
BIN := .venv/bin
# Absolute, so that pip's isolated build environments find it as well.
CONSTRAINTS := $(CURDIR)/constraints.txt
DEMO := runs/demo

.PHONY: demo test coverage fuzz lint figures bench clean
.DELETE_ON_ERROR:

demo: .venv/installed
	@rm -rf $(DEMO)
	$(BIN)/twofold train --recipe demo --name demo
	@echo "open $(CURDIR)/$(DEMO)/report.html"

# Two test processes: one thread each, or torch's threads wait for one another.
test: .venv/installed-test
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadscope

coverage: .venv/installed-test
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadscope --cov --cov-report=term

fuzz: .venv/installed-test
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest tests/end_to_end/test_hostile_files.py tests/detect/test_average_precision.py -n 2 --hypothesis-profile long

lint: .venv/installed-lint
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/pyright
	$(BIN)/lint-imports

figures: .venv/installed
	$(BIN)/python scripts/make_figures.py

bench: .venv/installed
	@for script in benchmarks/[a-z]*.py; do echo "== $$script"; $(BIN)/python $$script || exit 1; done

.venv/bin/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Twofold needs Python 3.11 or later")'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade "pip>=25.1"

.venv/installed: .venv/bin/python pyproject.toml constraints.txt
	$(BIN)/python -m pip install --quiet --constraint $(CONSTRAINTS) --editable .
	@touch $@

.venv/installed-test: .venv/installed
	$(BIN)/python -m pip install --quiet --constraint $(CONSTRAINTS) --editable '.[serve,labs]' --group test
	@touch $@

.venv/installed-lint: .venv/installed-test
	$(BIN)/python -m pip install --quiet --constraint $(CONSTRAINTS) --group lint
	@touch $@

clean:
	rm -rf .venv runs .pytest_cache .ruff_cache .hypothesis htmlcov .coverage*
