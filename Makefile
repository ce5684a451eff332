# `make demo` and `make test` are all that a fresh machine with Python 3.11 or newer needs.
PYTHON ?= python3
BIN := .venv/bin
SETUP := .venv/installed

.PHONY: demo test run-tests test-slow test-gpu test-system test-harness test-runners soak check format up down lock clean

demo: $(SETUP)
	$(BIN)/minimind run configs/demo.yaml

# Side by side: mypy keeps one core busy for a minute and a half, and the tests wait for servers half of their time.
test: $(SETUP)
	$(MAKE) --jobs 2 check run-tests

run-tests: $(SETUP)
	$(BIN)/python -m pytest --numprocesses auto --dist loadfile --no-loadscope-reorder

test-slow: $(SETUP)
	$(BIN)/python -m pytest -m slow --numprocesses auto --dist loadfile --no-loadscope-reorder

# On a machine with a CUDA device.
test-gpu: $(SETUP)
	$(BIN)/python -m pytest -m gpu

# Real servers, real kills; the table in docs/reliability.md is made anew.
test-system: $(SETUP)
	MINIMIND_WRITE_RELIABILITY=1 $(BIN)/python -m pytest -m system tests/system

# lm-eval on our models: it comes into .venv beside what the lock file pins, none of which changes.
test-harness: $(SETUP)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint requirements.lock \
		--no-build-isolation --editable '.[harness]'
	$(BIN)/python -m pytest -m harness tests/evaluation/test_evaluation_harness.py

# Dask and Ray: they come into .venv beside what the lock file pins, none of which changes.
test-runners: $(SETUP)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint requirements.lock \
		--no-build-isolation --editable '.[dask,ray]'
	$(BIN)/python -m pytest -m 'slow or not slow' tests/flows/test_parts.py

soak: $(SETUP)
	$(BIN)/python -m tests.system.soak --minutes $(or $(MINUTES),30) --seed $(or $(SEED),1)

check: $(SETUP)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(SETUP)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

up: $(SETUP)
	$(BIN)/minimind up

down: $(SETUP)
	$(BIN)/minimind down

$(SETUP): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Python 3.11 or newer is needed; name one with: make $(MAKECMDGOALS) PYTHON=python3.12"; exit 2; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	touch $(SETUP)

# One lock for every platform and Python from 3.11; CUDA packages stay out, see the head of the file.
lock: $(SETUP)
	$(BIN)/python -m pip install --quiet uv
	{ sed -n '/^#/p' requirements.lock; \
	  $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --no-annotate --no-header --extra dev \
	    pyproject.toml | grep -vE '^(nvidia-|cuda-|triton)'; } > .venv/requirements.lock
	mv .venv/requirements.lock requirements.lock

clean:
	rm -rf .venv build *.egg-info
