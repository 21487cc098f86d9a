"""The record that a root keeps of its data set: read, written, or guessed where the root is older than records.

Another data set than the root's is refused here.
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
from m3ray.schema import CATALOGUE_FILE, SIMILARITY
from m3ray.storage.dataset_record import DEMO, SETTINGS, Record, absolute_path, kept, record_of
from m3ray.storage.filesystems import is_local
from m3ray.storage.root import Root

NAME = "dataset.json"
FORMAT = 1
_DEMO_CLIP = re.compile(r"(?:drifting|spinning|bouncing|pulsing|flickering|swarming)_(\d+)_\d{4}\.mp4")
_LISTING_JOBS = ("extract", "train", "reproduce")


def read_record(root: Root) -> Record | None:
    """What a root holds; of a root from before records were kept, as far as its files tell. None: nothing yet.

    Raises:
        ConfigError: `dataset.json` is somebody else's.
        DamagedFileError: it, or the catalogue, cannot be read.
    """
    if not root.exists(NAME):
        return _inferred(root) if root.exists(CATALOGUE_FILE) else _without_catalogue(root)
    found = root.read_json(NAME)
    if not is_record(found):
        raise ConfigError(f"{root.display(NAME)} is not m3ray's: move it away, or give another --out")
    return _parsed(found)


def is_record(found: Any) -> bool:
    """Whether a JSON value is a root's record."""
    return isinstance(found, dict) and "m3ray" in found and isinstance(found.get("settings"), dict)


def write_record(root: Root, record: Record) -> None:
    """Keeps a root's record; tiers that were asked for earlier stay in it."""
    earlier = read_record(root)
    tiers = tuple(dict.fromkeys([*(earlier.tiers if earlier else ()), *record.tiers]))
    known = {f.name: getattr(record, f.name) for f in fields(Record) if f.name != "certain"}
    root.write_json({"m3ray": FORMAT, **known, "tiers": tiers}, NAME)


def _parsed(found: Mapping[str, Any]) -> Record:
    settings = {name: kept(name, value) for name, value in found["settings"].items() if name in SETTINGS}
    return Record(found.get("dataset"), found.get("source"), settings, tuple(found.get("tiers", ())), found.get("real"))


def check_source(root: Root, record: Record | None, options: ExtractOptions) -> None:
    """Raises ConfigError where another data set is asked for than the root holds; both are named.

    Args:
        record: what the root holds; None: nothing yet.
        options: what is asked for, settled.
    """
    asked = record_of(options)
    if record is not None and not _may_be(record, asked, moved=options.dataset_moved):
        way_out = "give this one another --out"
        if DEMO not in (record.dataset, asked.dataset):
            way_out += ", or say --dataset-moved if it is that very data set at another place"
        raise ConfigError(f"{_holds(root, record)}; asked for is another data set, {asked.words()}: {way_out}")


def check_shared(root: Root, record: Record | None, options: ExtractOptions, clips: pa.Table) -> None:
    """Raises ConfigError where the clips asked for are other ones than the root's, which would all be replaced.

    They are where the two share no id, or where most of the ids that they share name files of other names.

    Args:
        clips: asked for, with `clip_id, uri`.
    """
    known = _clips(root)
    if record is None or not known.num_rows:
        return
    count = pc.sum(pc.is_in(clips["clip_id"].cast(pa.string()), value_set=known["clip_id"])).as_py() or 0
    alike = count - len(renamed_ids(root, clips))
    # Of the very data set the files may have been found under other names since.
    known_source = record.certain and record.is_of(record_of(options))
    if count and (known_source or 2 * alike >= count):
        return
    words = f"{alike} of them are" if count else "none of them is"
    raise ConfigError(
        f"{_holds(root, record)}; {words} among the {clips.num_rows} clips of {record_of(options).words()}: give this "
        "one another --out, or the clips their earlier clip_id"
    )


