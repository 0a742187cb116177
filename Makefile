# The two commands of the README are `make demo` and `make test`; `make help` lists the rest.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
CLIENTS := .clients/.installed

.PHONY: help setup clients demo test check lint format bench peers lock reference clean

help: ## List what there is to make
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 12

setup: $(STAMP) ## Make .venv and install everything that is locked

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade "pip>=25"
	$(BIN)/python -m pip install --quiet torch==2.13.0
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[dev]"
	@touch $@

clients: $(CLIENTS) ## Make the environments of older clients that the tests run

$(CLIENTS): $(STAMP) scripts/clients.py scripts/clients.toml
	$(BIN)/python scripts/clients.py
	@touch $@

demo: $(STAMP) ## Push a model, get an API: the whole way, on real models
	$(BIN)/python examples/demo.py

test: $(STAMP) $(CLIENTS) ## Run all tests
	$(BIN)/python -m pytest -n 2 tests/unit tests/shape
	$(BIN)/python -m pytest tests/contracts tests/dialects tests/journeys

check: lint ## What `lint` does, unit and shape tests (a minute or two)
	$(BIN)/python -m pytest -n 2 tests/unit tests/shape

lint: $(STAMP) ## Format, lint, types, imports
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(STAMP) ## Format the code and mend what ruff can mend
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(STAMP) ## Measure; results go to bench/results
	$(BIN)/python bench/run.py

peers: $(STAMP) ## Measure beside other servers: PEERS="infinity-torch …" LOADS="encoders …" QUICK=1
	$(BIN)/python bench/compare.py $(PEERS) $(if $(LOADS),--loads $(LOADS)) $(if $(QUICK),--quick)

reference: $(STAMP) ## Write docs/reference from the code
	$(BIN)/python scripts/reference.py

lock: $(STAMP) ## Write constraints.txt from what is installed
	$(BIN)/python -m pip freeze --exclude-editable --exclude torch | sed 's/+cpu//' > constraints.txt

clean: ## Remove what was made
	rm -rf $(VENV) .clients .demo .training
