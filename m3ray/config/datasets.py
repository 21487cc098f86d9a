"""How data sets and their storage are read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class ReadConfig:
    """How a published data set is read."""

    score: Literal["normalized", "raw"] = "normalized"
    """Memento10k as MediaEval gives it: which of its two scores."""
    target: Literal["short", "long"] = "short"
    """VideoMem: short-term or long-term memorability."""
    videos: str | None = None
    """Folder of the videos; none: below the data set's own."""
    splits: str | None = None
    """VideoMem: file or folder that says who is in which split; none: drawn."""
    identity: Literal["fast", "hash"] = "fast"
    """By what a video is known: where it lies, its size and time of change; or its bytes, all read at a job's start."""


@dataclass(frozen=True)
class StorageConfig:
    """Buckets of videos that are not read as the root's is."""

    anonymous: tuple[str, ...] = ()
    """Public buckets, read without credentials."""
    requester_pays: tuple[str, ...] = ()
    """Buckets whose owner lets whoever reads them pay."""