def renamed_ids(root: Root, clips: pa.Table) -> pa.ChunkedArray:
    """The clips that name a file of another name than the root's catalogue does."""
    known = _clips(root)
    at = pc.index_in(clips["clip_id"].cast(pa.string()), value_set=known["clip_id"])
    shared = clips.filter(pc.is_valid(at))
    same = pc.equal(_file_names(shared["uri"]), _file_names(known["uri"].take(at.drop_null())))
    return shared["clip_id"].filter(pc.invert(pc.fill_null(same, True)))


def _file_names(uris: pa.ChunkedArray) -> pa.ChunkedArray:
    """The last part of each URI: what stays when a data set moves."""
    return pc.replace_substring_regex(uris.cast(pa.string()), r"^.*/", "")


def _holds(root: Root, record: Record) -> str:
    return f"{root.uri} holds {record.words()}, {_clips(root).num_rows} clips"


def _clips(root: Root) -> pa.Table:
    if not root.exists(CATALOGUE_FILE):
        return pa.table({"clip_id": pa.array([], pa.string()), "uri": pa.array([], pa.string())})
    return root.read_table(CATALOGUE_FILE, columns=["clip_id", "uri"])


def _may_be(record: Record, asked: Record, *, moved: bool) -> bool:
    """Whether what is asked for may be what the root holds; whether they share a clip is another question."""
    if DEMO in (record.dataset, asked.dataset):
        return record.is_of(asked)
    if moved or None in (record.dataset, asked.dataset):
        return True
    return record.is_of(asked) if record.certain else record.dataset == asked.dataset


def _inferred(root: Root) -> Record:
    """The record of a root from before there were records."""
    clips = root.read_table(CATALOGUE_FILE, columns=["clip_id", "uri"])
    for options in _earlier_options(root):
        if (options.get("dataset") == DEMO) == (_demo_seed(clips) is not None):
            return _of_earlier(options)
    seed = _demo_seed(clips)
    return Record(None) if seed is None else Record(DEMO, settings={"seed": seed})


def _without_catalogue(root: Root) -> Record | None:
    """What the runs say of a root whose catalogue somebody deleted; None where nothing was computed in it."""
    if not any(root.names(folder) for folder in ("features", "models", "study")):
        return None
    return next((_of_earlier(options) for options in _earlier_options(root)), Record(None))


def _demo_seed(clips: Any) -> int | None:
    """The seed of the demo, if its clips are what the catalogue lists."""
    first = clips.slice(0, 1).to_pylist()
    match = _DEMO_CLIP.fullmatch(first[0]["clip_id"]) if first else None
    return int(match[1]) if match and first[0]["uri"].endswith(f"/{DEMO}/{first[0]['clip_id']}") else None


def _earlier_options(root: Root) -> list[dict[str, Any]]:
    """The options of the jobs that wrote the catalogue, the newest first."""
    found = []
    for run in reversed(root.names("runs")):
        if not root.exists("runs", run, "summary.json") or not root.exists("runs", run, "config.json"):
            continue
        try:
            summary, config = root.read_json("runs", run, "summary.json"), root.read_json("runs", run, "config.json")
            if summary["job"] in _LISTING_JOBS and summary["status"] in ("success", "partial"):
                found.append(config["options"])
        except (DamagedFileError, KeyError, TypeError):
            continue
    return [options for options in found if not options.get("dry_run")]


def _of_earlier(options: Mapping[str, Any]) -> Record:
    source = options.get("root")
    known = {name: options[name] for name in SETTINGS if name in options}
    settings = {name: kept(name, value) for name, value in known.items()}
    tiers = tuple(tier for tier in options.get("tiers", ()) if tier != SIMILARITY)
    # A relative path was meant from where that job was started, which nobody kept.
    certain = source is None or not is_local(source) or os.path.isabs(source)
    return Record(options["dataset"], absolute_path(source), settings, tiers, certain=certain)
