"""Parquet files of a root: metadata, names of shards, ranges of clips, and what counts as damage."""

import hashlib
import io

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from vector_rows import FOLDER, rows

from m3ray.errors import DamagedFileError
from m3ray.storage.parquet_tables import (
    check_not_pickled,
    drop_repeated_clips,
    encode_parquet,
    file_damage_error,
    is_damage,
    m3ray_metadata,
    read_range,
    shard_name,
)


@pytest.fixture
def root(local):
    return local


def test_a_range_of_clips_is_read_once_each_in_order(root):
    root.write_shard(rows("c", "a"), FOLDER, {})
    root.write_shard(rows("b", "c", "d"), FOLDER, {})
    assert read_range(root.open_shards(*FOLDER), "b", "c")["clip_id"].to_pylist() == ["b", "c"]


def test_of_a_repeated_clip_the_first_row_stays():
    table = pa.table({"clip_id": ["b", "a", "b"], "n": [1, 2, 3]})
    assert drop_repeated_clips(table).to_pydict() == {"clip_id": ["a", "b"], "n": [2, 1]}
    assert drop_repeated_clips(table.slice(0, 0)).num_rows == 0
    assert drop_repeated_clips(table.slice(0, 1)).to_pydict() == {"clip_id": ["b"], "n": [1]}


def test_a_shard_s_name_is_a_hash_of_its_clips_in_any_order():
    expected = f"part-{hashlib.sha256(b'a' + bytes([10]) + b'b').hexdigest()[:16]}.parquet"
    assert shard_name(pa.chunked_array([["b"], ["a"]])) == shard_name(pa.chunked_array([["a", "b"]])) == expected


@pytest.mark.parametrize(
    ("metadata", "expected"),
    [(None, {}), ({b"other": b"1"}, {}), ({b"m3ray": b'{"k": 1}'}, {"k": 1}), ({b"m3ray": b"[1]"}, {})],
)
def test_metadata_is_the_object_under_our_key(metadata, expected):
    assert m3ray_metadata(pa.schema([("a", pa.string())], metadata=metadata)) == expected


def test_row_groups_hold_about_four_mebibytes_and_never_less_than_256_rows():
    wide = pa.table({"x": pa.FixedSizeListArray.from_arrays(pa.array([0.0] * (1000 * 4096), pa.float32()), 4096)})
    file = pq.ParquetFile(io.BytesIO(encode_parquet(wide)))  # 16 KiB a row: 256 rows are 4 MiB
    assert [file.metadata.row_group(k).num_rows for k in range(file.num_row_groups)] == [256, 256, 256, 232]
    narrow = pa.table({"n": range(1000)})  # 8 bytes a row: all fit in one
    assert pq.ParquetFile(io.BytesIO(encode_parquet(narrow))).num_row_groups == 1


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (pa.ArrowInvalid("Parquet magic bytes not found"), True),
        (OSError("Couldn't deserialize thrift"), True),
        (OSError(5, "Input/output error"), False),
        (OSError("When reading: AWS Error SLOW_DOWN during GetObject operation"), False),
    ],
)
def test_content_and_storage_are_told_apart(error, expected):
    assert is_damage(error) is expected


def test_an_error_of_damage_says_which_file_why_and_what_to_do():
    error = file_damage_error("s3://b/r/catalogue.parquet", ValueError("no\n  footer"))
    assert str(error) == (
        "s3://b/r/catalogue.parquet is damaged or cut short (no footer): delete it and run the job that makes it again"
    )


def test_plain_columns_pass():
    check_not_pickled(pa.schema([("a", pa.list_(pa.float32(), 3))]), "file")


def test_a_file_that_is_cut_short_is_damaged(root):
    root.write_bytes(encode_parquet(rows("a"))[:-20], "x.parquet")
    with pytest.raises(DamagedFileError, match=r"x\.parquet is damaged or cut short"):
        root.read_table("x.parquet")
