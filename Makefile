# `make demo` and `make test` do all set-up themselves; nothing but Python 3.11 or newer and make is needed.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
LSTM := .venv-lstm

.PHONY: demo test gpu lstm check format docs site bench campaign lock clean help

help:  ## list the targets
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/'

demo: $(READY)  ## watch the whole loop on this machine: make demo ARGS='--duration 90s'
	$(BIN)/sigmascale demo $(ARGS)

test: $(READY)  ## run the tests: make test ARGS='tests/test_engine.py -k bounds'
ifdef ARGS
	$(BIN)/python -m pytest $(ARGS)
else
	$(BIN)/python -m pytest -m alone
	$(BIN)/python -m pytest -m 'not alone and not gpu' -n 2
endif

gpu: $(READY)  ## on a machine with a GPU: does its driver do what we take for granted? Records it: make gpu OUT=h100.json
	$(BIN)/python -m tests.peers.nvml.record $(or $(OUT),gpu-driver.json)
	$(BIN)/python -m pytest tests/test_nvml_conformance.py -m gpu -rs

lstm: $(LSTM)/.ready  ## with torch in an environment of its own: train the LSTM on simulated fleets, and test it: make lstm OUT=weights.npz
	mkdir -p build
	$(LSTM)/bin/python -m autoscaler.forecasters.lstm_training --out $(or $(OUT),build/lstm_weights.npz)
	$(LSTM)/bin/python -m pytest tests/test_lstm.py tests/test_lstm_inputs.py tests/conformance/test_forecaster.py -k lstm -rs

check: $(READY)  ## format, lint, types, import layers, rule files
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/sigmascale check rules/
	$(BIN)/sigmascale test rules/

format: $(READY)  ## format and mend what can be mended
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

docs: $(READY)  ## write the reference pages, dashboards and their rules anew from the code
	$(BIN)/python -m autoscaler.cli.docs docs/
	$(BIN)/python -m autoscaler.dashboards dashboards/

site: $(READY)  ## the documentation as a site, in build/site
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict

bench: $(READY)  ## measure what we claim: make bench ARGS=parser
	$(BIN)/python -m benchmarks $(ARGS)

campaign: $(READY)  ## schedules of misfortune, 10,000 in simulation and 200 against each cloud's stand-in; hours
	$(BIN)/python -m tests.campaign $(ARGS)
	SIGMASCALE_AWS_SEEDS=200 $(BIN)/python -m pytest tests/test_aws_campaign.py -n 2
	SIGMASCALE_AZURE_SEEDS=200 $(BIN)/python -m pytest tests/test_azure_loop.py -k seed -n 2

lock: $(READY)  ## pin what is new in pyproject.toml and keep the other pins; all anew: make lock ARGS=--upgrade
	$(BIN)/uv pip compile pyproject.toml --extra dev --universal --python-version 3.11 --generate-hashes \
		--no-header --no-annotate --no-emit-index-url $(ARGS) -o requirements.lock
	echo uv | $(BIN)/uv pip compile - --universal --python-version 3.11 --generate-hashes \
		--no-header --no-annotate --no-emit-index-url $(ARGS) -o deploy/requirements-build.lock

clean:  ## remove what the targets made
	rm -rf $(VENV) $(LSTM) dist build .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis

# uv installs in seconds; where it cannot be had, plain pip does the same more slowly.
$(READY): pyproject.toml requirements.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "sigmascale needs Python 3.11 or newer; name one with: make PYTHON=/path/to/python3.11 ..." >&2; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@if $(BIN)/python -m pip install --quiet --disable-pip-version-check 'uv>=0.5' && \
		$(BIN)/uv pip install --quiet --python $(BIN)/python -r requirements.lock && \
		$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps -e .; then :; else \
		echo "uv is not available, installing with pip" >&2; \
		$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.lock && \
		$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps -e .; fi
	touch $(READY)

# Torch is large and only the LSTM needs it, so that the other tests run without it. A build for CPUs is enough.
$(LSTM)/.ready: pyproject.toml requirements.lock
	test -x $(LSTM)/bin/python || $(PYTHON) -m venv $(LSTM)
	$(LSTM)/bin/python -m pip install --quiet --disable-pip-version-check -r requirements.lock
	$(LSTM)/bin/python -m pip install --quiet --disable-pip-version-check -e '.[lstm]'
	touch $@
