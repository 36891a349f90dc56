# One command per wish. `make` lists them.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check -q install -c constraints.txt
UI := ui/components/melodeon_ui
PROMPT ?= dreamy synthwave about driving home at midnight

.DEFAULT_GOAL := help
.PHONY: help install install-models install-dev run song test test-long lint types audit fmt bench components

help: ## list the commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-15s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(VENV)/.made: ; $(PYTHON) -m venv $(VENV) && touch $@

$(VENV)/.installed: $(VENV)/.made pyproject.toml constraints.txt $(UI)/pyproject.toml
	$(PIP) -e $(UI) -e .
	touch $@

$(VENV)/.installed-models: $(VENV)/.installed
	$(PIP) -e '.[models]'
	touch $@

$(VENV)/.installed-dev: $(VENV)/.installed-models
	$(PIP) -e '.[dev]'
	touch $@

install: $(VENV)/.installed ## make the environment and install what running needs
install-models: $(VENV)/.installed-models ## and the libraries that neural models need
install-dev: $(VENV)/.installed-dev ## and what testing and developing need

run: install ## start Melodeon and print its address; Ctrl-C stops it
	$(BIN)/melodeon up

song: install ## make a sample song from the command line into songs/
	$(BIN)/melodeon song "$(PROMPT)" --duration 30 --out songs

test: install-dev ## all tests but the long ones (needs Chromium; see .ci/run)
	$(BIN)/python -m pytest -m "not long and not stack" -n 2 --dist loadfile
	$(BIN)/python -m pytest -m "stack and not long" -n 2 --dist loadgroup

test-long: install-dev ## the long checks as well: soaks, full-size models of the ledger and the queue
	$(BIN)/python -m pytest -m long $(ARGS)

lint: install-dev ## style and architecture
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports --no-cache

types: install-dev ## types, strictly
	$(BIN)/mypy

audit: install-dev ## known holes, careless code, secrets; ADVISORIES=a checkout of PyPA's advisory database
	$(BIN)/python tools/audit.py $(if $(ADVISORIES),--advisories $(ADVISORIES))

fmt: install-dev ## put the code into shape
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: install-dev ## every published figure, quickly; `make bench ARGS=` for the full run
	@for script in $$(grep -l '^if __name__ == "__main__"' bench/*.py | grep -v bare_serve); do $(BIN)/python $$script $(if $(filter undefined,$(origin ARGS)),--quick,$(ARGS)) || exit 1; done

components: ## build the browser components (needs Node.js 20)
	cd $(UI)/frontend && npm ci --no-audit --no-fund && npm run build
