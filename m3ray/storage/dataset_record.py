"""What a root holds: which data set, how it was read and what its features were computed with.

A job on a root takes all that from here unless it is told otherwise, and another data set is refused.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, Final, TypeVar

from m3ray.config import LimitsConfig, StorageConfig, as_json
from m3ray.config.options import ExtractOptions
from m3ray.schema import SIMILARITY
from m3ray.storage.filesystems import is_local, local_path

DEMO: Final = "demo"
TIERS = ("raw", "scene", "event")
# How a published data set is read: other scores or splits of the same clips.
_EARLIER = {"path": "fast", "content": "hash"}  # what earlier roots call an identity
READING = ("score", "target", "splits", "identity")
# What a root is asked for once: the options whose values decide its clips and its numbers.
SETTINGS = (
    *READING,
    "videos",
    "weights",
    "preset",
    "fps",
    "network",
    "precision",
    "measure",
    "seed",
    "limit",
    "limits",
    "storage",
)
_PATHS = ("splits", "videos")

T = TypeVar("T", bound=ExtractOptions)


@dataclass(frozen=True)
class Record:
    """The data set of a root, and what it was asked for with.

    Args:
        dataset: its kind; None: a catalogue of which nothing more is known.
        source: folder or file, absolute; None: the demo, which has none.
        settings: `SETTINGS` by name.
        tiers: that were asked for, computed or brought.
        real: `source` with its links followed, as it was then.
        certain: whether `source` is known and not guessed.
    """

    dataset: str | None
    source: str | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    tiers: tuple[str, ...] = ()
    real: str | None = None
    certain: bool = True

    def words(self) -> str:
        """The data set, as one would name it."""
        if self.dataset is None:
            return "a catalogue of its own"
        if self.dataset == DEMO:
            return f"the demo of seed {self.settings.get('seed', 0)}"
        return f"the {self.dataset} {self.source}"

    def is_of(self, other: Record) -> bool:
        """Whether both name one data set, however its path is spelled."""
        if self.dataset != other.dataset:
            return False
        if self.dataset == DEMO:
            return self.settings.get("seed", 0) == other.settings.get("seed", 0)
        return bool(_spellings(self) & _spellings(other))


def _spellings(record: Record) -> set[str]:
    return {path for path in (record.source, record.real, real_path(record.source)) if path}


def absolute_path(source: str | None) -> str | None:
    """A folder or file without `..`, `//` and a last slash; an S3 URI without the last slash."""
    if not source:
        return None
    return os.path.normpath(local_path(source)) if is_local(source) else source.rstrip("/")


def real_path(source: str | None) -> str | None:
    """As `absolute_path`, links followed."""
    path = absolute_path(source)
    return os.path.realpath(path) if path and is_local(path) else path


def record_of(options: ExtractOptions) -> Record:
    """What a job asks for, as it would be kept."""
    settings = {name: kept(name, getattr(options, name)) for name in SETTINGS}
    source = None if options.dataset == DEMO else absolute_path(options.root)
    tiers = tuple(tier for tier in options.tiers if tier.partition(":")[0] != SIMILARITY)
    return Record(options.dataset, source, settings, tiers, real_path(source))


def kept(name: str, value: Any) -> Any:
    """A setting as JSON; files by their absolute paths, as the next job may start elsewhere."""
    if name == "identity":
        return _EARLIER.get(value, value)
    is_file = name in _PATHS or (name == "weights" and value not in ("auto", "published", "untrained"))
    return absolute_path(value) if is_file else as_json(value)


def settled(options: T, record: Record | None) -> T:
    """The options with what the root's record says in place of what was left at its default.

    Args:
        options: a job's.
        record: of its root; None: it holds nothing yet.
    """
    if options.settled:
        return options
    default = type(options)(out=options.out)
    known = {} if record is None else {**_plain(record), **_own_source(options, record)}
    taken = {name: value for name, value in known.items() if getattr(options, name) == getattr(default, name)}
    options = replace(options, **taken, settled=True)
    if options.dataset is None and record is None:
        options = replace(options, dataset=DEMO)
    return options if options.tiers else replace(options, tiers=own_tiers(options, record))


def _plain(record: Record) -> dict[str, Any]:
    """Recorded settings as options hold them."""
    known = dict(record.settings)
    if "limits" in known:
        names = {f.name for f in fields(LimitsConfig)}
        known["limits"] = LimitsConfig(**{name: v for name, v in known["limits"].items() if name in names})
    if "storage" in known:
        known["storage"] = StorageConfig(**{name: tuple(buckets) for name, buckets in known["storage"].items()})
    return known


def _own_source(options: ExtractOptions, record: Record) -> dict[str, Any]:
    """Kind and place; of another kind than the root's, the place is the user's to give."""
    if options.dataset not in (None, record.dataset):
        return {}
    return {"dataset": record.dataset, "root": record.source}


def own_tiers(options: ExtractOptions, record: Record | None) -> tuple[str, ...]:
    """The tiers of a root, else the paper's; for a model, with the similarity of those that are vectors."""
    tiers = (record.tiers if record else ()) or TIERS
    vectors = [tier for tier in tiers if tier != "raw"]
    return (*tiers, SIMILARITY) if options.sees_similarity and vectors else tiers
