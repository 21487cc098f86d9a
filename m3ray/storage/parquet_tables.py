"""Parquet files as a root holds them: their metadata, the names of shards, one row a clip, and what is damaged."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyarrow import fs as pafs

from m3ray.errors import DamagedFileError
from m3ray.storage.filesystems import one_line
from m3ray.storage.pickled_columns import find_pickled_columns

if TYPE_CHECKING:
    import pyarrow.dataset as ds

METADATA_KEY = b"m3ray"
# Shards are ordered by clip, so that a reader of a few clips reads no more than their row groups.
_ROW_GROUP_BYTES = 4 << 20
_MIN_ROWS = 256


def m3ray_metadata(schema: pa.Schema) -> dict[str, Any]:
    """Metadata of a schema that m3ray wrote.

    Args:
        schema: schema of a Parquet file.
    Returns:
        JSON values under the key `m3ray`; empty where there are none.
    """
    values = json.loads((schema.metadata or {}).get(METADATA_KEY, b"{}"))
    return values if isinstance(values, dict) else {}


def file_damage_error(where: str, error: BaseException) -> DamagedFileError:
    """Make the error for a file of m3ray's that cannot be read.

    Args:
        where: path or URI of the file.
        error: what the reader of the format raised.
    Returns:
        The error to raise.
    """
    return DamagedFileError(
        f"{where} is damaged or cut short ({one_line(error)[:200]}): delete it and run the job that makes it again"
    )


def check_not_pickled(schema: pa.Schema, where: str) -> None:
    """Reject columns whose values are pickles: m3ray writes none, so somebody else wrote the file.

    Args:
        schema: schema of the file.
        where: its path or URI, for the message.
    Raises:
        DamagedFileError: If there is such a column.
    """
    if pickled := find_pickled_columns(schema):
        raise DamagedFileError(
            f"{where}: reading the values of {', '.join(pickled)} would run code (pickles), so the file is not read. "
            "m3ray did not write it: delete it and run the job that makes it again"
        )


def is_damage(error: Exception) -> bool:
    """Tell an error about a file's content from one of the storage.

    Args:
        error: what Arrow raised while it read the file.
    Returns:
        Whether the content is at fault; errors of a disk have an errno, and those of S3 name AWS.
    """
    return not isinstance(error, OSError) or (error.errno is None and "AWS Error" not in str(error))


def open_dataset(paths: Sequence[str], filesystem: pafs.FileSystem, where: str) -> ds.Dataset:
    """Open shards to read them in parts.

    Args:
        paths: path of each shard in the filesystem.
        filesystem: filesystem that they lie on.
        where: path or URI of their folder, for the message.
    Returns:
        The dataset.
    Raises:
        DamagedFileError: If a column's values are pickles.
    """
    import pyarrow.dataset as ds  # imports pandas, which nothing else here needs: a bundle opens without it

    shards = ds.dataset(list(paths), filesystem=filesystem, format="parquet")
    check_not_pickled(shards.schema, where)
    return shards


def read_range(shards: ds.Dataset, first: str, last: str) -> pa.Table:
    """Read a range of clips out of a folder of shards.

    Args:
        shards: dataset of `Root.open_shards`.
        first: id of the first clip.
        last: id of the last clip, which is included.
    Returns:
        One row a clip, ordered by `clip_id`.
    """
    inside = (pc.field("clip_id") >= first) & (pc.field("clip_id") <= last)
    return drop_repeated_clips(shards.to_table(filter=inside))


def drop_repeated_clips(table: pa.Table) -> pa.Table:
    """Keep the first row of each clip.

    Args:
        table: rows with `clip_id`.
    Returns:
        The rows ordered by `clip_id`.
    """
    table = table.sort_by("clip_id")
    ids = table["clip_id"]
    if len(ids) < 2:
        return table
    is_new = pc.not_equal(ids[1:], ids[:-1])
    return table.filter(pa.chunked_array([pa.array([True]), *is_new.chunks]))


def shard_name(ids: pa.ChunkedArray) -> str:
    """File name of a shard: a hash of the clips in it, so that a retry of the same clips overwrites it.

    Args:
        ids: clip ids, in any order.
    Returns:
        `part-<16 hexadecimal digits>.parquet`.
    """
    digest = hashlib.sha256("\n".join(sorted(ids.to_pylist())).encode()).hexdigest()
    return f"part-{digest[:16]}.parquet"


def encode_parquet(table: pa.Table) -> bytes:
    """Encode a table as Parquet, its row groups small enough for readers of a few clips.

    Args:
        table: rows to encode.
    Returns:
        Bytes of the file.
    """
    buffer = pa.BufferOutputStream()
    rows = max(_MIN_ROWS, table.num_rows * _ROW_GROUP_BYTES // max(1, table.nbytes))
    pq.write_table(table, buffer, compression="zstd", row_group_size=rows)
    return buffer.getvalue().to_pybytes()
