"""Run the tutorials on a demo's root and keep what they show: `python docs/run_tutorials.py`, after `m3ray demo`."""

from __future__ import annotations

import argparse
import hashlib
import os
import re
import sys
import tempfile
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbformat import NotebookNode

TUTORIALS = Path(__file__).parent / "tutorials"
TIMEOUT = 600  # seconds a cell


def run_notebook(path: Path, folder: Path, demo: Path) -> NotebookNode:
    """Run a notebook in a folder of its own, which sees the demo's root as `m3ray-demo`.

    Args:
        path: the notebook; the file stays as it is.
        folder: an empty folder, in which it runs and writes.
        demo: root of a demo that has ended.
    Returns:
        The notebook with its outputs.
    Raises:
        nbclient.exceptions.CellExecutionError: a cell raises; the message has the cell and the traceback.
    """
    notebook = nbformat.read(path, as_version=4)
    (folder / "m3ray-demo").symlink_to(demo.resolve())
    outside = {name: os.environ.pop(name) for name in ("M3RAY_DEMO",) if name in os.environ}
    try:
        where = {"metadata": {"path": str(folder)}}
        NotebookClient(notebook, timeout=TIMEOUT, kernel_name="python3", resources=where).execute()
    finally:
        os.environ.update(outside)
    return notebook


def clean_outputs(notebook: NotebookNode, folders: dict[str, str]) -> None:
    """Leave what a reader needs: one text for pieces of one stream, no paths of this machine, no times of cells.

    Args:
        notebook: what has run; it is changed.
        folders: folders of this machine to what stands for them, the longest first.
    """
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)
        if cell.cell_type == "code":
            cell.outputs = [output for output in cell.outputs if output.get("name") != "stderr"]
            for output in cell.outputs:
                _clean_output(output, folders)
    notebook.metadata["language_info"] = {"name": "python"}
    notebook.metadata["m3ray"] = {"sources": hash_sources(notebook)}


def _clean_output(output: NotebookNode, folders: dict[str, str]) -> None:
    for holder, name in [(output, "text"), *((output.get("data", {}), kind) for kind in ("text/plain", "text/html"))]:
        if name in holder:
            for folder, stands_for in folders.items():
                holder[name] = holder[name].replace(folder, stands_for)
            holder[name] = re.sub(r"\x1b\[[0-9;]*m", "", holder[name])


def hash_sources(notebook: NotebookNode) -> str:
    """Hash the code of a notebook: its outputs are those of its code where they were kept with the same hash."""
    code = "\0".join(cell.source for cell in notebook.cells if cell.cell_type == "code")
    return hashlib.sha256(code.encode()).hexdigest()


def main() -> None:
    """Run those that are named, or all, and write them with their outputs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--demo", type=Path, default=Path("m3ray-demo"), help="root of a demo that has ended")
    parser.add_argument("notebooks", type=Path, nargs="*", default=sorted(TUTORIALS.glob("*.ipynb")))
    options = parser.parse_args()
    for path in options.notebooks:
        with tempfile.TemporaryDirectory() as folder:
            notebook = run_notebook(path, Path(folder), options.demo)
            real = {
                os.path.realpath(folder): "/home/me",
                folder: "/home/me",
                os.path.realpath(options.demo): "m3ray-demo",
            }
            clean_outputs(notebook, {**real, sys.prefix: "/home/me/.venv"})
        nbformat.write(notebook, path)
        print(f"{path.name}: {path.stat().st_size / 1e3:.0f} kB")


if __name__ == "__main__":
    main()
