"""Settings of reading data sets and their storage."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

# What a model is to predict: a score of the data set, or a column of `m3ray.schema.MEMORY`.
Target = Literal["short", "long", "score", "hit_rate", "false_alarm_rate", "corrected", "d_prime", "alpha"]


@dataclass(frozen=True)
class ReadConfig:
    """Choices among what a published data set offers."""

    score: Literal["normalized", "raw"] = "normalized"
    """Which of its two scores Memento10k in MediaEval's form is read with."""
    target: Target = "short"
    """Which of VideoMem's scores is read: long-term memorability for `long`, else short-term."""
    videos: str | None = None
    """Folder of the videos; none: below the data set's own folder."""
    splits: str | None = None
    """File or folder that assigns VideoMem's clips to splits; none: they are drawn."""
    identity: Literal["fast", "hash"] = "fast"
    """What identifies a video: its path, size and modification time (fast), or its content (hash), read at a job's
    start."""
    group: str | None = None
    """Column whose equal values are one source, the clips of which a drawn split keeps on one side."""


@dataclass(frozen=True)
class StorageConfig:
    """Buckets of videos that are read otherwise than the root's."""

    anonymous: tuple[str, ...] = ()
    """Public buckets, which are read without credentials."""
    requester_pays: tuple[str, ...] = ()
    """Buckets whose readers pay for what they read."""
