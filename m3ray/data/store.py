"""The root: one folder, local or in S3, that everything a job makes lives under. Commits are atomic on both."""

from __future__ import annotations

import hashlib
import json
import os
import uuid
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyarrow import fs as pafs

from m3ray.config import as_json
from m3ray.errors import ConfigError, DecodeError, SchemaError

METADATA_KEY = b"m3ray"
MERGED_ROWS = 50_000


def absolute_uri(uri: str) -> str:
    """`uri` with its scheme, or as an absolute local path: workers run in other folders."""
    return uri if "://" in uri else str(Path(uri).expanduser().absolute())


def filesystem_of(uri: str) -> tuple[pafs.FileSystem, str]:
    """The filesystem of a path or URI, and the path in it.

    Raises:
        ConfigError: the scheme is not served.
    """
    if "://" not in uri:
        return pafs.LocalFileSystem(), str(Path(uri).expanduser().absolute())
    try:
        return pafs.FileSystem.from_uri(uri)
    except (pa.ArrowInvalid, OSError) as error:
        raise ConfigError(f"cannot use {uri!r} ({error}): give a local folder or an s3:// URI") from error


class Root:
    """One root and what is in it.

    Args:
        uri: local folder or `s3://bucket/prefix`.
    """

    def __init__(self, uri: str) -> None:
        self.uri = absolute_uri(uri).rstrip("/")
        self.fs, self.base = filesystem_of(self.uri)

    def __reduce__(self) -> tuple[type[Root], tuple[str]]:
        return Root, (self.uri,)

    def path(self, *parts: str) -> str:
        """The path of `parts` in the root's filesystem."""
        return "/".join((self.base.rstrip("/"), *parts))

    def display(self, *parts: str) -> str:
        """The path of `parts` as a user would type it."""
        return "/".join((self.uri, *parts))

    def exists(self, *parts: str) -> bool:
        return self.fs.get_file_info(self.path(*parts)).type != pafs.FileType.NotFound

    def names(self, *parts: str, suffix: str = "") -> list[str]:
        """The names in a folder, sorted; none where the folder is absent."""
        selector = pafs.FileSelector(self.path(*parts), allow_not_found=True)
        found = (os.path.basename(info.path) for info in self.fs.get_file_info(selector))
        return sorted(name for name in found if name.endswith(suffix) and not name.startswith("."))

    def read_bytes(self, *parts: str) -> bytes:
        with self.fs.open_input_stream(self.path(*parts)) as stream:
            return stream.read()

    def write_bytes(self, data: bytes, *parts: str) -> str:
        """Writes a file whole or not at all: under another name first, then one rename (S3: one upload)."""
        path = self.path(*parts)
        folder, _, name = path.rpartition("/")
        if not isinstance(self.fs, pafs.LocalFileSystem):
            with self.fs.open_output_stream(path) as stream:
                stream.write(data)
            return path
        self.fs.create_dir(folder, recursive=True)
        temporary = f"{folder}/.{name}.{uuid.uuid4().hex}"
        try:
            with self.fs.open_output_stream(temporary) as stream:
                stream.write(data)
            self.fs.move(temporary, path)
        except BaseException:
            with suppress(OSError):
                self.fs.delete_file(temporary)
            raise
        return path

    def delete(self, *parts: str) -> None:
        self.fs.delete_file(self.path(*parts))

    def read_json(self, *parts: str) -> Any:
        return json.loads(self.read_bytes(*parts))

    def write_json(self, value: Any, *parts: str) -> str:
        return self.write_bytes(json.dumps(as_json(value), indent=1).encode() + b"\n", *parts)

    def read_table(self, *parts: str, columns: list[str] | None = None) -> pa.Table:
        with self.fs.open_input_file(self.path(*parts)) as file:
            return pq.read_table(file, columns=columns)

    def write_table(self, table: pa.Table, *parts: str) -> str:
        buffer = pa.BufferOutputStream()
        pq.write_table(table, buffer, compression="zstd")
        return self.write_bytes(buffer.getvalue().to_pybytes(), *parts)

    # Folders of Parquet shards.

    def write_shard(self, table: pa.Table, folder: Sequence[str], metadata: Mapping[str, Any]) -> str:
        """Commits a shard named after the clips in it, so that a retry overwrites itself.

        Args:
            table: rows with `clip_id`.
            folder: parts of the path.
            metadata: goes under the key `m3ray` of the Arrow schema.
        """
        table = table.replace_schema_metadata({METADATA_KEY: json.dumps(as_json(dict(metadata)), sort_keys=True)})
        name = _digest(table["clip_id"].to_pylist())
        return self.write_table(table, *folder, f"part-{name}.parquet")

    def read_shards(self, *folder: str, columns: list[str] | None = None) -> pa.Table | None:
        """All rows of a folder, one a clip, ordered by `clip_id`; None where there is no shard."""
        names = self.names(*folder, suffix=".parquet")
        if not names:
            return None
        tables = [self.read_table(*folder, name, columns=columns) for name in names]
        return _unique(pa.concat_tables(tables, promote_options="default"))

    def ids(self, *folder: str) -> set[str]:
        """The clips that a folder of shards holds."""
        table = self.read_shards(*folder, columns=["clip_id"])
        return set() if table is None else set(table["clip_id"].to_pylist())

    def shard_metadata(self, *folder: str) -> dict[str, Any]:
        """What `write_shard` was told; empty where there is no shard."""
        for name in self.names(*folder, suffix=".parquet")[:1]:
            with self.fs.open_input_file(self.path(*folder, name)) as file:
                return json.loads((pq.read_schema(file).metadata or {}).get(METADATA_KEY, b"{}"))
        return {}

    def merge_shards(self, *folder: str, without: Iterable[str] = ()) -> None:
        """Merges small shards into files of up to `MERGED_ROWS` rows, leaving out the clips `without`.

        New files are written before old ones go, and readers take one row a clip: a crash between loses nothing.
        """
        names = self.names(*folder, suffix=".parquet")
        drop = set(without)
        if len(names) < 2 and not drop:
            return
        table, metadata = self.read_shards(*folder), self.shard_metadata(*folder)
        if table is None:
            return
        if drop:
            table = table.filter(pc.invert(pc.is_in(table["clip_id"], pa.array(sorted(drop), pa.string()))))
        written = {
            os.path.basename(self.write_shard(table.slice(start, MERGED_ROWS), folder, metadata))
            for start in range(0, table.num_rows, MERGED_ROWS)
        }
        for name in set(names) - written:
            self.delete(*folder, name)


