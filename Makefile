# The course from a checkout. Needs Python 3.11 or newer and make; the rest goes into .venv.

SHELL := /bin/bash
.DEFAULT_GOAL := help
.PHONY: help lab edit quick test run check format execute bench bench-grading situations site site-check gpu pins clean

READY := .venv/.ready
NOTEBOOKS := $(wildcard notebooks/*.ipynb notebooks/exercises/*.ipynb)
# `make quick` leaves out the files that open sandboxes, kernels, clusters or wheels, or train whole
# studies, and single tests that start processes or compile. Any other new test is in it.
SLOW := box cli cluster course devices devices_lessons exercise_mutants explorers explorer_% grading_% guide lab layout nbgrader plans preflight room rosetta site slides wheel
QUICK := $(filter-out $(SLOW:%=tests/test_%.py), $(wildcard tests/test_*.py)) \
  -k "not another_process and not killed_process and not compiled_training and not newer_switches"
# Processes that `make test` shares its files out to: `make test WORKERS=8` where there are cores.
WORKERS ?= 2
NBVAL := --nbval-lax --nbval-current-env --nbval-sanitize-with=tests/nbval_sanitize.cfg

# Set up again when the checkout was moved or the Python underneath is gone.
ifneq ($(shell .venv/bin/python -c '' 2>/dev/null && cat $(READY) 2>/dev/null),$(CURDIR))
.PHONY: $(READY)
endif

help:  ## list the targets
	@awk -F ':.*## +' '/^[a-z]+:.*##/ {printf "  make %-13s %s\n", $$1, $$2}' Makefile

lab: $(READY)  ## open your copies of the lessons in JupyterLab
	@.venv/bin/coursekit lab || [ $$? -eq 130 ]

edit: $(READY)  ## open the lessons themselves, to change the course
	@.venv/bin/coursekit lab --edit || [ $$? -eq 130 ]

quick: $(READY)  ## while editing: engine, statistics, exercises on few seeds, in about a minute
	@COURSEKIT_EXERCISE_RUNS=5 COURSEKIT_STATIC=1 COURSEKIT_HOME="$(CURDIR)/build/home" OMP_NUM_THREADS=1 \
	  .venv/bin/python -m pytest -q -n 2 --dist worksteal $(QUICK)

test: $(READY) check  ## everything that CI runs: style, tests, all notebooks
	@# Processes of one thread each: more threads would only fight over the same cores.
	@COURSEKIT_STATIC=1 COURSEKIT_HOME="$(CURDIR)/build/home" OMP_NUM_THREADS=1 .venv/bin/python -m pytest -q -n $(WORKERS) --dist loadfile \
	  $(NBVAL) tests $(NOTEBOOKS)

run: $(READY)  ## execute all notebooks into build/
	@.venv/bin/coursekit run --out build

check: $(READY)  ## lint, and see whether the format is right
	@.venv/bin/ruff check
	@.venv/bin/ruff format --check

format: $(READY)  ## put code and notebooks into the format
	@.venv/bin/ruff check --fix
	@.venv/bin/ruff format

execute: $(READY)  ## refresh the stored outputs of all notebooks
	@.venv/bin/coursekit run --in-place

site: $(READY)  ## build the web edition from stored outputs into build/site, in about a minute
	@.venv/bin/python site/build.py --jobs 2

site-check: site  ## look at every page of the web edition in Chromium: access, widths, links, requests
	@COURSEKIT_PAGES="$(CURDIR)/build/site" COURSEKIT_STATIC=1 OMP_NUM_THREADS=1 .venv/bin/python -m pytest -q -n 2 --dist worksteal \
	  tests/test_site.py

situations: $(READY)  ## what graders and libraries have met in the world, and what became of it here
	@COURSEKIT_STATIC=1 COURSEKIT_HOME="$(CURDIR)/build/home" OMP_NUM_THREADS=1 .venv/bin/python tests/situations.py

gpu: $(READY)  ## on a machine with an NVIDIA GPU: doctor, device tests, benchmark, all lessons
	@.venv/bin/coursekit doctor
	@.venv/bin/python -m pytest -q tests/test_devices.py tests/test_engine.py
	@.venv/bin/python -m benchmarks.run --device cuda
	@.venv/bin/python -m benchmarks.shapes --device cuda
	@.venv/bin/coursekit run --out build/gpu

bench: build/bench/.ready  ## measure the speed of coursekit and its peers side by side, in 25 to 55 minutes
	@OMP_NUM_THREADS=2 build/bench/bin/python -m benchmarks.shapes
	@OMP_NUM_THREADS=2 build/bench/bin/python -m benchmarks.run

bench-grading: $(READY)  ## grade the same submissions with nbgrader and in the box, 5 minutes
	@OMP_NUM_THREADS=1 .venv/bin/python -m benchmarks.grading

build/bench/.ready: benchmarks/requirements.txt constraints.txt
	@mkdir -p build; $(FIND_PYTHON); $$found -m venv --clear build/bench
	@build/bench/bin/python -m pip install -qq --disable-pip-version-check -c constraints.txt \
	  -e . -r benchmarks/requirements.txt && touch $@

pins: build/pins/bin/python  ## write constraints.txt anew from the newest versions
	@build/pins/bin/python -m pip install -qq --upgrade --upgrade-strategy eager ".[dev]"
	@set -e -o pipefail; { grep '^#' constraints.txt; build/pins/bin/python -m pip freeze \
	  | grep -Ev '^(coursekit|nvidia-|cuda-|triton)' | sed 's/+[A-Za-z0-9.]*$$//'; } > build/pins.txt
	@mv build/pins.txt constraints.txt && git diff --stat constraints.txt

clean:  ## remove .venv and everything that was built
	rm -rf .venv build dist .pytest_cache .ruff_cache

# The newest Python is not always one that all dependencies know, so the oldest that will do wins.
define FIND_PYTHON
found=; for python in $(PYTHON) python3.11 python3.12 python3.13 python3 python; do \
  if $$python -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; \
  then found=$$python; break; fi; \
done; \
if [ -z "$$found" ]; then \
  echo "The course needs Python 3.11 or newer with its venv module; found: $$(python3 -V 2>&1)." >&2; \
  echo "Install it from python.org (Debian, Ubuntu: apt install python3-venv), or name one:" >&2; \
  echo "  make PYTHON=/path/to/python3.12" >&2; exit 1; \
fi
endef

# A set-up that was cut short leaves .unfinished behind, and begins from nothing the next time.
$(READY): pyproject.toml constraints.txt
	@$(FIND_PYTHON); \
	echo "Setting up .venv with $$($$found -V), about 2 minutes, once ..."; \
	set -e; clear=; \
	if [ -e .venv/.unfinished ] || [ -e $(READY) -a "$$(cat $(READY) 2>/dev/null)" != "$(CURDIR)" ] \
	  || ! .venv/bin/python -c '' 2>/dev/null; then clear=--clear; fi; \
	rm -f $(READY); mkdir -p .venv; touch .venv/.unfinished; \
	$$found -m venv $$clear .venv; touch .venv/.unfinished; \
	.venv/bin/python -m pip install -qq --disable-pip-version-check -c constraints.txt -e ".[dev]"; \
	rm .venv/.unfinished; echo "$(CURDIR)" > $(READY); echo "Done."

build/pins/bin/python:
	@mkdir -p build; $(FIND_PYTHON); $$found -m venv --clear build/pins
