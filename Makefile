# The two commands of the README. `make help` lists all of them.
PYTHON ?= python3
VENV ?= .venv
# The demo gets an environment of its own: it proves that the core runs without torch and mediapipe.
DEMO_VENV ?= .venv-demo
# LiveKit Agents and Pipecat can't live in the development environment: they want other versions of what it pins.
ADAPTERS_VENV ?= .venv-adapters
SERVE_VENV ?= .venv-serve
# `make serve SERVE='--port 9000 my-avatar'`
SERVE ?=
BIN = $(VENV)/bin
CONSTRAINTS = constraints.txt
# What `make sanitize` runs: files or folders of tests that call kernels.
KERNEL_TESTS = tests/ops
# A process each core; tests of one file share what they prepare.
PARALLEL ?= -n auto --dist loadfile
# Debian 13: Python 3.13.
SUITE ?= trixie
FUZZ ?= --seconds 60
FUZZ_MEDIA ?= --files 2000
SOURCES = pyproject.toml CMakeLists.txt $(CONSTRAINTS) $(shell find csrc src -type f -not -name '*.pyc' -not -path '*/__pycache__/*')

.PHONY: help demo serve test quick check adapters other-python sanitize fuzz fuzz-media clean

help: ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/'

demo: $(DEMO_VENV)/.installed ## build and install the core, write demo.mp4 from the bundled avatar
	$(DEMO_VENV)/bin/geneface demo -o demo.mp4

serve: $(SERVE_VENV)/.installed ## build and install with the extra [web], open the page and the API on this machine
	$(SERVE_VENV)/bin/geneface serve $(SERVE)

test: check ## install the development extras; ruff, pyright, pytest
	$(BIN)/python -m pytest $(PARALLEL)

quick: $(VENV)/.installed ## ruff, and the tests that are not marked slow, in less than 90 s
	$(BIN)/ruff check .
	$(BIN)/python -m pytest $(PARALLEL) -m "not slow"

check: $(VENV)/.installed ## ruff, pyright and clang-format only
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/clang-format --dry-run -Werror csrc/*
	$(BIN)/pyright --pythonpath $(BIN)/python

adapters: $(ADAPTERS_VENV)/.installed ## the adapters against the real packages of LiveKit Agents and Pipecat (Python 3.11 to 3.13)
	$(ADAPTERS_VENV)/bin/python -m pytest tests/adapters/test_livekit.py tests/adapters/test_pipecat.py

other-python: ## core, demo and suite on the Python of another Debian: SUITE=sid VIDEO=... CONSENT=...; as root, needs debootstrap
	$(PYTHON) tests/other_python/run.py --suite $(SUITE) $(if $(VIDEO),--video $(VIDEO) --consent '$(CONSENT)') $(if $(WHEEL),--wheel $(WHEEL)) \
		$(if $(TESTS),--tests '$(TESTS)')

sanitize: $(VENV)/.installed ## the kernels' tests with checks of memory, undefined behaviour, and races between threads
	$(BIN)/python tests/sanitize/run.py address,undefined -m pytest --capture=sys $(KERNEL_TESTS)
	$(BIN)/python tests/sanitize/run.py thread -m pytest --capture=sys $(KERNEL_TESTS)

fuzz: $(VENV)/.installed ## random calls of the kernels with the same checks; FUZZ='--seconds 600 --seed 1' (or --help)
	$(BIN)/python tests/sanitize/run.py address,undefined -m fuzz $(FUZZ)

fuzz-media: $(VENV)/.installed ## spoilt media, tables and avatars; FUZZ_MEDIA='--files 2000 --seed 1 FOLDER...' (or --help)
	cd tests && ../$(BIN)/python -m fuzz.media $(FUZZ_MEDIA)

$(DEMO_VENV)/.installed: $(SOURCES)
	$(PYTHON) -m venv $(DEMO_VENV)
	$(DEMO_VENV)/bin/python -m pip install --quiet --disable-pip-version-check -c $(CONSTRAINTS) .
	@touch $@

$(SERVE_VENV)/.installed: $(SOURCES)
	$(PYTHON) -m venv $(SERVE_VENV)
	$(SERVE_VENV)/bin/python -m pip install --quiet --disable-pip-version-check -c $(CONSTRAINTS) '.[web]'
	@touch $@

$(VENV)/.installed: $(SOURCES)
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c $(CONSTRAINTS) '.[dev]'
	@touch $@

$(ADAPTERS_VENV)/.installed: $(SOURCES) constraints-adapters.txt
	$(PYTHON) -m venv $(ADAPTERS_VENV)
	$(ADAPTERS_VENV)/bin/python -m pip install --quiet --disable-pip-version-check -r constraints-adapters.txt
	$(ADAPTERS_VENV)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps .
	@touch $@

clean: ## remove what make made
	rm -rf $(VENV) $(DEMO_VENV) $(SERVE_VENV) $(ADAPTERS_VENV) build dist demo.mp4