def _unique(table: pa.Table) -> pa.Table:
    """One row a clip, ordered by `clip_id`."""
    table = table.sort_by("clip_id")
    ids = table["clip_id"].combine_chunks()
    if len(ids) < 2:
        return table
    fresh = pc.not_equal(ids[1:], ids[:-1])
    return table.filter(pa.concat_arrays([pa.array([True]), fresh]))


def _digest(ids: list[str]) -> str:
    return hashlib.sha256("\n".join(sorted(ids)).encode()).hexdigest()[:16]


def read_video(uri: str, max_bytes: int) -> bytes:
    """The bytes of a video.

    Raises:
        DecodeError: missing, not a regular file, or larger than `max_bytes`.
    """
    fs, path = filesystem_of(uri)
    info = fs.get_file_info(path)
    if info.type == pafs.FileType.NotFound:
        raise DecodeError("missing_file", f"no file at {uri}", stage="read")
    if info.type != pafs.FileType.File:
        raise DecodeError("not_a_file", f"{uri} is a folder or a device, not a file", stage="read")
    if info.size is not None and info.size > max_bytes:
        raise DecodeError("too_many_bytes", f"{info.size} bytes, limit {max_bytes}: raise limits.max-bytes", "read")
    try:
        with fs.open_input_stream(path) as stream:
            return stream.read()
    except OSError as error:
        raise DecodeError("unreadable_file", f"cannot read {uri}: {error}", stage="read") from error


def check_columns(table: pa.Table, expected: Iterable[str], what: str) -> None:
    """Raises SchemaError where `table` lacks a column."""
    missing = [name for name in expected if name not in table.column_names]
    if missing:
        raise SchemaError(f"{what} lacks {', '.join(missing)}; it has {', '.join(table.column_names)}")
