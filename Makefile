# Two commands for everyone: `make demo` and `make test`; each sets up what it needs, once.

VENV ?= .venv
# Tools of the project's environment where there is one, else those of the active environment.
RUN = $(if $(wildcard $(VENV)/bin/python),$(VENV)/bin/)
# The matrices of the tests are small: a second BLAS thread only gets in the way of a second test.
SINGLE_THREADED = OPENBLAS_NUM_THREADS=1 OMP_NUM_THREADS=1

.PHONY: help demo test check slow mutants bench clean

help:
	@echo 'make demo    install, run the quick published experiments, train a network on digits and explain it'
	@echo 'make test    install and run every check'
	@echo 'make check   every check, in the environment as it is (for developers)'
	@echo 'make slow    the tests of the long experiments (minutes)'
	@echo 'make mutants plant faults, one at a time, and see that the tests notice (minutes)'
	@echo 'make bench   measure beside the peers, in an environment of its own (45 minutes)'
	@echo 'make clean   remove environments, caches and builds; output/ and runs/ stay'

demo: $(VENV)/.installed-all
	$(VENV)/bin/chainrule reproduce --quick
	$(VENV)/bin/chainrule train digits --output output/digits

test: $(VENV)/.installed-dev
	@$(MAKE) --no-print-directory check

check:
	$(RUN)ruff format --check .
	$(RUN)ruff check .
	$(RUN)mypy
	$(SINGLE_THREADED) $(RUN)python -m pytest -q -n auto

# BENCH holds options, as in make bench BENCH='--only e10 --peers numpy,jax'.
slow:
	$(SINGLE_THREADED) $(RUN)python -m pytest -q -m slow

# MUTANTS holds words of a file or a text, as in make mutants MUTANTS='reduce.py'.
mutants:
	$(RUN)python tests/mutants.py $(MUTANTS)

bench: .venv-bench/.installed-peers
	.venv-bench/bin/python benchmarks/run.py $(BENCH)

clean:
	rm -rf .venv .venv-* build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis .benchmarks .coverage
	find src tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +

# The stamps: a folder's environment is made once, and installed into again when pyproject changes.

%/bin/python:
	@for python in python3.11 python3 python3.12 python3.13 python3.14; do \
		if $$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
			echo "$$python -m venv $*"; exec $$python -m venv $*; \
		fi; \
	done; echo 'chainrule needs Python 3.11 or newer: install one and run make again' >&2; exit 1

%/.installed-all: pyproject.toml | %/bin/python
	$*/bin/python -m pip install --quiet --editable '.[all]'
	@touch $@

%/.installed-dev: pyproject.toml | %/bin/python
	$*/bin/python -m pip install --quiet --editable '.[dev]'
	@touch $@ $*/.installed-all

%/.installed-peers: pyproject.toml benchmarks/requirements.txt | %/bin/python
	$*/bin/python -m pip install --quiet --editable '.[all]' --requirement benchmarks/requirements.txt
	@touch $@

# A stamp's environment is not a temporary file of make's.
.PRECIOUS: %/bin/python %/.installed-all %/.installed-dev %/.installed-peers
