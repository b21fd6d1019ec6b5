# Everything here sets itself up: a virtual environment in .venv, built once and rebuilt when pyproject.toml changes.
# PYTHON chooses the interpreter (3.10 to 3.13); CT and POINT give `make demo` a scan of your own.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/$(if $(filter Windows_NT,$(OS)),Scripts,bin)
READY := $(VENV)/ready
OUTPUT ?= demo-output

.PHONY: demo test lint fuzz bench clean

demo: $(READY)
	$(BIN)/cliplung demo --output "$(OUTPUT)" $(if $(CT),--ct "$(CT)") $(if $(POINT),--point $(POINT))

test: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/codespell
	$(BIN)/mypy
	$(BIN)/mypy --ignore-missing-imports --follow-imports=silent --allow-subclassing-any --no-warn-return-any CLIPLung/CLIPLung.py CLIPLung/CLIPLungGUI
	$(BIN)/python -m pytest --numprocesses logical --maxprocesses 8 --dist loadfile

fuzz: $(READY)
	$(BIN)/python Testing/fuzz/run_fuzz.py --inputs 200000 --seed 1
	$(BIN)/python -m pytest Testing/properties --hypothesis-profile=deep

bench: $(READY)
	$(BIN)/python Testing/Benchmarks/run.py $(if $(SERIES),--series "$(SERIES)")

lint: $(READY)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

$(READY): pyproject.toml Testing/constraints.txt
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(0 if (3, 10) <= v <= (3, 13) else \
	"CLIPLung needs Python 3.10 to 3.13; this is %d.%d. Try: make $(MAKECMDGOALS) PYTHON=python3.12" % v)'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade "pip>=24" setuptools
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c Testing/constraints.txt -e ".[report,cluster,slicer,train,dev]"
	@touch $(READY)

clean:
	rm -rf $(VENV) demo-output bench-output .pytest_cache .ruff_cache .mypy_cache *.egg-info
