"""What a reader of a data set returns: its clips, and what the user is told of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

import pyarrow as pa

from m3ray.config.datasets import Media
from m3ray.datasets.media import UNREAD_IMAGES, Kind
from m3ray.schema import REJECTS


@dataclass(frozen=True)
class Listing:
    """The clips of a data set, and what the user is told of them.

    Args:
        table: one clip a row, the catalogue's columns and the user's.
        notes: lines for the user.
        missing: names of annotated videos that do not exist.
        rejected: clips that must not be read, as rows of `m3ray.schema.REJECTS`.
    """

    table: pa.Table
    notes: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    rejected: pa.Table = field(default_factory=REJECTS.empty_table)


def describe_counts(counts: Mapping[str, int]) -> str:
    """Put counts into words, the largest first: `12 .txt, 3 .jpg`.

    Args:
        counts: what was counted to how many of it there are.
    Returns:
        One line; equal counts stand in alphabetical order.
    """
    order = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return ", ".join(f"{count} {what}" for what, count in order)


@dataclass(frozen=True)
class FolderClip:
    """A video or image of a folder.

    Args:
        clip_id: path below the folder.
        uri: path or URI of the file.
        rejection: reason and message where the file must not be read; None where it may.
        kind: what it is, by its name or its first bytes.
    """

    clip_id: str
    uri: str
    rejection: tuple[str, str] | None = None
    kind: Kind = "videos"


@dataclass
class SkippedFiles:
    """Counts of what a listing skips.

    Args:
        endings: files that are no clips, by ending.
        others: hidden files, links to folders, and clips that were not asked for, by kind.
        errors: one line for each folder that could not be read.
    """

    endings: Counter[str] = field(default_factory=Counter)
    others: Counter[str] = field(default_factory=Counter)
    errors: list[str] = field(default_factory=list)

    def add(self, name: str) -> None:
        """Count a file that is no clip.

        Args:
            name: name of the file, without its folder.
        """
        stem, dot, ending = name.rpartition(".")
        self.endings[f".{ending.lower()}" if dot and stem else "without an ending"] += 1

    def leave_out(self, kind: Kind, media: Media) -> None:
        """Count a clip that was not asked for.

        Args:
            kind: what it is.
            media: what was asked for.
        """
        self.others[f"{kind} (--media {media})"] += 1

    def notes(self) -> tuple[str, ...]:
        """A line for the user, or none where nothing was skipped."""
        what = [f"{describe_counts(self.endings)} (no videos, by name or content)"] if self.endings else []
        unread = Counter({end: n for end, n in self.endings.items() if end[1:] in UNREAD_IMAGES})
        what += [f"images of kinds that are not read: {describe_counts(unread)}: convert them to JPEG or PNG"] * any(
            unread
        )
        what += [describe_counts(self.others)] if self.others else []
        what += [f"{len(self.errors)} folders that cannot be read ({self.errors[0]})"] if self.errors else []
        total = self.endings.total() + self.others.total() + len(self.errors)
        return (f"folder: {total} passed over: {'; '.join(what)}",) if what else ()
