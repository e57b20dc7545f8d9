# make demo   the main job on a small simulated set (under 3 minutes once installed)
# make test   all tests        make lint   style and types        make venv   installation only
PYTHON ?= python3
VENV   ?= .venv
BIN     = $(VENV)/bin
READY   = $(VENV)/.ready
DEMO   ?= demo

# With two cores, more threads only get in each other's way.
export OMP_NUM_THREADS      ?= 2
export OPENBLAS_NUM_THREADS ?= 2

.PHONY: demo test lint venv clean

venv: $(READY)

# Made again only when the list of requirements changes; the package itself is linked, not copied.
$(READY): setup.py
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable ".[test]"
	touch $@

demo: $(READY)
	rm -rf $(DEMO)
	$(BIN)/pcainit simulate $(DEMO)/particles
	$(BIN)/pcainit run $(DEMO)/particles/particles.star -o $(DEMO)/result
	@echo
	@echo "Volumes:"
	@ls $(DEMO)/result/volumes/*.mrc
	@echo "Report: $(DEMO)/result/report.html"

test: $(READY)
	$(BIN)/python -m pytest

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/mypy

clean:
	rm -rf $(VENV) $(DEMO) build dist *.egg-info
