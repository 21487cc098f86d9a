"""The record of a root's data set: which one it is, how it was read and what its features were computed with.

A job on a root takes all of that from the record unless its options say otherwise; another data set is rejected.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, TypeVar

from m3ray.config import LimitsConfig, StorageConfig, as_json, from_json
from m3ray.config.options import ExtractOptions
from m3ray.schema import PRETRAINED, SIMILARITY
from m3ray.storage.filesystems import is_local, local_path

DEMO: Final = "demo"
TITLES = {
    "memento10k": "Memento10k",
    "videomem": "VideoMem",
    "lamem": "LaMem",
    "memcat": "MemCat",
    "figrim": "FIGRIM",
    "things": "THINGS",
}
"""What published data sets are called."""
TIERS = ("raw", "scene", "event")
# Older roots have other names for how a changed file is detected.
_OLDER_IDENTITIES = {"path": "fast", "content": "hash"}
# How a published data set is read: other values give other scores or splits of the same clips.
READING_SETTINGS = ("score", "target", "splits", "identity", "group", "media")
# The options whose values decide a root's clips and numbers, so that they are given once a root.
SETTINGS = (
    *READING_SETTINGS,
    "videos",
    "weights",
    "preset",
    "fps",
    "flow_per",
    "network",
    "precision",
    "image_frames",
    "measure",
    "duplicate_threshold",
    "seed",
    "limit",
    "limits",
    "storage",
)
_PATHS = ("splits", "videos")

T = TypeVar("T", bound=ExtractOptions)


@dataclass(frozen=True)
class DatasetRecord:
    """The data set of a root, and the settings that it was read and computed with.

    Args:
        dataset: kind of data set, such as 'folder'; None for a catalogue of which nothing more is known.
        source: absolute path or URI of its folder or file; None for the demo, which has none.
        settings: name of each of `SETTINGS` to its value, as JSON.
        tiers: names of the tiers that jobs were asked for, computed or user-provided.
        real: `source` with its symbolic links resolved when the record was written.
        certain: whether `source` was recorded, and not inferred from older files.
    """

    dataset: str | None
    source: str | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    tiers: tuple[str, ...] = ()
    real: str | None = None
    certain: bool = True

    def describe(self) -> str:
        """Name the data set in words."""
        if self.dataset is None:
            return "a catalogue of its own"
        if self.dataset == DEMO:
            return f"the demo of seed {self.settings.get('seed', 0)}"
        return f"the {self.dataset} {self.source}"

    def is_of(self, other: DatasetRecord) -> bool:
        """Tell whether two records name the same data set, however its path is spelled.

        Args:
            other: record to compare with.
        Returns:
            Whether kind and source agree.
        """
        if self.dataset != other.dataset:
            return False
        if self.dataset == DEMO:
            return self.settings.get("seed", 0) == other.settings.get("seed", 0)
        return bool(_spellings(self) & _spellings(other))


def _spellings(record: DatasetRecord) -> set[str]:
    return {path for path in (record.source, record.real, real_path(record.source)) if path}


def absolute_path(source: str | None) -> str | None:
    """Absolute path or URI of a data set's folder or file, in one spelling.

    Args:
        source: path or URI; None or "" for none.
    Returns:
        A path without `..`, `//` and final slash, or a URI without final slash; None for none.
    """
    if not source:
        return None
    return os.path.normpath(local_path(source)) if is_local(source) else source.rstrip("/")


def real_path(source: str | None) -> str | None:
    """Absolute path or URI with its symbolic links resolved.

    Args:
        source: path or URI; None or "" for none.
    Returns:
        The real path, or the URI; None for none.
    """
    path = absolute_path(source)
    return os.path.realpath(path) if path and is_local(path) else path


def make_record(options: ExtractOptions) -> DatasetRecord:
    """Make the record of what a job's options ask for.

    Args:
        options: options of the job.
    Returns:
        The record.
    """
    settings = {name: setting_as_json(name, getattr(options, name)) for name in SETTINGS}
    source = None if options.dataset == DEMO else absolute_path(options.root)
    tiers = tuple(tier for tier in options.tiers if tier.partition(":")[0] != SIMILARITY)
    return DatasetRecord(options.dataset, source, settings, tiers, real_path(source))


def setting_as_json(name: str, value: Any) -> Any:
    """JSON value of a setting in a record.

    Args:
        name: one of `SETTINGS`.
        value: its value in the options.
    Returns:
        The value as JSON; a file by its absolute path, since the next job may start in another folder. Splits may be
        the number of published ones.
    """
    if name == "identity":
        return _OLDER_IDENTITIES.get(value, value)
    if name == "splits" and value is not None and value.isdecimal():
        return value
    is_file = name in _PATHS or (name == "weights" and value not in ("auto", "published", "untrained"))
    return absolute_path(value) if is_file else as_json(value)


def apply_record(options: T, record: DatasetRecord | None) -> T:
    """Replace options that were left at their defaults by what the root's record says.

    Args:
        options: options of a job.
        record: record of the job's root; None for a new root.
    Returns:
        The options to work with; options that this function returned before stay as they are.
    """
    if options.settled:
        return options
    default = type(options)(out=options.out)
    recorded = {} if record is None else {**_settings_from_record(record), **_source_from_record(options, record)}
    chosen = {name: value for name, value in recorded.items() if getattr(options, name) == getattr(default, name)}
    options = replace(options, **chosen, settled=True)
    if options.dataset is None and record is None:
        options = replace(options, dataset=DEMO)
    return options if options.tiers else replace(options, tiers=default_tiers(options, record))


def limits_from_record(record: DatasetRecord | None) -> LimitsConfig:
    """Limits that a root's clips were extracted under.

    Args:
        record: record of the root; None for a new root.
    Returns:
        The per-clip resource limits; the defaults where the record names none.
    """
    return from_json(LimitsConfig, {} if record is None else record.settings.get("limits", {}))


def _settings_from_record(record: DatasetRecord) -> dict[str, Any]:
    """Recorded settings as options hold them."""
    settings = dict(record.settings)
    if record.dataset == "folder":  # of a time when images were no clips: the root goes on with its videos
        settings.setdefault("media", "videos")
    if "limits" in settings:
        settings["limits"] = limits_from_record(record)
    if "storage" in settings:
        settings["storage"] = from_json(StorageConfig, settings["storage"])
    return settings


def _source_from_record(options: ExtractOptions, record: DatasetRecord) -> dict[str, Any]:
    """Kind and source; a job that asks for another kind than the root's must give the source itself."""
    if options.dataset not in (None, record.dataset):
        return {}
    return {"dataset": record.dataset, "root": record.source}


def default_tiers(options: ExtractOptions, record: DatasetRecord | None) -> tuple[str, ...]:
    """Tiers that a job works with where its options name none.

    Args:
        options: options of the job.
        record: record of its root; None for a new root.
    Returns:
        The root's tiers, else the paper's; for a model without pretrained scorers, which it sees where its options
        name them, and with `similarity` if one of them is a vector.
    """
    recorded = record.tiers if record else ()
    if options.makes_model:
        recorded = tuple(tier for tier in recorded if tier not in PRETRAINED)
    tiers = recorded or TIERS
    vectors = [tier for tier in tiers if tier != "raw"]
    return (*tiers, SIMILARITY) if options.sees_similarity and vectors else tiers
