"""The files of a root that are given to others: report, tables, figures, results of studies, configuration."""

from __future__ import annotations

import getpass
import json
import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Literal

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import fs as pafs

from m3ray.errors import ConfigError
from m3ray.reports.packed_page import count_pictures, remove_pictures, shows_frames
from m3ray.storage.dataset_record import DEMO
from m3ray.storage.machine_paths import PathCleaner
from m3ray.storage.parquet_tables import encode_parquet
from m3ray.storage.root import Root
from m3ray.storage.root_record import RECORD_FILE, read_record

FrameChoice = Literal["auto", "keep", "remove"]
_PAGE, _FIGURES = ("report", "index.html"), ("report", "figures")
_RUN_FILES = ("config.json", "summary.json")
_TEXTS = (".html", ".md", ".csv", ".tex", ".svg", ".txt")
_ID = "clip_id"
_MACHINE_KEYS = ("host", "pid")
_COMMON_USERS = ("root", "user", "ray", "ubuntu", "runner", "admin")  # words that stand in sentences, too


@dataclass
class PackedRoot:
    """What is packed of a root, and what became of it.

    Args:
        files: name of each file in the archive to its content.
        frames: number of pictures of clips in the page: those that it has, or had.
        are_frames_kept: whether they are still there.
        replaced: number of different paths of the machine that were replaced.
    """

    files: dict[str, bytes]
    frames: int = 0
    are_frames_kept: bool = False
    replaced: int = 0


@dataclass
class _Packing:
    root: Root
    cleaner: PathCleaner
    keeps_frames: bool
    figures: list[bytes] = field(default_factory=list)


def pack_root(root: Root, frames: FrameChoice = "auto", *, with_features: bool = False) -> PackedRoot:
    """Collect the files of a root that are given to others, without clips, logs, weights and a machine's paths.

    Args:
        root: the root, local or on S3.
        frames: whether the page keeps the small pictures of clips; `auto`: those of the demo alone, which belong to
            nobody.
        with_features: whether the tiers' Parquet files are among them.
    Returns:
        The files.
    Raises:
        ConfigError: If the root holds neither a report nor a study.
    """
    if not root.exists(*_PAGE) and not root.list_names("study"):
        raise ConfigError(
            f"{root.uri or '/'} holds neither a report nor a study: give the root of a job (--out), or a bundle's "
            "folder"
        )
    record = read_record(root)
    keeps = frames == "keep" or (frames == "auto" and record is not None and record.dataset == DEMO)
    packing = _Packing(root, _make_cleaner(root), keeps)
    names = list(_list_files(root, with_features=with_features))
    packing.cleaner.keep_apart(_list_ids(root, names))
    figures = {parts: root.read_bytes(*parts) for parts in _walk(root, *_FIGURES) if not shows_frames(parts[-1])}
    packing.figures = list(figures.values())
    files = {"/".join(parts): _clean(packing, parts) for parts in names}
    if not keeps:
        files = {name: data for name, data in files.items() if not shows_frames(name.rpartition("/")[2])}
    page = root.read_bytes(*_PAGE).decode(errors="replace") if root.exists(*_PAGE) else ""
    return PackedRoot(files, count_pictures(page, packing.figures), keeps, len(packing.cleaner.replaced))


def _make_cleaner(root: Root) -> PathCleaner:
    record = read_record(root)
    sources = [record.source, record.real] if record else []
    known = {root.uri, os.path.realpath(root.uri), *(source for source in sources if source)}
    users = []
    with suppress(OSError, KeyError, ImportError):
        users = [name for name in (getpass.getuser(),) if name not in _COMMON_USERS and len(name) > 2]
    return PathCleaner([path for path in known if len(path) > 2], users)


def _list_ids(root: Root, names: Iterable[tuple[str, ...]]) -> set[str]:
    """Ids of the clips that stand in tables, of which two files of one name must not become one."""
    ids: set[str] = set()
    for parts in names:
        if parts[-1].endswith(".parquet") and _ID in root.read_schema(*parts).names:
            ids |= set(pc.unique(root.read_table(*parts, columns=[_ID])[_ID].cast(pa.string())).to_pylist())
    return ids - {None}


