# Two commands do all the set-up: `make demo` and `make test`. Both make .venv by themselves, each with what it needs.
PYTHON ?= python3
# `make demo TORCH=cpu` takes PyTorch from its own index of builds for processors alone: without CUDA, 4.3 GB on Linux.
TORCH ?=
CPU_INDEX ?= https://download.pytorch.org/whl/cpu
# Test processes at once; each takes about 1.5 GB.
JOBS ?= 2
BIN := .venv/bin
PIP := $(BIN)/python -m pip install -q --disable-pip-version-check
READY := .venv/.ready
READY_TEST := .venv/.ready-test
READY_DOCS := .venv/.ready-docs

.PHONY: demo test slow lint bench docs wheel lock clean

demo: $(READY)
	$(BIN)/python jobs/reproduce.py

# Files of tests run in JOBS processes at once; those that share a costly fixture in one (tests/conftest.py).
test: lint
	$(BIN)/python -m pytest -q -m "not slow and not integration" -n $(JOBS) --dist loadfile
	$(BIN)/python -m pytest -q -m "integration and not slow" -n $(JOBS) --dist loadfile

slow: $(READY_TEST)
	$(BIN)/python -m pytest -q -m slow -n $(JOBS) --dist loadfile

lint: $(READY_TEST)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/mypy --config-file tests/mypy.ini
	$(BIN)/lint-imports

# The documentation as a site in site/; fails on a broken link, anchor or reference.
docs: $(READY_DOCS)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

# What pip installs elsewhere: dist/m3ray-VERSION-py3-none-any.whl, and the same as source.
wheel: $(READY_TEST)
	rm -rf dist
	$(BIN)/python -m build --outdir dist .

bench: $(READY_TEST)
	for file in $(filter-out benchmarks/gpu_%.py,$(wildcard benchmarks/*.py)); do $(BIN)/python $$file || exit 1; done

# What pyproject.toml asks for in exact versions: for clusters and images, and with what tests, lint and docs need.
# Versions that still fit stay as they are; `make lock UP=--upgrade` takes the newest.
COMPILE = UV_CUSTOM_COMPILE_COMMAND="make lock" $(BIN)/uv pip compile pyproject.toml --universal --python-version 3.11 \
	--generate-hashes --no-annotate --no-config --quiet $(UP)

lock: $(READY)
	$(PIP) uv
	$(COMPILE) --output-file requirements.lock
	$(COMPILE) --constraint requirements.lock --extra test --extra docs --output-file requirements-test.lock

clean:
	rm -rf .venv m3ray-demo site build dist *.egg-info .pytest_cache .ruff_cache .mypy_cache .import_linter_cache

# PyTorch and torchvision as pyproject.toml asks for them.
TORCHES = import tomllib; asked = tomllib.load(open("pyproject.toml", "rb"))["project"]["dependencies"]; \
	print(*(text for text in asked if text.startswith("torch")))

$(READY): pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "m3ray needs Python 3.11 or newer, got " + sys.version)'
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
ifeq ($(TORCH),cpu)
	$(PIP) --no-compile --index-url $(CPU_INDEX) $$($(BIN)/python -c '$(TORCHES)')
endif
	$(PIP) --no-compile -e .
# By all cores at once, where pip takes one. Without, and where PYTHONDONTWRITEBYTECODE is set, every process of Ray would
# compile PyTorch again, which takes longer than to import it. Some files of packages are for other Pythons, and fail.
	$(BIN)/python -m compileall -qq -j 0 -x /tests/ .venv/lib || true
	touch $@

$(READY_TEST): $(READY)
	$(PIP) -e '.[test]'
	touch $@

$(READY_DOCS): $(READY)
	$(PIP) -e '.[docs]'
	touch $@
