# On a machine with Python 3.11 to 3.13 and make, `make bench` and `make test` do everything, each as the first command.
# GNU make 3.81, which macOS ships, must understand this file.

.DEFAULT_GOAL := help
.PHONY: help setup bench test gate lint docs cuda clean lock

BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
# The lock holds every transitive dependency, so nothing is resolved; what has no wheel is built with the locked setuptools.
INSTALL := $(PIP) install --no-deps --no-build-isolation

help: ## list what there is to make
	@sed -n 's/^\([a-z]*\):[^#]*## /\1: /p' $(MAKEFILE_LIST) | while IFS=: read -r name what; do printf '  make %-6s %s\n' "$$name" "$$what"; done
	@echo
	@echo '  ARGS="..."  is passed on: make bench ARGS="model=qwen3-0.6b context=8192", make test ARGS="-k gemv"'
	@echo '  PYTHON=...  sets .venv up with that Python: make test PYTHON=python3.12'

setup: .venv/.run ## set .venv up, and no more: what predicts measures nothing
	@echo '. .venv/bin/activate'

bench: .venv/.run ## measure the kernels of a decode step here and carry them to other machines
	@$(BIN)/roofcast bench $(ARGS)

# Two files at a time, and no more than four: what a file compiles it compiles once, and each process holds a JAX. Files begin
# in the order of tests/conftest.py, the long ones first.
test: .venv/.dev ## run the tests
	@$(BIN)/pytest --numprocesses=logical --maxprocesses=4 --dist=loadfile --no-loadscope-reorder $(ARGS)

# Against the newest release that HEAD comes after, else the main branch of the origin, else where this branch and main parted.
# Each side measures itself, so that what the harness adds to a time shows: a step of six
# layers takes some 10 ms, short enough to show a millisecond, long enough to be called directly and not in a compiled loop.
gate: .venv/.dev ## say whether kernels or the harness are slower than in the last release
	@base=$$(git describe --tags --abbrev=0 2>/dev/null || git rev-parse --verify --quiet --abbrev-ref origin/main || true); \
	$(BIN)/roofcast gate $${base:+base=$$base} harness=own also="'tests/benchmarks -k test_harness'" \
	  model=gpt2 model.layers=6 model.vocab=8192 context=1024 least=0.04 compile_pairs=0 budget_s=180 $(ARGS)

lint: .venv/.dev ## check formatting, style and types
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/pyright

docs: .venv/.docs ## build the documentation site in build/docs
	@$(BIN)/sphinx-build --quiet --fail-on-warning --keep-going --builder html docs build/docs $(ARGS)
	@echo "build/docs/index.html"

cuda: .venv/.run ## add JAX's CUDA 13 build to .venv
	@$(INSTALL) --require-hashes -r requirements/cuda.txt

clean: ## remove .venv, build outputs and caches; results/ stays
	@rm -rf .venv build docs/generated dist *.egg-info .pytest_cache .ruff_cache .hypothesis .benchmarks
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

# --- setting up: .venv/.python, .run, .dev and .docs each say that a stage is complete ---

# A pyenv shim is on the path even where its Python is not, so each candidate has to run.
CANDIDATES := $(or $(PYTHON),python3 python3.13 python3.12 python3.11)
USABLE := import ensurepip, sys, venv; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))
VERSION := import sys; print("%d.%d" % sys.version_info[:2])

ifdef PYTHON
ifneq ($(shell { $(PYTHON) -c '$(VERSION)'; } 2>/dev/null),$(shell cat .venv/.python 2>/dev/null))
.venv/.python: another-python
.PHONY: help setup bench test gate lint docs cuda clean lock
another-python:
endif
endif

.venv/.python:
	@for python in $(CANDIDATES); do \
	  if "$$python" -c '$(USABLE)' >/dev/null 2>&1; then \
	    echo "Setting up .venv with $$python: about 1.5 GB, a minute or so."; \
	    "$$python" -m venv --clear .venv && "$$python" -c '$(VERSION)' > $@; \
	    exit; \
	  fi; \
	done; \
	echo "PYTHON must be a Python 3.11, 3.12 or 3.13 with its venv module (Debian: apt install python3-venv); tried $(CANDIDATES)." >&2; \
	exit 1

.venv/.run: .venv/.python requirements/build.txt requirements/run.txt pyproject.toml setup.py
	@$(INSTALL) --require-hashes -r requirements/build.txt
	@$(INSTALL) --require-hashes -r requirements/run.txt
	@$(INSTALL) -e .
	@touch $@

.venv/.dev: .venv/.run requirements/dev.txt
	@$(INSTALL) --require-hashes -r requirements/dev.txt
	@touch $@

.venv/.docs: .venv/.run requirements/docs.txt
	@$(INSTALL) --require-hashes -r requirements/docs.txt
	@touch $@

# --- the lock ---

COMPILE := $(BIN)/uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes \
  --no-emit-index-url --no-annotate --custom-compile-command 'make lock'
listed = $(BIN)/python -c 'import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))$(1), sep="\n")'
EXTRAS := ["project"]["optional-dependencies"]

lock: .venv/.dev ## resolve requirements/*.txt anew from pyproject.toml
	@$(call listed,["build-system"]["requires"]) | $(COMPILE) - -o requirements/build.txt
	@$(COMPILE) pyproject.toml -o requirements/run.txt
	@$(call listed,$(EXTRAS)["dev"]) | $(COMPILE) - -c requirements/build.txt -c requirements/run.txt -o requirements/dev.txt
	@$(call listed,$(EXTRAS)["docs"]) | $(COMPILE) - -c requirements/run.txt -c requirements/dev.txt -o requirements/docs.txt
	@$(call listed,$(EXTRAS)["cuda"]) | $(COMPILE) - -c requirements/run.txt -o requirements/cuda.txt
