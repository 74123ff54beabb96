# make demo and make test set up everything they need in .venv; Python 3.11 or newer is all that must be there.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
SETUP := $(VENV)/.ready

.PHONY: demo test slow check lint types bare results docs picture machine-code

demo: $(SETUP)
	$(BIN)/python tools/demo.py

test: $(SETUP) lint types
	$(BIN)/python -m pytest -m "not slow"

slow: $(SETUP)
	$(BIN)/python -m pytest -m slow

check: test bare docs

lint: $(SETUP)
	$(BIN)/ruff check tersor tools tests examples
	$(BIN)/ruff format --check tersor tools tests examples

types: $(SETUP)
	$(BIN)/mypy
	$(BIN)/mypy --config-file tools/mypy.ini

docs: $(SETUP)  # the site, into build/site; any warning is an error
	$(BIN)/mkdocs build --strict

picture:  # of the rooms, from the imports, into docs/architecture.md
	$(PYTHON) tools/draw_rooms.py

machine-code: $(SETUP)  # of the loops, into tersor/machine_code: after a change of theirs, so that nothing waits for it
	$(BIN)/python tools/compile_loops.py

# The wheels alone, from another folder: tersor-core, which has no torch; tersor with the newest torch and numpy 2.
bare: $(SETUP)
	sh tools/test_bare.sh $(PYTHON) $(BIN)/python

results: $(SETUP)  # make results KODAK=folder FIELDS=folder SOUNDS=folder
	sh results/v0.1/make.sh $(KODAK) "$(REFERENCE)" $(BIN)/python "$(FIELDS)" $(SOUNDS)

$(SETUP): pyproject.toml constraints.txt  # compiles the loops, see hatch_build.py
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q -c constraints.txt -e '.[all]' build 'hatchling>=1.24'
	touch $(SETUP)
