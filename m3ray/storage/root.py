"""The root: one folder, local or in S3, that holds everything a job makes. Commits are atomic on both."""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import fs as pafs

from m3ray.config import as_json
from m3ray.storage.fence import Fence
from m3ray.storage.filesystems import absolute_uri, open_filesystem, retry_transient
from m3ray.storage.parquet_tables import (
    METADATA_KEY,
    check_not_pickled,
    drop_repeated_clips,
    encode_parquet,
    file_damage_error,
    is_damage,
    m3ray_metadata,
    open_dataset,
    shard_name,
)

if TYPE_CHECKING:
    import pyarrow.dataset as ds

T = TypeVar("T")
_READERS = 16


class Root:
    """One root, and the reading and writing of what is in it.

    Args:
        uri: local folder or `s3://bucket/prefix`.
        fence: fencing token of the lock that the job holds: once another job holds the lock, nothing is written or
            deleted any more. None for a root without a lock.
    """

    def __init__(self, uri: str, fence: Fence | None = None) -> None:
        self.uri = absolute_uri(uri).rstrip("/")
        self.fence = fence
        self.fs, self.base = open_filesystem(self.uri)

    def __reduce__(self) -> tuple[type[Root], tuple[str, Fence | None]]:
        return type(self), (self.uri, self.fence)

    def path(self, *parts: str) -> str:
        """Path below the root, as the root's filesystem takes it.

        Args:
            *parts: names of folders and of the file.
        Returns:
            The path with `/` between its parts.
        """
        return "/".join((self.base.rstrip("/"), *parts))

    def display(self, *parts: str) -> str:
        """Path or URI below the root, as a user would type it.

        Args:
            *parts: names of folders and of the file.
        Returns:
            The root's own path or URI with the parts behind it.
        """
        return "/".join((self.uri, *parts))

    def exists(self, *parts: str) -> bool:
        """Tell whether a file or folder exists.

        Args:
            *parts: its path below the root.
        Returns:
            Whether it exists.
        """
        return self._retry(lambda: self.fs.get_file_info(self.path(*parts))).type != pafs.FileType.NotFound

    def _retry(self, call: Callable[[], T]) -> T:
        return retry_transient(call, self.fs)

    def list_names(self, *parts: str, suffix: str = "") -> list[str]:
        """List the names in a folder.

        Args:
            *parts: path of the folder.
            suffix: ending that the names must have.
        Returns:
            The names, sorted, without hidden ones; empty where the folder does not exist.
        """
        return sorted(self.list_sizes(*parts, suffix=suffix))

    def list_sizes(self, *parts: str, suffix: str = "") -> dict[str, int]:
        """List the names in a folder with their sizes.

        Args:
            *parts: path of the folder.
            suffix: ending that the names must have.
        Returns:
            Each name to the file's size in bytes, 0 for a folder; hidden ones are left out.
        """
        selector = pafs.FileSelector(self.path(*parts), allow_not_found=True)
        infos = self._retry(lambda: self.fs.get_file_info(selector))
        sizes = {os.path.basename(info.path): info.size or 0 for info in infos}
        return {name: size for name, size in sizes.items() if name.endswith(suffix) and not name.startswith(".")}

    def read_bytes(self, *parts: str) -> bytes:
        """Read a file.

        Args:
            *parts: path of the file.
        Returns:
            Its bytes.
        Raises:
            FileNotFoundError: If it does not exist.
            OSError: If the storage failed.
        """

        def read() -> bytes:
            with self.fs.open_input_stream(self.path(*parts)) as stream:
                return stream.read()

        return self._retry(read)

    def write_bytes(self, data: bytes, *parts: str) -> str:
        """Write a file atomically: locally under a temporary name and then by rename, in S3 by one upload.

        Args:
            data: bytes to write.
            *parts: path of the file.
        Returns:
            The path in the root's filesystem.
        Raises:
            LostLockError: If another job holds the root's lock.
            OSError: If the storage failed.
        """
        self._check_fence()
        path = self.path(*parts)
        folder, _, name = path.rpartition("/")
        if not isinstance(self.fs, pafs.LocalFileSystem):
            self._retry(lambda: self._upload(data, path))
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
        """Upload an object, which S3 shows only once the upload is complete."""
        self._check_fence()
        with self.fs.open_output_stream(path) as stream:
            stream.write(data)

    def subroot(self, *parts: str) -> Root:
        """Make a root below this one, under the same lock.

        Args:
            *parts: path of the folder.
        Returns:
            The root of that folder.
        """
        return type(self)(self.display(*parts), self.fence)

    def _check_fence(self) -> None:
        """Check that the job still holds its lock.

        Raises:
            LostLockError: If another job holds it.
        """
        if self.fence is not None:
            self.fence.check()

    def delete(self, *parts: str) -> None:
        """Delete a file.

        Args:
            *parts: path of the file.
        Raises:
            FileNotFoundError: If it does not exist.
            LostLockError: If another job holds the root's lock.
        """
        self._delete(self.fs.delete_file, self.path(*parts))

    def delete_folder(self, *parts: str) -> None:
        """Delete a folder and everything in it, if it exists.

        Args:
            *parts: path of the folder.
        """
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
                if tries == 1:  # else the earlier try deleted it, and only its answer was lost
                    raise

        self._retry(attempt)

    def read_json(self, *parts: str) -> Any:
        """Read a JSON file.

        Args:
            *parts: path of the file.
        Returns:
            The value in it.
        Raises:
            DamagedFileError: If it is no JSON.
        """
        data = self.read_bytes(*parts)
        try:
            return json.loads(data)
        except (ValueError, RecursionError) as error:
            raise file_damage_error(self.display(*parts), error) from error

    def write_json(self, value: Any, *parts: str) -> str:
        """Write a JSON file.

        Args:
            value: JSON values, or dataclasses of them.
            *parts: path of the file.
        Returns:
            The path in the root's filesystem.
        """
        return self.write_bytes(json.dumps(as_json(value), indent=1).encode() + b"\n", *parts)

    def read_table(self, *parts: str, columns: list[str] | None = None) -> pa.Table:
        """Read a Parquet file.

        Args:
            *parts: path of the file.
            columns: names of the columns to read; None for all.
        Returns:
            The table.
        Raises:
            DamagedFileError: If it is no Parquet, or has a column whose values are pickles.
        """
        table = self.read_parquet(parts, lambda file: pq.read_table(file, columns=columns))
        check_not_pickled(table.schema, self.display(*parts))
        return table

    def read_schema(self, *parts: str) -> pa.Schema:
        """Read the schema of a Parquet file.

        Args:
            *parts: path of the file.
        Returns:
            The schema with its metadata.
        Raises:
            DamagedFileError: If it is no Parquet, or has a column whose values are pickles.
        """
        schema = self.read_parquet(parts, pq.read_schema)
        check_not_pickled(schema, self.display(*parts))
        return schema

    def read_parquet(self, parts: Sequence[str], read: Callable[[Any], T]) -> T:
        """Read something out of a Parquet file.

        Args:
            parts: path of the file.
            read: called with the open file.
        Returns:
            What `read` returned.
        Raises:
            DamagedFileError: If it is no Parquet.
        """

        def open_and_read() -> T:
            with self.fs.open_input_file(self.path(*parts)) as file:
                return read(file)

        try:
            return self._retry(open_and_read)
        except (pa.ArrowInvalid, OSError) as error:
            if not is_damage(error):
                raise
            raise file_damage_error(self.display(*parts), error) from error

    def write_table(self, table: pa.Table, *parts: str) -> str:
        """Write a Parquet file.

        Args:
            table: rows to write.
            *parts: path of the file.
        Returns:
            The path in the root's filesystem.
        """
        return self.write_bytes(encode_parquet(table), *parts)

    # Folders of Parquet shards.

    def write_shard(self, table: pa.Table, folder: Sequence[str], metadata: Mapping[str, Any]) -> str:
        """Commit a shard, ordered by `clip_id` and named after its clips, so that a retry overwrites itself.

        Args:
            table: rows with `clip_id`.
            folder: path of the folder.
            metadata: JSON values to put under the key `m3ray` of the Arrow schema.
        Returns:
            The path in the root's filesystem.
        """
        table = table.sort_by("clip_id").replace_schema_metadata(
            {METADATA_KEY: json.dumps(as_json(dict(metadata)), sort_keys=True)}
        )
        return self.write_table(table, *folder, shard_name(table["clip_id"]))

    def read_shards(self, *folder: str, columns: list[str] | None = None) -> pa.Table | None:
        """Read all rows of a folder of shards.

        Args:
            *folder: path of the folder.
            columns: names of the columns to read, `clip_id` among them; None for all.
        Returns:
            One row a clip, ordered by `clip_id`; None where there is no shard.
        """
        names = self.list_names(*folder, suffix=".parquet")
        tables = [self.read_table(*folder, name, columns=columns) for name in names]
        return drop_repeated_clips(pa.concat_tables(tables, promote_options="default")) if tables else None

    def open_shards(self, *folder: str) -> ds.Dataset:
        """Open a folder of shards to read it in parts.

        Args:
            *folder: path of the folder.
        Returns:
            The dataset, for `read_range`.
        """
        paths = [self.path(*folder, name) for name in self.list_names(*folder, suffix=".parquet")]
        return open_dataset(paths, self.fs, self.display(*folder))

    def read_ids(self, *folder: str) -> pa.ChunkedArray:
        """Read which clips a folder of shards holds.

        Args:
            *folder: path of the folder.
        Returns:
            Clip ids as strings; after a retry one may be there twice.
        """
        shards = self.read_ids_by_shard(*folder).values()
        return pa.chunked_array([chunk for ids in shards for chunk in ids.chunks], pa.string())

    def read_ids_by_shard(self, *folder: str) -> dict[str, pa.ChunkedArray]:
        """Read which clips each shard of a folder holds.

        Args:
            *folder: path of the folder.
        Returns:
            File name of each shard to the ids of its clips.
        """
        names = self.list_names(*folder, suffix=".parquet")
        # In parallel: a folder in S3 holds hundreds of files, each a round trip or two.
        with ThreadPoolExecutor(_READERS) as pool:
            tables = pool.map(lambda name: self.read_table(*folder, name, columns=["clip_id"]), names)
            return {name: table["clip_id"].cast(pa.string()) for name, table in zip(names, tables, strict=True)}

    def read_shard_metadata(self, *folder: str) -> dict[str, Any]:
        """Read the metadata that `write_shard` was given.

        Args:
            *folder: path of the folder.
        Returns:
            Metadata of the folder's first shard; empty where there is none.
        """
        for name in self.list_names(*folder, suffix=".parquet")[:1]:
            return self.read_metadata(*folder, name)
        return {}

    def read_metadata(self, *parts: str) -> dict[str, Any]:
        """Read the metadata of a Parquet file.

        Args:
            *parts: path of the file.
        Returns:
            JSON values under the key `m3ray` of its schema; empty where there are none.
        """
        return m3ray_metadata(self.read_schema(*parts))
