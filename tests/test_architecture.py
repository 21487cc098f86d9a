"""What DESIGN.md promises of the code, held by tests."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

TOP = Path(__file__).parents[1]
SOURCES = sorted((TOP / "m3ray").rglob("*.py"))
JOBS = sorted((TOP / "jobs").glob("*.py"))


def test_imports_run_downward_only():
    found = subprocess.run(
        [Path(sys.executable).parent / "lint-imports"], cwd=TOP, capture_output=True, text=True, check=False
    )
    assert found.returncode == 0, found.stdout


def imported(path):
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            yield node.module.split(".")[0]


@pytest.mark.parametrize(
    ("packages", "home"), [({"ray"}, "pipelines/"), ({"av", "decord"}, "m3ray/video/"), ({"matplotlib"}, "reports/")]
)
def test_heavy_packages_stay_at_home(packages, home):
    importing = [p for p in SOURCES if packages & set(imported(p))]
    strangers = {p.relative_to(TOP).as_posix() for p in importing if home not in p.as_posix()}
    # The one reads which FFmpeg PyAV carries, the other draws what stands around overlays of maps.
    assert strangers - {"m3ray/storage/versions.py", "m3ray/scoring/explanations/canvas.py"} == set()


def test_nothing_unpickles():
    # published_splits.py reads pickled splits by a reader that builds plain values alone (test_published).
    assert [p.name for p in SOURCES if {"pickle", "joblib", "dill", "cloudpickle"} & set(imported(p))] == [
        "published_splits.py"
    ]


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: p.relative_to(TOP).as_posix())
def test_files_fit_in_a_head(path):
    assert len(path.read_text().splitlines()) <= 400


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: p.relative_to(TOP).as_posix())
def test_every_public_function_has_a_docstring_or_is_short(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef) and not node.name.startswith("_"):
            assert ast.get_docstring(node) or node.end_lineno - node.lineno <= 14, (
                f"{path.name}:{node.lineno} {node.name}"
            )


@pytest.mark.parametrize("path", JOBS, ids=lambda p: p.name)
def test_every_job_explains_its_options(path):
    found = subprocess.run([sys.executable, str(path), "--help"], capture_output=True, text=True, check=False, cwd=TOP)
    assert found.returncode == 0, found.stderr
    assert "--out" in found.stdout


def test_the_decoding_child_does_not_pay_for_torch():
    """It starts once a worker, and torch beside decord was seen to hang."""
    code = "import sys, m3ray.video.decode_process; from m3ray.video import decode\n"
    code += "sys.exit(bool({'torch', 'ray'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
