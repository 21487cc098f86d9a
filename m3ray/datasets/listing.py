"""What a reader of clips found, and what is to be said about it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

import pyarrow as pa

from m3ray.schema import REJECTS


@dataclass(frozen=True)
class Listing:
    """Clips, and what is to be said about them.

    Args:
        table: one clip a row, the catalogue's columns and the user's.
        notes: lines for the user.
        missing: names of videos that are not there.
        refused: clips that must not be read, as rows of rejects.
    """

    table: pa.Table
    notes: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    refused: pa.Table = field(default_factory=REJECTS.empty_table)


def counted(counts: Mapping[str, int]) -> str:
    """Counts in words, the largest first: `12 .txt, 3 .jpg`."""
    order = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return ", ".join(f"{count} {what}" for what, count in order)


@dataclass(frozen=True)
class Found:
    """A clip of a folder.

    Args:
        clip_id: its path below the folder.
        uri: where it is.
        refused: why it must not be read, as reason and message; None: it may.
    """

    clip_id: str
    uri: str
    refused: tuple[str, str] | None = None


@dataclass
class Passed:
    """What a listing passes over, counted.

    Args:
        endings: of files that are no videos.
        others: hidden files and the like.
        errors: folders that could not be read, and why.
    """

    endings: Counter[str] = field(default_factory=Counter)
    others: Counter[str] = field(default_factory=Counter)
    errors: list[str] = field(default_factory=list)

    def add(self, name: str) -> None:
        """Counts a file that is no video."""
        stem, dot, ending = name.rpartition(".")
        self.endings[f".{ending.lower()}" if dot and stem else "without an ending"] += 1

    def notes(self) -> tuple[str, ...]:
        """A line for the user, or none."""
        what = [f"{counted(self.endings)} (no videos, by name or content)"] if self.endings else []
        what += [counted(self.others)] if self.others else []
        what += [f"{len(self.errors)} folders that cannot be read ({self.errors[0]})"] if self.errors else []
        total = self.endings.total() + self.others.total() + len(self.errors)
        return (f"folder: {total} passed over: {'; '.join(what)}",) if what else ()
