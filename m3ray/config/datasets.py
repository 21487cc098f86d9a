"""Settings of reading data sets and their storage."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

# What a model is to predict: a score of the data set, or a column of `m3ray.schema.MEMORY`.
Target = Literal["short", "long", "score", "hit_rate", "false_alarm_rate", "corrected", "d_prime", "alpha"]
# What of a folder is listed: an image is a clip of one frame.
Media = Literal["all", "videos", "images"]


@dataclass(frozen=True)
class ReadConfig:
    """Choices among what a published data set offers."""

    score: Literal["normalized", "raw"] = "normalized"
    """Which of its two scores Memento10k in MediaEval's form is read with."""
    target: Target = "short"
    """Which of VideoMem's scores is read: long-term memorability for `long`, else short-term."""
    videos: str | None = None
    """Folder of the videos or images; none: below the data set's own folder."""
    splits: str | None = None
    """File or folder that assigns clips to splits, or the number of one of LaMem's; none: LaMem's first, Memento10k's
    own, others are drawn."""
    identity: Literal["fast", "hash"] = "fast"
    """What identifies a video: its path, size and modification time (fast), or its content (hash), read at a job's
    start."""
    group: str | None = None
    """Column whose equal values are one source, the clips of which a drawn split keeps on one side."""
    media: Media = "all"
    """What of a folder is listed: its videos and images, or the ones or the others alone."""


@dataclass(frozen=True)
class StorageConfig:
    """Buckets of videos that are read otherwise than the root's."""

    anonymous: tuple[str, ...] = ()
    """Public buckets, which are read without credentials."""
    requester_pays: tuple[str, ...] = ()
    """Buckets whose readers pay for what they read."""
