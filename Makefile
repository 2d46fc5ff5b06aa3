# The commands of the project; `make help` lists them. README.md gives the same as plain Python.

VENV ?= .venv
PEERS ?= .venv-bench
SPHINX ?= .venv-sphinx
BIN := $(VENV)/bin
READY := $(VENV)/.ready
BOOK := $(BIN)/jupyter-book build . -n -W --keep-going
LOCK := requirements.lock
TESTS ?= tests
COMPARE ?= main
# The first interpreter that runs and is one of the supported versions; `make PYTHON=... env` overrides.
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11 python; do \
	$$p -c 'import sys, venv, ensurepip; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null \
	&& echo $$p && break; done)

.DEFAULT_GOAL := help
.PHONY: help env book check test test-full coverage lint lab lock bench dist sphinx-newest clean

help: ## list these commands
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sort | awk -F':.*## ' '{printf "make %-13s %s\n", $$1, $$2}'

env: $(READY) ## make the environment .venv from the lock file

$(READY): $(LOCK) pyproject.toml
	@test -n "$(PYTHON)" || { echo "popglm needs Python 3.11, 3.12 or 3.13 with venv; none was found. Say which: make PYTHON=/path/to/python env"; exit 1; }
	$(PYTHON) -m venv --clear $(VENV)
	$(BIN)/python -m pip install --quiet --require-hashes -r $(LOCK)
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

book: $(READY) ## execute the pages and build the book into _build/html
	$(BOOK)
	@echo "The book is ready: open _build/html/index.html"

test: $(READY) ## run every test: the package, the pages, the strict build (twice), the built site
	$(BIN)/python tests/run.py

check: lint ## lint and the fast laws, two minutes: before each commit
	$(BIN)/python tests/run.py fast

test-full: $(READY) ## every case and many killed runs, a record of many calls, and whether the tests notice when the code is wrong
	FULL=1 $(BIN)/python tests/run.py
	$(BIN)/python tests/record.py
	$(BIN)/python tests/faults.py

coverage: $(READY) ## which changed lines no test runs: all tests of the package, or make TESTS=tests/glm COMPARE=main coverage
	mkdir -p _build/coverage
	rm -f _build/coverage/*
	NPROC=1 OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 $(BIN)/python -m coverage run -m pytest -q -n 2 --ignore=tests/book $(TESTS)
	$(BIN)/python -m coverage combine --quiet
	$(BIN)/python -m coverage xml --quiet -o _build/coverage/lines.xml
	$(BIN)/diff-cover _build/coverage/lines.xml --compare-branch=$(COMPARE) --format markdown:_build/coverage/lines.md

lint: $(READY) ## check the code, the prose and the workflows
	$(BIN)/python tests/lint.py

lab: $(READY) ## open the pages as notebooks in JupyterLab
	$(BIN)/python book/lab.py

bench: $(READY) $(PEERS)/.ready ## measure popglm and its peers, for the pages that plot it (some hours, a quiet machine)
	$(BIN)/python benchmarks/run.py --peers $(PEERS)/bin/python
	$(BIN)/python benchmarks/builds.py
	$(BIN)/python benchmarks/scaling.py
	$(BIN)/python benchmarks/smooth.py
	$(BIN)/python benchmarks/calibration.py
	$(BIN)/python benchmarks/couplings.py
	$(BIN)/python benchmarks/comparison.py
	$(BIN)/python benchmarks/study.py --peers $(PEERS)/bin/python

$(PEERS)/.ready: benchmarks/requirements.lock
	$(PYTHON) -m venv --clear $(PEERS)
	$(PEERS)/bin/python -m pip install --quiet --require-hashes -r benchmarks/requirements.lock
	@touch $@

lock: ## renew the lock file (needs uv): one set of versions for Python 3.11 to 3.13
	uv pip compile --quiet --universal --python-version 3.11 --fork-strategy fewest --generate-hashes \
		--no-emit-index-url --no-emit-find-links --no-header --no-annotate \
		--extra notebooks --extra book --extra test --extra lint pyproject.toml --output-file $(LOCK)
	uv pip compile --quiet --universal --python-version 3.12 --fork-strategy fewest --generate-hashes \
		--no-emit-index-url --no-emit-find-links --no-header --no-annotate \
		benchmarks/requirements.in --output-file benchmarks/requirements.lock

dist: $(READY) ## build the wheel and the source archive into dist, and test the wheel in an environment of its own
	$(BIN)/python tests/release.py $(if $(TAG),--tag $(TAG))

sphinx-newest: ## build the book with the newest Sphinx, theme and MyST-NB instead of Jupyter Book, into _build/sphinx-newest
	$(PYTHON) -m venv --clear $(SPHINX)
	$(SPHINX)/bin/python -m pip install --quiet --upgrade -r tests/newest/requirements.txt ".[notebooks]"
	$(SPHINX)/bin/python -m pip list | grep -iE '^(sphinx|myst|docutils|pydata)'
	$(SPHINX)/bin/sphinx-build -b html -n -W --keep-going -c tests/newest . _build/sphinx-newest

clean: ## remove the environment and everything that was built
	rm -rf $(VENV) $(PEERS) $(SPHINX) benchmarks/.cache _build dist .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
