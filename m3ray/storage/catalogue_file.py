"""The file of the catalogue: every reader of a root's clips goes through here."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa

from m3ray.errors import StudyError
from m3ray.schema import CATALOGUE_FILE
from m3ray.storage.root import Root


def has_catalogue(root: Root) -> bool:
    """Tell whether a root holds a catalogue.

    Args:
        root: the root, or a workspace below it with a catalogue of its own.
    Returns:
        Whether the file exists; it may be damaged all the same.
    """
    return root.exists(CATALOGUE_FILE)


def read_catalogue(root: Root, columns: Sequence[str] | None = None) -> pa.Table:
    """Read the catalogue of a root.

    Args:
        root: the root, or a workspace below it with a catalogue of its own.
        columns: names of the columns to read; None reads all.
    Returns:
        One row a clip; `m3ray.schema.CATALOGUE` says which columns there always are.
    Raises:
        StudyError: If the root has no catalogue.
        DamagedFileError: If the file is no Parquet file.
    """
    _check_exists(root)
    return root.read_table(CATALOGUE_FILE, columns=None if columns is None else list(columns))


def read_catalogue_schema(root: Root) -> pa.Schema:
    """Read the columns of a root's catalogue, and what their metadata says of them.

    Args:
        root: the root, or a workspace below it with a catalogue of its own.
    Returns:
        The schema as it was written.
    Raises:
        StudyError: If the root has no catalogue.
        DamagedFileError: If the file is no Parquet file.
    """
    _check_exists(root)
    return root.read_schema(CATALOGUE_FILE)


def _check_exists(root: Root) -> None:
    if not has_catalogue(root):
        raise StudyError(f"{root.display(CATALOGUE_FILE)} does not exist: run jobs/extract.py --out {root.uri} first")
