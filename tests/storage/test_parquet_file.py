"""A user's Parquet file: without pandas' index, and without what an earlier job learned."""

import io

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from m3ray.errors import SchemaError
from m3ray.storage.parquet_file import read_parquet


def encode(table):
    sink = io.BytesIO()
    pq.write_table(table, sink)
    return sink.getvalue()


def test_names_are_trimmed_and_rows_numbered():
    sheet = read_parquet(encode(pa.table({" uri ": ["a", "b"]})), "c.parquet")
    assert sheet.table.to_pydict() == {"uri": ["a", "b"]}
    assert sheet.rows.tolist() == [1, 2]


def test_an_index_is_left_out_unless_it_is_a_column_of_ours():
    frame = pd.DataFrame({"uri": ["a", "b"]}, index=[5, 9])
    sheet = read_parquet(encode(pa.Table.from_pandas(frame)), "c.parquet")
    assert sheet.table.column_names == ["uri"]
    assert sheet.notes == ("pandas' index (__index_level_0__) left out",)
    frame.index = pd.Index(["x", "y"], name="clip_id")
    sheet = read_parquet(encode(pa.Table.from_pandas(frame)), "c.parquet")
    assert sheet.table.to_pydict() == {"uri": ["a", "b"], "clip_id": ["x", "y"]}


def test_what_decoding_learned_is_left_out_whatever_its_name():
    marked = pa.field("seconds", pa.float64(), metadata={b"m3ray.learned": b"duration"})
    table = pa.table([pa.array(["a"]), pa.array([2.0])], schema=pa.schema([("uri", pa.string()), marked]))
    sheet = read_parquet(encode(table), "c.parquet")
    assert sheet.table.column_names == ["uri"]
    assert sheet.notes == ("what an earlier job's decoding learned (seconds) left out",)


def test_what_is_no_parquet_and_repeated_names_are_rejected():
    with pytest.raises(SchemaError, match=r"^c\.parquet cannot be read: "):
        read_parquet(b"uri\na\n", "c.parquet")
    twice = pa.Table.from_arrays([pa.array(["a"]), pa.array(["b"])], names=["uri", " uri"])
    with pytest.raises(SchemaError, match="names column 'uri' twice"):
        read_parquet(encode(twice), "c.parquet")
