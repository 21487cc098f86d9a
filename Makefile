# Two commands do all the set-up: `make demo` and `make test`. Both make .venv by themselves.
PYTHON ?= python3
# Test processes at once; each takes about 1.5 GB.
JOBS ?= 2
BIN := .venv/bin
READY := .venv/.ready
READY_DOCS := .venv/.ready-docs

.PHONY: demo test slow lint bench docs lock clean

demo: $(READY)
	$(BIN)/python jobs/reproduce.py

# Unit tests in several processes; those that start a Ray one after the other.
test: lint
	$(BIN)/python -m pytest -q -m "not slow and not integration" -n $(JOBS) --dist loadfile
	$(BIN)/python -m pytest -q -m "integration and not slow"

slow: $(READY)
	$(BIN)/python -m pytest -q -m slow

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/mypy --config-file tests/mypy.ini
	$(BIN)/lint-imports

# The documentation as a site in site/; fails on a broken link, anchor or reference.
docs: $(READY_DOCS)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

bench: $(READY)
	for file in $(filter-out benchmarks/gpu_%.py,$(wildcard benchmarks/*.py)); do $(BIN)/python $$file || exit 1; done

# What pyproject.toml asks for in exact versions: for clusters and images, and with what tests, lint and docs need.
# Versions that still fit stay as they are; `make lock UP=--upgrade` takes the newest.
COMPILE = UV_CUSTOM_COMPILE_COMMAND="make lock" $(BIN)/uv pip compile pyproject.toml --universal --python-version 3.11 \
	--generate-hashes --no-annotate --no-config --quiet $(UP)

lock: $(READY)
	$(BIN)/python -m pip install -q uv
	$(COMPILE) --output-file requirements.lock
	$(COMPILE) --constraint requirements.lock --extra test --extra docs --output-file requirements-test.lock

clean:
	rm -rf .venv m3ray-demo site build *.egg-info .pytest_cache .ruff_cache .mypy_cache .import_linter_cache

$(READY): pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "m3ray needs Python 3.11 or newer, got " + sys.version)'
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install -q -e '.[test]'
	touch $@

$(READY_DOCS): $(READY)
	$(BIN)/python -m pip install -q -e '.[docs]'
	touch $@
