# Callquake: `make demo` shows it, `make test` proves it. Works from any path and when repeated.
SHELL := /bin/sh
.DEFAULT_GOAL := help
PYTHON ?= python3
# real: a small language model (Gemma 3 270M, under the Gemma Terms of Use); scripted: canned replies, nothing fetched for it.
LLM ?= real
VENV := .venv
RUN := $(VENV)/bin/python
PIP := $(RUN) -m pip --disable-pip-version-check install --quiet
say = @printf '==> %s\n'

.PHONY: help demo up test test-fast test-peers pipecat soak bench lint format models corpus clean

help: ## this list
	@printf 'callquake\n\n'
	@grep -hE '^[a-z-]+:.*##' Makefile | sed -E 's/^([a-z-]+):.*## /  make \1\t/' | expand -t 20
	@printf '\n  PYTHON=python3.12 make demo     another interpreter (3.11 or newer)\n  LLM=scripted make demo          without the small language model\n'

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "callquake needs Python 3.11 or newer; $(PYTHON) is $$($(PYTHON) --version 2>&1). Try: PYTHON=python3.12 make ..." >&2; exit 2; }
	$(say) 'creating the environment in $(VENV)'
	@$(PYTHON) -m venv $(VENV) || \
	  { rm -rf $(VENV); echo "'$(PYTHON) -m venv' failed; on Debian and Ubuntu: apt-get install python3-venv" >&2; exit 2; }

$(VENV)/.cpu: pyproject.toml | $(VENV)/bin/python
	$(say) 'installing callquake and its CPU target stack (about a minute once downloaded)'
	@$(PIP) -e '.[cpu]'
	@touch $@

$(VENV)/.test: pyproject.toml | $(VENV)/bin/python
	$(say) 'installing callquake and what its tests need'
	@$(PIP) -e '.[test]'
	@touch $@ $(VENV)/.cpu

demo: $(VENV)/.cpu ## five callers talk to the bundled agent; prints the verdict and the report's path
	@$(RUN) -m harness.cli demo --llm $(LLM) || { code=$$?; case $$code in \
	  97|98|99) echo "==> the demo ran; 'callquake demo' itself leaves with its verdict's code, $$code (docs/exit-codes.md)";; \
	  *) exit $$code;; esac; }

up: $(VENV)/.cpu ## start the bundled agent on http://127.0.0.1:8080 and keep it running
	@$(RUN) -m harness.cli up --profile cpu --llm $(LLM)

test: $(VENV)/.test ## the whole test suite (installs apt packages too, when root)
	@sh .ci/apt-packages
	@$(RUN) -m harness.cli models fetch
	$(say) 'compiling the media loop (once, half a minute)'
	@$(RUN) -m harness.media
	@$(RUN) -m harness.callers.plain
	$(say) 'running the tests of rules, on every core'
	@$(RUN) -m pytest -m unit -n auto --hypothesis-profile=same
	$(say) 'running the tests over loopback, two files at a time'
	@$(RUN) -m pytest -m loopback -n 2 --dist loadfile --hypothesis-profile=same
	$(say) 'running the product from end to end'
	@$(RUN) -m pytest -m 'not unit and not loopback' --hypothesis-profile=same

test-fast: $(VENV)/.test ## only the tests without sockets and models
	@$(RUN) -m pytest -m unit

test-peers: $(VENV)/.test ## callers and agent against foreign software; installs it (docs/ci.md): apt as root, Pipecat (1 GB)
	@$(RUN) -m harness.cli models fetch
	@$(RUN) -m pytest --peers -m peer

pipecat: $(VENV)/.test ## start a Pipecat agent to load-test on http://127.0.0.1:7860 (docs/pipecat.md)
	@$(RUN) -m harness.cli models fetch
	@PYTHONPATH=.:tests/end_to_end $(RUN) tests/peers/pipecat_local.py --llm $(LLM)

soak: $(VENV)/.test ## the long tests too
	@$(RUN) -m pytest --soak

bench: $(VENV)/.test ## callers per core, memory and timing beside Pion, aiortc and SIPp (20 minutes; see docs/benchmarks.md)
	@sh benchmarks/run_all $(RUN)

lint: $(VENV)/.test ## ruff and mypy, as the suite runs them
	@$(RUN) -m ruff check .
	@$(RUN) -m ruff format --check .
	@$(RUN) -m mypy

format: $(VENV)/.test ## let ruff put the code in order
	@$(RUN) -m ruff check --fix .
	@$(RUN) -m ruff format .

models: $(VENV)/.cpu ## fetch and check the models
	@$(RUN) -m harness.cli models fetch

corpus: $(VENV)/.test ## check the shipped audio against its manifest
	@$(RUN) -m harness.corpus check

clean: ## remove the environment and caches (reports and models stay)
	@rm -rf $(VENV) build .mypy_cache .ruff_cache .pytest_cache *.egg-info
