"""Clips whose windows are computed apart: the windows that have arrived wait here until the last one comes.

This lies in the ledger's process. Should that die, what waited comes to no row: the driver finds such clips missing at
the end of a pass, and has them computed again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

Row = Mapping[str, Any]


@dataclass
class WindowJoins:
    """Windows that wait for the others of their clip.

    A writer that died is repeated, and says all of it again; it gets the same answers, until it has said that its clips
    are committed.

    Args:
        windows: Clip to the rows of its windows, by their index, all of one attempt.
        attempts: Clip to that attempt, the newest.
        closed: Clip to the name of the row that ended it: of a window that failed, or that is computed elsewhere.
    """

    windows: dict[str, dict[int, Row]] = field(default_factory=dict)
    attempts: dict[str, int] = field(default_factory=dict)
    closed: dict[str, str] = field(default_factory=dict)

    def start_pass(self) -> None:
        """Forget all, as a further pass computes whole clips."""
        for held in (self.windows, self.attempts, self.closed):
            held.clear()

    def add(self, rows: Sequence[Row]) -> list[list[Row]]:
        """Add computed windows.

        Args:
            rows: Rows with at least `clip_id` and `part`.
        Returns:
            The windows, in order, of each clip that one of these rows belongs to and of which all are here.
        """
        added = {row["clip_id"]: row["part"]["count"] for row in rows if self._add_one(row)}
        return [
            [self.windows[clip][index] for index in range(count)]
            for clip, count in added.items()
            if len(self.windows.get(clip, ())) == count
        ]

    def _add_one(self, row: Row) -> bool:
        clip, attempt = row["clip_id"], row["part"]["attempt"]
        newest = self.attempts.get(clip, attempt)
        if clip in self.closed or attempt < newest:
            return False
        if attempt > newest:
            self.windows.pop(clip, None)
        self.attempts[clip] = attempt
        self.windows.setdefault(clip, {})[row["part"]["index"]] = row
        return True

    def close(self, rows: Mapping[str, tuple[str, int]]) -> list[str]:
        """End clips of which a window came to nothing; what arrives of them later is dropped.

        Args:
            rows: Name of the window's row to the id of its clip and to the attempt that it is of.
        Returns:
            The names of those rows that ended their clip: one a clip, however many of its windows fail; none of an
            attempt after which the clip was begun anew.
        """
        valid = {name: clip for name, (clip, attempt) in rows.items() if attempt >= self.attempts.get(clip, 0)}
        self.forget([clip for name, clip in valid.items() if self.closed.setdefault(clip, name) == name])
        return [name for name, clip in valid.items() if self.closed[clip] == name]

    def forget(self, clips: Sequence[str]) -> None:
        """Forget the windows of clips that are committed.

        Args:
            clips: Ids of the clips.
        """
        for clip in clips:
            self.windows.pop(clip, None)
            self.attempts.pop(clip, None)
