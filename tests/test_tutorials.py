"""The notebooks of docs/tutorials: what is kept in them is what their code gave, and they can be read by a stranger."""

import re
import shlex
from pathlib import Path

import pytest
import tyro

from m3ray.cli import rename_old_options
from m3ray.commands import catalogue
from m3ray.commands.short_help import load_options

NEEDS = "needs the extra `notebook`: pip install '.[notebook]'"
nbformat = pytest.importorskip("nbformat", reason=NEEDS)
tutorials = pytest.importorskip("run_tutorials", reason=NEEDS)
NOTEBOOKS = sorted(tutorials.TUTORIALS.glob("*.ipynb"))
MACHINE = re.compile(r"/(?:tmp|root|work|opt|private|Users|home/(?!me\b))[/\w.-]*|site-packages|\x1b\[")


def read(path):
    return nbformat.read(path, as_version=4)


def list_texts(cell):
    """Every text that a cell shows; pictures are none."""
    for output in cell.get("outputs", []):
        yield output.get("text", "")
        yield from (text for kind, text in output.get("data", {}).items() if kind.startswith("text/"))


def by_name(path):
    return path.name


def list_commands():
    """Commands of all cells that a shell runs, as words: the notebook's name, then `m3ray ...`."""
    for path in NOTEBOOKS:
        shells = [cell.source for cell in read(path).cells if cell.source.startswith("%%bash\n")]
        for line in "\n".join(shells).replace("\\\n", " ").splitlines():
            if "m3ray" in (words := shlex.split(line)):
                yield path.name, words[words.index("m3ray") :]


COMMANDS = list(list_commands())


def test_there_are_the_five():
    assert [path.name[0] for path in NOTEBOOKS] == list("12345")


@pytest.mark.parametrize("path", NOTEBOOKS, ids=by_name)
def test_outputs_are_those_of_the_code_beside_them(path):
    notebook = read(path)
    if not any(cell.get("outputs") for cell in notebook.cells):
        pytest.skip("no outputs are kept in it: python docs/run_tutorials.py runs it and keeps them")
    kept = notebook.metadata["m3ray"]["sources"]
    assert kept == tutorials.hash_sources(notebook), "python docs/run_tutorials.py keeps new ones"
    counts = [cell.execution_count for cell in notebook.cells if cell.cell_type == "code"]
    assert counts == list(range(1, len(counts) + 1))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=by_name)
def test_outputs_name_no_machine_and_are_small(path):
    for cell in read(path).cells:
        for text in list_texts(cell):
            assert MACHINE.search(text) is None, text
    assert path.stat().st_size < 600_000


@pytest.mark.parametrize("path", NOTEBOOKS, ids=by_name)
def test_a_notebook_begins_with_what_it_is_about_and_says_that_the_clips_are_drawn(path):
    first, *others = read(path).cells
    assert first.source.startswith(f"# {path.name[0]}. ")
    words = " ".join(cell.source for cell in (first, *others) if cell.cell_type == "markdown")
    assert "drawn" in words or "nothing has to be rented" in words
    longest = max(len(cell.source.splitlines()) for cell in others if cell.cell_type == "code")
    assert longest <= 22, "cells are short"


@pytest.mark.parametrize("path", NOTEBOOKS, ids=by_name)
def test_links_lead_to_pages_and_their_headings(path):
    for cell in read(path).cells:
        for target in re.findall(r"\]\(([^)\s#]+)(?:#[^)\s]*)?\)", cell.source if cell.cell_type == "markdown" else ""):
            assert (tutorials.TUTORIALS / target).exists(), target


@pytest.mark.parametrize(("notebook", "words"), COMMANDS, ids=lambda value: None)
def test_commands_take_the_arguments_that_cells_give(notebook, words):
    options = load_options(catalogue.COMMANDS[words[1]])
    arguments = rename_old_options(options, words[2:])
    assert isinstance(tyro.cli(options, args=arguments), options), f"{notebook}: {' '.join(words)}"


def test_three_notebooks_run_commands():
    assert {notebook[0] for notebook, _ in COMMANDS} == set("235")


def test_cleaning_leaves_no_path_no_colour_and_no_standard_error():
    cell = nbformat.v4.new_code_cell("print(1)", metadata={"execution": {"iopub.status.idle": "2026-01-01"}})
    cell.outputs = [
        nbformat.v4.new_output("stream", name="stdout", text="\x1b[31mto /scratch/a/b.csv and /scratch\x1b[0m\n"),
        nbformat.v4.new_output("stream", name="stderr", text="warning\n"),
        nbformat.v4.new_output("execute_result", data={"text/plain": "/scratch/a", "text/html": "<b>/scratch/a</b>"}),
    ]
    notebook = nbformat.v4.new_notebook(cells=[cell])
    tutorials.clean_outputs(notebook, {"/scratch/a": "m3ray-demo", "/scratch": "/home/me"})
    first, second = notebook.cells[0].outputs
    assert first.text == "to m3ray-demo/b.csv and /home/me\n"
    assert second.data == {"text/plain": "m3ray-demo", "text/html": "<b>m3ray-demo</b>"}
    assert notebook.cells[0].metadata == {}
    assert notebook.metadata["m3ray"]["sources"] == tutorials.hash_sources(notebook)


def test_the_hash_is_of_code_alone():
    code, text = nbformat.v4.new_code_cell("a = 1"), nbformat.v4.new_markdown_cell("text")
    before = tutorials.hash_sources(nbformat.v4.new_notebook(cells=[code, text]))
    text.source, code.outputs = "another text", [nbformat.v4.new_output("stream", text="1")]
    assert tutorials.hash_sources(nbformat.v4.new_notebook(cells=[code, text])) == before
    code.source = "a = 2"
    assert tutorials.hash_sources(nbformat.v4.new_notebook(cells=[code, text])) != before


def test_the_site_s_notebooks_are_these():
    site = (Path(__file__).parents[1] / "mkdocs.yml").read_text()
    assert re.findall(r"tutorials/(\S+\.ipynb)", site) == [path.name for path in NOTEBOOKS]
