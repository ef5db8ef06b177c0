# make demo and make test do all the set-up on a fresh machine: a virtual environment in .venv,
# the installation with pip, then the work.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
FAST := "not slow and not java"
# Two processes, each with one thread: they would else wait for each other's. Whoever is done
# takes tests of the other's, so that neither waits for a long file.
SHARED := --numprocesses 2 --dist worksteal
UPGRADE :=
SOAK := 600
SECONDS := 600

WITHOUT_BOUNDS = import re, tomllib; \
    project = tomllib.load(open("pyproject.toml", "rb"))["project"]; \
    print(*(re.split("[<>=]", each)[0] for each in project["dependencies"]), sep="\n")

.PHONY: demo smoke test fast soak fuzz canary lowest lock bench bench-gpu report-check lint clean

demo: $(STAMP)
	$(BIN)/avbench run quickstart

# Every kind of stage, in about two minutes.
smoke: $(STAMP)
	$(BIN)/avbench run smoke

test: $(STAMP) lint
	OMP_NUM_THREADS=1 $(BIN)/pytest $(SHARED)

fast: $(STAMP)
	OMP_NUM_THREADS=1 $(BIN)/pytest -m $(FAST) $(SHARED)

# LaTeX compiles the tables, Chromium opens the HTML report; skipped where they are not installed.
report-check: $(STAMP)
	OMP_NUM_THREADS=1 $(BIN)/pytest -m report $(SHARED)

# Kills runners and stages at random for ten minutes; `make test` does so for seconds.
soak: $(STAMP)
	AVBENCH_SOAK_SECONDS=$(SOAK) OMP_NUM_THREADS=1 $(BIN)/pytest tests/runner/test_soak.py -n0

# Mutates the files of all parsers, guided by coverage; `make test` does so for seconds.
fuzz: $(STAMP)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev,fuzz]'
	OMP_NUM_THREADS=1 $(BIN)/python -m tests.fuzz.fuzz --seconds $(SECONDS)

# Tomorrow's fresh machine: the newest release of everything, beyond the tested ranges.
canary: $(STAMP)
	$(BIN)/uv venv --quiet --clear --python $(BIN)/python .venv-canary
	$(BIN)/python -c '$(WITHOUT_BOUNDS)' > .venv-canary/newest.txt
	$(BIN)/uv pip install --quiet --python .venv-canary --override .venv-canary/newest.txt --editable '.[dev]'
	$(BIN)/uv pip freeze --python .venv-canary
	AVBENCH_UNTESTED_VERSIONS=1 OMP_NUM_THREADS=1 .venv-canary/bin/python -m pytest -m $(FAST) $(SHARED)

# The oldest releases that pyproject.toml allows.
lowest: $(STAMP)
	$(BIN)/uv venv --quiet --clear --python $(BIN)/python .venv-lowest
	$(BIN)/uv pip install --quiet --python .venv-lowest --resolution lowest-direct --editable '.[dev]'
	OMP_NUM_THREADS=1 .venv-lowest/bin/python -m pytest -m $(FAST) $(SHARED)

# Keeps the pins that still fit; UPGRADE=--upgrade takes the newest within the ranges instead.
lock: $(STAMP)
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --all-extras --no-annotate \
	    --custom-compile-command "make lock" $(UPGRADE) --output-file constraints.txt pyproject.toml

# Without the type checks of the tests, which would be timed too. The peers are an extra;
# torchcodec brings no FFmpeg and is lent PyAV's.
bench: $(STAMP)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev,bench]'
	LD_LIBRARY_PATH="$$($(BIN)/python tests/benchmarks/ffmpeg_links.py $(VENV)/ffmpeg)" \
	    $(BIN)/pytest tests/benchmarks -o addopts=--import-mode=importlib --benchmark-only \
	    --benchmark-columns=min,median,rounds --bench-report results

# Needs a CUDA device; prints peak memory and steps per second.
bench-gpu: $(STAMP)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev,xformers]'
	$(BIN)/pytest tests/test_gpu.py -o addopts=--import-mode=importlib -m gpu -s

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/codespell

# constraints.txt pins every package for every supported Python, see `make lock`.
$(STAMP): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@

clean:
	rm -rf $(VENV) *.egg-info .pytest_cache .mypy_cache .ruff_cache
