"""The notebooks of docs/tutorials run from their first cell to their last one, on a small demo."""

import shutil

import pytest

NEEDS = "needs the extra `notebook`: pip install '.[notebook]'"
nbclient = pytest.importorskip("nbclient", reason=NEEDS)
pytest.importorskip("ipykernel", reason=NEEDS)
tutorials = pytest.importorskip("run_tutorials", reason=NEEDS)
pytestmark = pytest.mark.integration
NOTEBOOKS = sorted(tutorials.TUTORIALS.glob("*.ipynb"))


@pytest.fixture(scope="module")
def root(demo, tmp_path_factory):
    """A copy of the small demo: notebooks write beside the root that they are given."""
    copy = tmp_path_factory.mktemp("tutorials") / "m3ray-demo"
    shutil.copytree(demo[0], copy, ignore=shutil.ignore_patterns("tune"))
    return copy


def shares_a_cluster(path):
    return path.name[0] in "235"


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_a_notebook_runs(path, root, tmp_path, monkeypatch):
    import ray

    if shares_a_cluster(path):  # its commands use the cluster of these tests, as nothing there depends on a fresh one
        monkeypatch.setenv("RAY_ADDRESS", ray.get_runtime_context().gcs_address)
    before = {file: file.stat().st_mtime_ns for file in root.rglob("*.parquet")}
    notebook = tutorials.run_notebook(path, tmp_path, root)
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    assert {file: file.stat().st_mtime_ns for file in root.rglob("*.parquet")} == before, "the demo is only read"


def test_a_cell_that_fails_fails_the_notebook(tmp_path):
    """Commands too: `!` would go on, `%%bash` does not."""
    import nbformat

    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("%%bash\nm3ray no-such-command")])
    nbformat.write(notebook, tmp_path / "failing.ipynb")
    (tmp_path / "run").mkdir()
    with pytest.raises(nbclient.exceptions.CellExecutionError):
        tutorials.run_notebook(tmp_path / "failing.ipynb", tmp_path / "run", tmp_path)
