# Every target does its own setup. PYTHON chooses the interpreter the environment is made from.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
export PYTHONDONTWRITEBYTECODE :=

.DEFAULT_GOAL := help
.PHONY: help setup jars classes demo test lint bench soak docs dist clean

help: ## Say what each target does
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

setup: $(VENV)/.done jars/lib/.done ## Make .venv (with profile-lake in it) and the jars folder

$(VENV)/.done: pyproject.toml constraints.txt
	@if command -v uv >/dev/null 2>&1; then \
	  uv venv -q --allow-existing --python $(PYTHON) $(VENV) && \
	  uv pip install -q -p $(BIN)/python -c constraints.txt -e '.[spark,dev]'; \
	else \
	  $(PYTHON) -m venv $(VENV) && \
	  $(BIN)/python -m pip install -q --disable-pip-version-check -c constraints.txt -e '.[spark,dev]'; \
	fi
	@touch $@

jars: jars/lib/.done

jars/lib/.done: $(VENV)/.done jars/pom.xml jars/fetch.py
	@$(BIN)/python jars/fetch.py
	@touch $@

classes: jars/lib/classes.jsa ## Archive Java's classes once, so that every session starts in half the time

jars/lib/classes.jsa: $(VENV)/.done jars/lib/.done jars/classes.py
	@$(BIN)/python jars/classes.py

demo: setup ## Three nights on generated sample data, in ./demo
	@$(BIN)/profile-lake demo --folder demo

test: setup classes ## Run the tests, a few files at a time
	@$(BIN)/python -m pytest -n auto --maxprocesses=4 --dist=loadfile

lint: setup ## ruff, mypy, import-linter
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-logo

bench: setup classes ## Measure ours beside its peers, in build/bench; SIZE=quick or SIZE=full
	@$(BIN)/python -m bench $(addprefix --,$(SIZE))

soak: setup classes ## The long tests, whole
	@SOAK=1 $(BIN)/python -m pytest -m soak

docs: setup ## Write the generated parts of README
	@$(BIN)/python -m tests.support.readme

dist: setup ## dist/lake.zip for spark-submit --py-files
	@$(BIN)/python -m bench.dist

clean: ## Remove what make made
	rm -rf $(VENV) jars/lib build dist demo