def _list_files(root: Root, *, with_features: bool) -> Iterator[tuple[str, ...]]:
    """Path parts of each file that is packed."""
    yield from _walk(root, "report")
    for folder in [("study",), *(("study", name) for name in _list_folders(root, "study"))]:
        yield from ((*folder, name) for name in _list_plain_files(root, *folder))
    for run in root.list_names("runs"):
        yield from (("runs", run, name) for name in _RUN_FILES if root.exists("runs", run, name))
    yield from ((name,) for name in (RECORD_FILE,) if root.exists(name))
    yield from (("evaluation", name) for name in _list_plain_files(root, "evaluation"))
    if with_features:
        yield from _walk(root, "features")


def _list_kind(root: Root, kind: pafs.FileType, *folder: str) -> list[str]:
    selector = pafs.FileSelector(root.path(*folder), allow_not_found=True)
    return sorted(info.base_name for info in root.fs.get_file_info(selector) if info.type == kind)


def _list_folders(root: Root, *folder: str) -> list[str]:
    return [name for name in _list_kind(root, pafs.FileType.Directory, *folder) if not name.startswith(".")]


def _list_plain_files(root: Root, *folder: str) -> list[str]:
    names = _list_kind(root, pafs.FileType.File, *folder)
    return sorted(name for name in names if name.endswith((".parquet", ".json", *_TEXTS)) and not name.startswith("."))


def _walk(root: Root, *folder: str) -> Iterator[tuple[str, ...]]:
    base = root.path()
    selector = pafs.FileSelector(root.path(*folder), allow_not_found=True, recursive=True)
    for info in sorted(root.fs.get_file_info(selector), key=lambda info: info.path):
        parts = tuple(info.path.removeprefix(base).strip("/").split("/"))
        if info.type == pafs.FileType.File and not any(part.startswith(".") for part in parts):
            yield parts


def _clean(packing: _Packing, parts: tuple[str, ...]) -> bytes:
    """Content of a file without the machine's paths, and a page without frames where they are not kept."""
    name, cleaner = parts[-1], packing.cleaner
    if name.endswith(".parquet"):
        return _clean_parquet(packing, parts)
    data = packing.root.read_bytes(*parts)
    if name.endswith(".json"):
        values = json.loads(data)
        if isinstance(values, dict) and parts[0] == "runs":
            values = {key: value for key, value in values.items() if key not in _MACHINE_KEYS}
        return json.dumps(cleaner.clean_json(values), indent=1).encode() + b"\n"
    if not name.endswith(_TEXTS):
        return data
    text = data.decode(errors="replace")
    if parts == _PAGE and not packing.keeps_frames:
        text = remove_pictures(text, packing.figures)
    return cleaner.clean_text(text).encode()


def _clean_parquet(packing: _Packing, parts: tuple[str, ...]) -> bytes:
    """A table whose texts and metadata have no path; the file as it is where none had any."""
    table, cleaner = packing.root.read_table(*parts), packing.cleaner
    is_changed = False
    for position, column in enumerate(table.schema):
        if not _holds_texts(column.type):
            continue
        values = table[position].to_pylist()
        cleaned = [cleaner.clean_json(value) for value in values]
        if cleaned != values:
            table = table.set_column(position, column, pa.array(cleaned, column.type))
            is_changed = True
    metadata = table.schema.metadata or {}
    own = {key: cleaner.clean_text(value.decode(errors="replace")).encode() for key, value in metadata.items()}
    if own != metadata:
        table, is_changed = table.replace_schema_metadata(own), True
    return encode_parquet(table) if is_changed else packing.root.read_bytes(*parts)


def _holds_texts(kind: pa.DataType) -> bool:
    """Whether a column has texts, in lists, structs and dictionaries too."""
    if pa.types.is_dictionary(kind):
        return _holds_texts(kind.value_type)
    if kind.num_fields:
        return any(_holds_texts(kind.field(position).type) for position in range(kind.num_fields))
    return pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)
