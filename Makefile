# Everything rests on `.venv`, which `make setup` makes from uv.lock with nothing but a Python.
PYTHON ?= python3
BIN := .venv/bin
# More arguments for pytest: make test ARGS="-k journal -x"
ARGS ?=
# Processes that run tests beside each other. In one, so that it can ask and print: make test ARGS="-n0 -s --pdb -k journal"
WORKERS ?= 2
PYTEST := $(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-images contract lint format bench chaos bench-queue bench-jail docs docs-record

help: ## List the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1\t\2/p' $(MAKEFILE_LIST) | while IFS="$$(printf '\t')" read -r name text; do \
		printf '  make %-12s %s\n' "$$name" "$$text"; done

setup: ## Make .venv from the lock; does nothing when nothing changed
	@$(PYTHON) tools/setup.py

demo: setup ## Run the 6-step integration against stand-ins, and show it; ARGS=--keep leaves it up
	@$(BIN)/python -m examples.orders.demo $(ARGS)

test: setup ## Run every test
	$(PYTEST) $(ARGS)

test-images: setup ## Build the project's image and run it as Fargate would, as root; installs Debian's podman and buildah
	@$(BIN)/python -m tools.images $(ARGS)

contract: setup ## Run the contract suites of every implementation, and the broken fakes that they must catch
	$(PYTEST) -m contract $(ARGS)

lint: setup ## Check style, types, layers and the length of modules
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy conftest.py core plugins tests tools examples benchmarks
	$(BIN)/lint-imports
	$(BIN)/python tools/check_sizes.py

format: setup ## Put the code into its form
	$(BIN)/ruff check --fix --quiet .
	$(BIN)/ruff format .

bench: setup ## Measure the standard workloads against the inline-Node floor, e.g. ARGS="--only w1 --quick"
	@$(BIN)/python -m benchmarks.bench $(ARGS)

bench-queue: setup ## Measure the queue against SAQ and Celery on the same Redis, e.g. ARGS=--quick
	@$(BIN)/python -m benchmarks.queues.w5 $(ARGS)

bench-jail: setup ## Measure the jails' speed against bare Node and the process sandbox, as root, e.g. ARGS=--quick
	@$(BIN)/python -m benchmarks.jails.bench $(ARGS)

chaos: setup ## Kill and break everything under load, then check what happened, e.g. ARGS="--executions 500 --only zombie"
	@$(BIN)/python -m tests.chaos $(ARGS)

docs: setup ## Write the reference anew from the code
	@$(BIN)/python -m tools.generate_reference
	@$(BIN)/python -m tools.generate_attacks

docs-record: setup ## Run the pages in ARGS and write there what their commands print
	@$(BIN)/python -m tools.pages $(ARGS)
