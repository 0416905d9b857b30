# Sightline. Every target works on a fresh machine that has Python 3.11+ and make: they set up .venv first.

PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.installed
ONLY ?=

.PHONY: setup run demo test test-long test-all lint bench requirements clean

setup: $(STAMP)

# uv installs the pinned list several times faster than pip; pip is only used to get uv.
$(STAMP): requirements.txt pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv==0.13.9
	$(BIN)/uv pip install --quiet --python $(BIN)/python --requirement requirements.txt
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --editable .
	touch $@

run: setup
	$(BIN)/sightline serve

demo: setup
	$(BIN)/sightline demo

test: setup
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 3 --dist worksteal

test-long: setup
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist worksteal -m long

test-all: setup
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist worksteal -m "slow or not slow"

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# make bench ONLY=metrics runs the rows whose module name contains "metrics".
bench: setup
	$(BIN)/python -m tests.bench $(ONLY)

# After a change of pyproject.toml's dependencies.
requirements: $(STAMP)
	$(BIN)/uv pip compile pyproject.toml --extra dev --universal --python-version 3.11 --no-header --no-annotate --output-file requirements.txt

clean:
	rm -rf .venv build *.egg-info .pytest_cache .mypy_cache .ruff_cache
