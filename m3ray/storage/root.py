"""The root: one folder, local or in S3, that everything a job makes lives under. Commits are atomic on both."""

from __future__ import annotations

import hashlib
import json
import os
import uuid
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any, TypeVar

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.parquet as pq
from pyarrow import fs as pafs

from m3ray.config import as_json
from m3ray.errors import DamagedFileError
from m3ray.storage.fence import Fence
from m3ray.storage.filesystems import absolute_uri, filesystem_of, one_line, retried
from m3ray.storage.plain_columns import coded_columns

T = TypeVar("T")
METADATA_KEY = b"m3ray"
_READERS = 16
# Shards are ordered by clip, and a reader of some clips reads just their row groups.
_ROW_GROUP_BYTES = 4 << 20
_FEWEST_ROWS = 256


class Root:
    """One root and what is in it.

    Args:
        uri: local folder or `s3://bucket/prefix`.
        fence: of the lock that the job holds: nothing is written or deleted once that is another's. None: no lock.
    """

    def __init__(self, uri: str, fence: Fence | None = None) -> None:
        self.uri = absolute_uri(uri).rstrip("/")
        self.fence = fence
        self.fs, self.base = filesystem_of(self.uri)

    def __reduce__(self) -> tuple[type[Root], tuple[str, Fence | None]]:
        return type(self), (self.uri, self.fence)

    def path(self, *parts: str) -> str:
        """The path of `parts` in the root's filesystem."""
        return "/".join((self.base.rstrip("/"), *parts))

    def display(self, *parts: str) -> str:
        """The path of `parts` as a user would type it."""
        return "/".join((self.uri, *parts))

    def exists(self, *parts: str) -> bool:
        return self._retried(lambda: self.fs.get_file_info(self.path(*parts))).type != pafs.FileType.NotFound

    def _retried(self, call: Callable[[], T]) -> T:
        return retried(call, self.fs)

    def names(self, *parts: str, suffix: str = "") -> list[str]:
        """The names in a folder, sorted; none where the folder is absent."""
        return sorted(self.sizes(*parts, suffix=suffix))

    def sizes(self, *parts: str, suffix: str = "") -> dict[str, int]:
        """Name to bytes of what is in a folder; folders have none (0)."""
        selector = pafs.FileSelector(self.path(*parts), allow_not_found=True)
        infos = self._retried(lambda: self.fs.get_file_info(selector))
        found = {os.path.basename(info.path): info.size or 0 for info in infos}
        return {name: size for name, size in found.items() if name.endswith(suffix) and not name.startswith(".")}

    def read_bytes(self, *parts: str) -> bytes:
        def read() -> bytes:
            with self.fs.open_input_stream(self.path(*parts)) as stream:
                return stream.read()

        return self._retried(read)

    def write_bytes(self, data: bytes, *parts: str) -> str:
        """Writes a file whole or not at all: under another name first, then one rename (S3: one upload)."""
        self._check_fence()
        path = self.path(*parts)
        folder, _, name = path.rpartition("/")
        if not isinstance(self.fs, pafs.LocalFileSystem):
            self._retried(lambda: self._upload(data, path))
            return path
        self.fs.create_dir(folder, recursive=True)
        temporary = f"{folder}/.{name}.{uuid.uuid4().hex}"
        try:
            with self.fs.open_output_stream(temporary) as stream:
                stream.write(data)
            self._check_fence()
            self.fs.move(temporary, path)
        except BaseException:
            with suppress(OSError):
                self.fs.delete_file(temporary)
            raise
        return path

    def _upload(self, data: bytes, path: str) -> None:
        """S3 shows an object when its upload is complete, never a part of it."""
        self._check_fence()
        with self.fs.open_output_stream(path) as stream:
            stream.write(data)

    def below(self, *parts: str) -> Root:
        """A root of its own below this one, under the same lock."""
        return type(self)(self.display(*parts), self.fence)

    def _check_fence(self) -> None:
        """Returns where the job's lock still stands.

        Raises:
            LostLockError: it is another's by now.
        """
        if self.fence is not None:
            self.fence.check()

    def delete(self, *parts: str) -> None:
        self._delete(self.fs.delete_file, self.path(*parts))

    def delete_folder(self, *parts: str) -> None:
        """Deletes a folder and all in it, if it is there."""
        if self.exists(*parts):
            self._delete(self.fs.delete_dir, self.path(*parts))

    def _delete(self, delete: Callable[[str], None], path: str) -> None:
        tries = 0

        def attempt() -> None:
            nonlocal tries
            self._check_fence()
            tries += 1
            try:
                delete(path)
            except FileNotFoundError:
                if tries == 1:  # else the try before did delete it, and its answer was lost
                    raise

        self._retried(attempt)

    def read_json(self, *parts: str) -> Any:
        """A JSON file.

        Raises:
            DamagedFileError: it is none.
        """
        data = self.read_bytes(*parts)
        try:
            return json.loads(data)
        except (ValueError, RecursionError) as error:
            raise damaged(self.display(*parts), error) from error

    def write_json(self, value: Any, *parts: str) -> str:
        return self.write_bytes(json.dumps(as_json(value), indent=1).encode() + b"\n", *parts)

    def read_table(self, *parts: str, columns: list[str] | None = None) -> pa.Table:
        """A Parquet file.

        Raises:
            DamagedFileError: it is none.
        """
        table = self.read_parquet(parts, lambda file: pq.read_table(file, columns=columns))
        _check_plain(table.schema, self.display(*parts))
        return table

    def read_schema(self, *parts: str) -> pa.Schema:
        """The columns of a Parquet file and what stands beside them, as `read_table`."""
        schema = self.read_parquet(parts, pq.read_schema)
        _check_plain(schema, self.display(*parts))
        return schema

    def read_parquet(self, parts: Sequence[str], read: Callable[[Any], T]) -> T:
        """What `read` makes of an open Parquet file.

        Raises:
            DamagedFileError: it is none.
        """

        def opened() -> T:
            with self.fs.open_input_file(self.path(*parts)) as file:
                return read(file)

        try:
            return self._retried(opened)
        except (pa.ArrowInvalid, OSError) as error:
            if not _says_damage(error):
                raise
            raise damaged(self.display(*parts), error) from error

    def write_table(self, table: pa.Table, *parts: str) -> str:
        buffer = pa.BufferOutputStream()
        rows = max(_FEWEST_ROWS, table.num_rows * _ROW_GROUP_BYTES // max(1, table.nbytes))
        pq.write_table(table, buffer, compression="zstd", row_group_size=rows)
        return self.write_bytes(buffer.getvalue().to_pybytes(), *parts)

    # Folders of Parquet shards.

    def write_shard(self, table: pa.Table, folder: Sequence[str], metadata: Mapping[str, Any]) -> str:
        """Commits a shard named after the clips in it, so that a retry overwrites itself; ordered by `clip_id`.

        Args:
            table: rows with `clip_id`.
            folder: parts of the path.
            metadata: goes under the key `m3ray` of the Arrow schema.
        """
        table = table.sort_by("clip_id").replace_schema_metadata(
            {METADATA_KEY: json.dumps(as_json(dict(metadata)), sort_keys=True)}
        )
        return self.write_table(table, *folder, f"part-{_digest(table['clip_id'])}.parquet")

    def read_shards(self, *folder: str, columns: list[str] | None = None) -> pa.Table | None:
        """All rows of a folder, one a clip, ordered by `clip_id`; None where there is no shard."""
        tables = [self.read_table(*folder, name, columns=columns) for name in self.names(*folder, suffix=".parquet")]
        return one_row_a_clip(pa.concat_tables(tables, promote_options="default")) if tables else None

    def shards(self, *folder: str) -> ds.Dataset:
        """A folder of shards to read in parts, by `read_range`."""
        paths = [self.path(*folder, name) for name in self.names(*folder, suffix=".parquet")]
        shards = ds.dataset(paths, filesystem=self.fs, format="parquet")
        _check_plain(shards.schema, self.display(*folder))
        return shards

    def ids(self, *folder: str) -> pa.ChunkedArray:
        """The clips that a folder of shards holds, as strings; after a retry one may stand there twice."""
        shards = self.ids_by_shard(*folder).values()
        return pa.chunked_array([chunk for ids in shards for chunk in ids.chunks], pa.string())

    def ids_by_shard(self, *folder: str) -> dict[str, pa.ChunkedArray]:
        """Name of each shard to the clips in it."""
        names = self.names(*folder, suffix=".parquet")
        # In parallel: a folder in S3 holds hundreds of files, each a round trip or two.
        with ThreadPoolExecutor(_READERS) as pool:
            tables = pool.map(lambda name: self.read_table(*folder, name, columns=["clip_id"]), names)
            return {name: table["clip_id"].cast(pa.string()) for name, table in zip(names, tables, strict=True)}

    def shard_metadata(self, *folder: str) -> dict[str, Any]:
        """What `write_shard` was told; empty where there is no shard."""
        for name in self.names(*folder, suffix=".parquet")[:1]:
            return self.metadata(*folder, name)
        return {}

    def metadata(self, *parts: str) -> dict[str, Any]:
        """What stands under the key `m3ray` of a Parquet file; empty where nothing does."""
        return metadata_of(self.read_schema(*parts))


def metadata_of(schema: pa.Schema) -> dict[str, Any]:
    """What stands under the key `m3ray` of a table's schema; empty where nothing does."""
    found = json.loads((schema.metadata or {}).get(METADATA_KEY, b"{}"))
    return found if isinstance(found, dict) else {}


def damaged(where: str, error: BaseException) -> DamagedFileError:
    """What to say of a file that m3ray wrote and that cannot be read."""
    return DamagedFileError(
        f"{where} is damaged or cut short ({one_line(error)[:200]}): delete it and run the job that makes it again"
    )


def _check_plain(schema: pa.Schema, where: str) -> None:
    """m3ray writes no column whose values are made by code: one that has such was written by somebody else."""
    if coded := coded_columns(schema):
        raise DamagedFileError(
            f"{where}: the values of {', '.join(coded)} are made by running code (pickles), so they are not read: it "
            "is none of m3ray's; delete it and run the job that makes it again"
        )


def _says_damage(error: Exception) -> bool:
    """Arrow's own complaints of a file's content have no errno; the disk's have one, and S3's name themselves."""
    return not isinstance(error, OSError) or (error.errno is None and "AWS Error" not in str(error))


def read_range(shards: ds.Dataset, first: str, last: str) -> pa.Table:
    """The clips of `shards` from `first` to `last`, both included, one row each, in order."""
    inside = (ds.field("clip_id") >= first) & (ds.field("clip_id") <= last)
    return one_row_a_clip(shards.to_table(filter=inside))


def one_row_a_clip(table: pa.Table) -> pa.Table:
    """`table` ordered by `clip_id`, the first row of each."""
    table = table.sort_by("clip_id")
    ids = table["clip_id"]
    if len(ids) < 2:
        return table
    fresh = pc.not_equal(ids[1:], ids[:-1])
    return table.filter(pa.chunked_array([pa.array([True]), *fresh.chunks]))


def _digest(ids: pa.ChunkedArray) -> str:
    return hashlib.sha256("\n".join(sorted(ids.to_pylist())).encode()).hexdigest()[:16]
