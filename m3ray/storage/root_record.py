"""The data set's record in a root: read, written, or inferred where the root is older than records.

Another data set than the root's is rejected here.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from m3ray.config.options import ExtractOptions
from m3ray.errors import ConfigError, DamagedFileError
from m3ray.schema import SIMILARITY
from m3ray.storage.catalogue_file import has_catalogue, read_catalogue
from m3ray.storage.dataset_record import DEMO, SETTINGS, DatasetRecord, absolute_path, make_record, setting_as_json
from m3ray.storage.filesystems import is_local
from m3ray.storage.root import Root

RECORD_FILE = "dataset.json"
FORMAT = 1
# The kinds of the demo's clips, those of older demos first.
_KINDS = "drifting|spinning|bouncing|pulsing|flickering|swarming|stripes|bars|checks|rings|spots|waves"
_DEMO_CLIP = re.compile(rf"(?:{_KINDS})_(\d+)_\d{{4}}\.mp4")
_LISTING_JOBS = ("extract", "train", "reproduce")


def read_record(root: Root) -> DatasetRecord | None:
    """Read the record of a root's data set, or infer it from the other files of an older root.

    Args:
        root: root of a job.
    Returns:
        The record; None for a new root.
    Raises:
        ConfigError: If `dataset.json` was not written by m3ray.
        DamagedFileError: If it, or the catalogue, cannot be read.
    """
    if not root.exists(RECORD_FILE):
        return _infer_from_catalogue(root) if has_catalogue(root) else _infer_from_runs(root)
    values = root.read_json(RECORD_FILE)
    if not is_record(values):
        raise ConfigError(f"{root.display(RECORD_FILE)} is not m3ray's: move it away, or give another --out")
    return _parse_record(values)


def group_column(root: Root) -> str | None:
    """Find the column of the catalogue that says which clips are of one source, as `--group` named it.

    Args:
        root: root of a job.
    Returns:
        Its name; None where none was named, or the root is older than the option.
    Raises:
        ConfigError: If `dataset.json` was not written by m3ray.
        DamagedFileError: If it, or the catalogue, cannot be read.
    """
    record = read_record(root)
    return None if record is None else record.settings.get("group")


def is_record(value: Any) -> bool:
    """Tell whether a JSON value is the record of a root's data set.

    Args:
        value: what a file named `dataset.json` holds.
    Returns:
        Whether m3ray wrote it.
    """
    return isinstance(value, dict) and "m3ray" in value and isinstance(value.get("settings"), dict)


def write_record(root: Root, record: DatasetRecord) -> None:
    """Write the record of a root's data set; tiers of the earlier record stay in it.

    Args:
        root: root of a job.
        record: the new record.
    """
    earlier = read_record(root)
    tiers = tuple(dict.fromkeys([*(earlier.tiers if earlier else ()), *record.tiers]))
    values = {f.name: getattr(record, f.name) for f in fields(DatasetRecord) if f.name != "certain"}
    root.write_json({"m3ray": FORMAT, **values, "tiers": tiers}, RECORD_FILE)


def _parse_record(values: Mapping[str, Any]) -> DatasetRecord:
    settings = {name: setting_as_json(name, value) for name, value in values["settings"].items() if name in SETTINGS}
    tiers = tuple(values.get("tiers", ()))
    return DatasetRecord(values.get("dataset"), values.get("source"), settings, tiers, values.get("real"))


def check_source(root: Root, record: DatasetRecord | None, options: ExtractOptions) -> None:
    """Check that a job does not ask for another data set than the root holds.

    Args:
        root: root of the job.
        record: record of the root; None for a new root.
        options: options of the job, as `apply_record` returns them.
    Raises:
        ConfigError: If it does; the message names both.
    """
    requested = make_record(options)
    if record is not None and not _may_be_same(record, requested, moved=options.dataset_moved):
        way_out = "give this one another --out"
        if DEMO not in (record.dataset, requested.dataset):
            way_out += ", or say --dataset-moved if it is that very data set at another place"
        raise ConfigError(
            f"{_describe_root(root, record)}; asked for is another data set, {requested.describe()}: {way_out}"
        )


def check_same_clips(root: Root, record: DatasetRecord | None, options: ExtractOptions, clips: pa.Table) -> None:
    """Check that a job's clips are those of the root, all of which it would otherwise replace.

    They are others if the two share no id, or if most of the ids that they share belong to files of other names.

    Args:
        root: root of the job.
        record: record of the root; None for a new root.
        options: options of the job, as `apply_record` returns them.
        clips: `clip_id` and `uri` of the job's clips.
    Raises:
        ConfigError: If they are others.
    """
    current = _read_clips(root)
    if record is None or not current.num_rows:
        return
    count = pc.sum(pc.is_in(clips["clip_id"].cast(pa.string()), value_set=current["clip_id"])).as_py() or 0
    same = count - len(find_renamed_ids(root, clips))
    # The files of the same data set may have been renamed since.
    is_same_source = record.certain and record.is_of(make_record(options))
    if count and (is_same_source or 2 * same >= count):
        return
    share = f"{same} of them are" if count else "none of them is"
    raise ConfigError(
        f"{_describe_root(root, record)}; {share} among the {clips.num_rows} clips of "
        f"{make_record(options).describe()}: give this one another --out, or the clips their earlier clip_id"
    )


def find_renamed_ids(root: Root, clips: pa.Table) -> pa.ChunkedArray:
    """Find the clips whose file has another name than in the root's catalogue.

    Args:
        root: root of a job.
        clips: `clip_id` and `uri` of the job's clips.
    Returns:
        Their clip ids.
    """
    current = _read_clips(root)
    rows = pc.index_in(clips["clip_id"].cast(pa.string()), value_set=current["clip_id"])
    shared = clips.filter(pc.is_valid(rows))
    same = pc.equal(_file_names(shared["uri"]), _file_names(current["uri"].take(rows.drop_null())))
    return shared["clip_id"].filter(pc.invert(pc.fill_null(same, True)))


def _file_names(uris: pa.ChunkedArray) -> pa.ChunkedArray:
    """Last part of each URI, which stays when a data set moves."""
    return pc.replace_substring_regex(uris.cast(pa.string()), r"^.*/", "")


def _describe_root(root: Root, record: DatasetRecord) -> str:
    return f"{root.uri} holds {record.describe()}, {_read_clips(root).num_rows} clips"


def _read_clips(root: Root) -> pa.Table:
    if not has_catalogue(root):
        return pa.table({"clip_id": pa.array([], pa.string()), "uri": pa.array([], pa.string())})
    return read_catalogue(root, ["clip_id", "uri"])


def _may_be_same(record: DatasetRecord, requested: DatasetRecord, *, moved: bool) -> bool:
    """Whether a job may ask for the data set that the root holds; whether they share clips is checked apart."""
    if DEMO in (record.dataset, requested.dataset):
        return record.is_of(requested)
    if moved or None in (record.dataset, requested.dataset):
        return True
    return record.is_of(requested) if record.certain else record.dataset == requested.dataset


def _infer_from_catalogue(root: Root) -> DatasetRecord:
    """Infer the record of a root that is older than records."""
    clips = read_catalogue(root, ["clip_id", "uri"])
    for options in _read_earlier_options(root):
        if (options.get("dataset") == DEMO) == (_demo_seed(clips) is not None):
            return _record_of_options(options)
    seed = _demo_seed(clips)
    return DatasetRecord(None) if seed is None else DatasetRecord(DEMO, settings={"seed": seed})


def _infer_from_runs(root: Root) -> DatasetRecord | None:
    """Infer the record of a root whose catalogue somebody deleted; None if nothing was computed in it."""
    if not any(root.list_names(folder) for folder in ("features", "models", "study")):
        return None
    return next((_record_of_options(options) for options in _read_earlier_options(root)), DatasetRecord(None))


def _demo_seed(clips: Any) -> int | None:
    """Seed of the demo, if the catalogue lists the demo's clips."""
    first = clips.slice(0, 1).to_pylist()
    match = _DEMO_CLIP.fullmatch(first[0]["clip_id"]) if first else None
    return int(match[1]) if match and first[0]["uri"].endswith(f"/{DEMO}/{first[0]['clip_id']}") else None


def _read_earlier_options(root: Root) -> list[dict[str, Any]]:
    """Read the options of the jobs that wrote the catalogue, the newest first."""
    earlier = []
    for run in reversed(root.list_names("runs")):
        if not root.exists("runs", run, "summary.json") or not root.exists("runs", run, "config.json"):
            continue
        try:
            summary, config = root.read_json("runs", run, "summary.json"), root.read_json("runs", run, "config.json")
            if summary["job"] in _LISTING_JOBS and summary["status"] in ("success", "partial"):
                earlier.append(config["options"])
        except (DamagedFileError, KeyError, TypeError):
            continue
    return [options for options in earlier if not options.get("dry_run")]


def _record_of_options(options: Mapping[str, Any]) -> DatasetRecord:
    source = options.get("root")
    settings = {name: setting_as_json(name, options[name]) for name in SETTINGS if name in options}
    tiers = tuple(tier for tier in options.get("tiers", ()) if tier != SIMILARITY)
    # A relative path began in the folder where that job was started, which nobody kept.
    certain = source is None or not is_local(source) or os.path.isabs(source)
    return DatasetRecord(options["dataset"], absolute_path(source), settings, tiers, certain=certain)
