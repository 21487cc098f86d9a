"""The list of a study's tables, `tables.json`: which variants each table shows, and what Table 4 needs beside them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from m3ray.storage.root import Root

FILE = "tables.json"
_MEASURES, _NOTES = "measures", "notes"


@dataclass(frozen=True)
class MeasureNotes:
    """What Table 4 needs to know of the study's similarity measures.

    Args:
        own: Measure of the full model; None where it sees no similarity.
        full: Name of the full model.
        skipped: Measure to the reason why it was left out.
    """

    own: str | None
    full: str
    skipped: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class TableList:
    """The tables that a study was asked for.

    Args:
        variants: Number of a table to the names of its variants, in the order in which it shows them.
        measures: What Table 4 needs beside its variants.
        notes: Sentences that belong below every table, by what they are of: `settings`, `splits`.
    """

    variants: Mapping[int, tuple[str, ...]]
    measures: MeasureNotes
    notes: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> TableList:
        """Read the list from JSON.

        Args:
            values: Content of `tables.json`: a key for each table's number, `measures`, and perhaps `notes`.
        Returns:
            The list.
        """
        tables = {int(key): tuple(names) for key, names in values.items() if key not in (_MEASURES, _NOTES)}
        return cls(tables, MeasureNotes(**values[_MEASURES]), dict(values.get(_NOTES, {})))

    def as_json(self) -> dict[str, Any]:
        """Content of `tables.json`."""
        measures = {"own": self.measures.own, "full": self.measures.full, "skipped": dict(self.measures.skipped)}
        notes = {_NOTES: dict(self.notes)} if self.notes else {}
        return {**{str(number): list(names) for number, names in self.variants.items()}, _MEASURES: measures, **notes}


def read_table_list(root: Root, folder: tuple[str, ...]) -> TableList:
    """Read the list of a study's tables.

    Args:
        root: Root that holds the study.
        folder: The study's folder below the root.
    Returns:
        The list.
    """
    return TableList.from_json(root.read_json(*folder, FILE))


def write_table_list(tables: TableList, root: Root, folder: tuple[str, ...]) -> None:
    """Write the list of a study's tables.

    Args:
        tables: The list.
        root: Root that holds the study.
        folder: The study's folder below the root.
    """
    root.write_json(tables.as_json(), *folder, FILE)
