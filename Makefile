# perpflow: the two commands are `make run` and `make test`; each does its own set-up.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PEERS := .venv-peers
DATE ?= $(shell date -u +%F)
# Test processes side by side; `make test WORKERS=0` runs everything in one.
WORKERS ?= 2

.PHONY: run test setup setup-dev check lock clean peers fidelity

run: setup
	@$(BIN)/perpflow run $(ARGS)

test: setup-dev check
	@# A file stays in one process, so what its tests share is made once; in file order, the longest are not last.
	$(BIN)/python -m pytest -q -n $(WORKERS) --dist loadfile --no-loadscope-reorder $(ARGS)

check: setup-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# A stamp per lock file: set-up runs again only when what is pinned has changed.
setup: $(VENV)/.run-ready
setup-dev: $(VENV)/.dev-ready

$(VENV)/.python:
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "perpflow needs Python 3.11 or newer, found " + sys.version.split()[0])'
	@echo "Setting up $(VENV): about a minute, once" >&2
	@$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/.run-ready: $(VENV)/.python requirements/run.lock pyproject.toml
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/run.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

$(VENV)/.dev-ready: $(VENV)/.run-ready requirements/dev.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.lock
	@touch $@

# Other back-testers live apart: what they pin never meets what we pin, and no test needs them.
peers: $(PEERS)/.ready

$(PEERS)/.ready: requirements/peers.lock
	@echo "Setting up $(PEERS): one to two minutes, once" >&2
	@$(PYTHON) -m venv $(PEERS)
	@$(PEERS)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/peers.lock
	@touch $@

# Every figure of docs/fidelity.md, measured anew; needs the recorded data in ../shared.
fidelity: setup-dev peers
	$(BIN)/python -m tests.fidelity --date $(DATE) $(ARGS)

# Names, versions and hashes only: a lock that names an address is refused by the tests.
lock:
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header pyproject.toml -o requirements/run.lock
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --extra dev -c requirements/run.lock pyproject.toml -o requirements/dev.lock
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header requirements/peers.in -o requirements/peers.lock

clean:
	rm -rf $(VENV) $(PEERS) build *.egg-info .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
