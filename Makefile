# make demo and make test do all the set-up on a fresh machine: a virtual environment in .venv,
# the installation with pip, then the work.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: demo test fast bench bench-gpu lint clean

demo: $(STAMP)
	$(BIN)/avbench run quickstart

# Two processes, a file of tests in one of them, each with one thread: they would else wait for
# each other's.
test: $(STAMP) lint
	OMP_NUM_THREADS=1 $(BIN)/pytest --numprocesses 2 --dist loadfile

fast: $(STAMP)
	$(BIN)/pytest -m "not slow and not java"

# Without the type checks of the tests, which would be timed too. The peers are an extra;
# torchcodec brings no FFmpeg and is lent PyAV's.
bench: $(STAMP)
	$(BIN)/python -m pip install --quiet --editable '.[dev,bench]'
	LD_LIBRARY_PATH="$$($(BIN)/python tests/benchmarks/ffmpeg_links.py $(VENV)/ffmpeg)" \
	    $(BIN)/pytest tests/benchmarks -o addopts=--import-mode=importlib --benchmark-only \
	    --benchmark-columns=min,median,rounds --bench-report results

# Needs a CUDA device; prints peak memory and steps per second.
bench-gpu: $(STAMP)
	$(BIN)/python -m pip install --quiet --editable '.[dev,xformers]'
	$(BIN)/pytest tests/test_gpu.py -o addopts=--import-mode=importlib -m gpu -s

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/codespell

$(STAMP): pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	touch $@

clean:
	rm -rf $(VENV) *.egg-info .pytest_cache .mypy_cache .ruff_cache
