# Two commands do all the set-up on a fresh machine: `make demo` and `make test`.
SHELL := /bin/sh
PYTHON := .venv/bin/python
REPOSITORY ?= file
LOG_SYSTEM ?= local

.PHONY: demo test lint unit clean

# Real servers are installed only where a demo needs one: make demo REPOSITORY=s3
NEEDS_SERVER = $(filter-out file,$(REPOSITORY))

demo: .venv/installed $(if $(NEEDS_SERVER),.servers/installed)  ## the agent with all stand-ins
	$(PYTHON) -m fixtures.demo --repository $(REPOSITORY) --log-system $(LOG_SYSTEM)

test: .venv/installed .servers/installed lint  ## format, lint, types, layers, all tests
	$(PYTHON) -m pytest -n 4 --dist loadfile --no-loadscope-reorder --max-worker-restart 0

unit: .venv/installed  ## the tests that need no server: seconds
	$(PYTHON) -m pytest tests/unit

lint: .venv/installed
	.venv/bin/ruff format --check .
	.venv/bin/ruff check .
	.venv/bin/mypy
	.venv/bin/lint-imports

.venv/installed: pyproject.toml constraints.txt scripts/install-python
	scripts/install-python

.servers/installed: scripts/install-servers fixtures/servers/requirements-seaweedfs.txt fixtures/servers/requirements-gcs.txt fixtures/servers/package.json
	scripts/install-servers

clean:
	rm -rf .venv .servers .demo
