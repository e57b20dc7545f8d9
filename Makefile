# make demo   the main job on a small simulated set (under 3 minutes once installed)
# make test   all tests        make lint   style and types        make venv   installation only
# make docs   the documentation as a site, warnings as errors      make pages  pages made from code
# make test-oldest   on Python 3.8 and the oldest versions that are supported, inside Scipion
# make test-newest   on the newest Python and versions, which Scipion does not take yet
PYTHON ?= python3
VENV   ?= .venv
BIN     = $(VENV)/bin
READY   = $(VENV)/.ready
DEMO   ?= demo
WORKERS ?= 2
# Each worker takes whole files, and has one thread for what it computes.
PYTEST  = -m pytest --numprocesses $(WORKERS) --dist loadfile

# With two cores, more threads only get in each other's way.
export OMP_NUM_THREADS      ?= 2
export OPENBLAS_NUM_THREADS ?= 2

test test-oldest test-newest: export OMP_NUM_THREADS = 1
test test-oldest test-newest: export OPENBLAS_NUM_THREADS = 1

.PHONY: demo test test-oldest test-newest lint docs pages venv clean

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
	@$(BIN)/python --version
	$(BIN)/python $(PYTEST)

# Two further environments, where there is such a Python; else it is said and nothing is done.
# What libraries of other versions warn of is listed there, and is no error.
OTHERS := $(PYTEST) -q -o filterwarnings=ignore::DeprecationWarning
OLDEST := $(shell .ci/find-python 3.8)
NEWEST := $(shell .ci/find-python 3.14 || .ci/find-python 3.13)
PIP     = -m pip install --quiet --disable-pip-version-check

test-oldest:
ifeq ($(OLDEST),)
	@echo "No Python 3.8 here: the oldest versions are not tested."
else
	@$(OLDEST) --version
	test -d $(VENV)-oldest || $(OLDEST) -m venv $(VENV)-oldest
	$(VENV)-oldest/bin/python $(PIP) --constraint .ci/oldest.txt --editable ".[test]"
	$(VENV)-oldest/bin/python $(OTHERS) -m "not display and not relion"
endif

test-newest:
ifeq ($(NEWEST),)
	@echo "No Python 3.13 or newer here: the newest versions are not tested."
else
	@$(NEWEST) --version
	test -d $(VENV)-newest || $(NEWEST) -m venv $(VENV)-newest
	$(VENV)-newest/bin/python $(PIP) --upgrade --upgrade-strategy eager --editable . \
		pytest pytest-xdist hypothesis setuptools
	$(VENV)-newest/bin/python $(OTHERS) -m "not scipion and not display and not relion"
endif

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check --quiet .
	$(BIN)/lint-imports --no-cache
	$(BIN)/mypy

pages: $(READY)
	$(BIN)/python docs/site/pages.py

# Its tools are installed with the first site.
docs: $(READY)
	test -x $(BIN)/sphinx-build || $(BIN)/python $(PIP) --editable ".[docs]"
	$(BIN)/python docs/site/pages.py --check
	$(BIN)/sphinx-build -q -n -W --keep-going -c docs/site . build/site
	@echo "Site: build/site/docs/index.html"

clean:
	rm -rf $(VENV) $(VENV)-oldest $(VENV)-newest $(DEMO) build dist *.egg-info
