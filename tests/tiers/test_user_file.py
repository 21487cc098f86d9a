"""Files of user-provided tiers: ids as they are written, columns as they are."""

import io

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from m3ray.errors import SchemaError
from m3ray.tiers.user_file import READERS, read_tier_file


def parquet_bytes(columns):
    sink = io.BytesIO()
    pq.write_table(pa.table(columns), sink)
    return sink.getvalue()


def npz_bytes(**arrays):
    sink = io.BytesIO()
    np.savez(sink, **arrays)
    return sink.getvalue()


def content(ending):
    ids = ["007", "7"]
    if ending == "parquet":
        return parquet_bytes({"clip_id": ids, "x": [1.5, 2.5]})
    if ending == "npz":
        return npz_bytes(clip_id=np.array(ids), x=np.array([1.5, 2.5]))
    return b"clip_id,x\n007,1.5\n7,2.5\n"


@pytest.mark.parametrize("ending", READERS)
def test_each_format_keeps_ids_as_they_are_written(ending):
    tier = read_tier_file(content(ending), f"t.{ending}", ending)
    assert tier.ids == ("007", "7")
    assert {name: values.tolist() for name, values in tier.columns.items()} == {"x": [1.5, 2.5]}
    assert tier.notes == ()


@pytest.mark.parametrize("kind", [pa.list_(pa.float64()), pa.large_list(pa.float64()), pa.list_(pa.float64(), 2)])
def test_vectors_of_parquet_are_rows_of_a_matrix(kind):
    data = parquet_bytes({"clip_id": ["a", "b"], "v": pa.array([[1, 2], [3, 4]], kind)})
    assert read_tier_file(data, "t.parquet", "parquet").columns["v"].tolist() == [[1, 2], [3, 4]]


@pytest.mark.parametrize(
    ("vectors", "lengths"), [([[1.0], [1.0, 2.0]], r"1, 2, \.\.\."), ([[1.0], None], r"1, None, \.\.\.")]
)
def test_vectors_of_different_lengths_are_rejected(vectors, lengths):
    data = parquet_bytes({"clip_id": ["a", "b"], "v": pa.array(vectors, pa.list_(pa.float64()))})
    with pytest.raises(SchemaError, match=rf"t\.parquet cannot be read: .*different lengths \({lengths}\)"):
        read_tier_file(data, "t.parquet", "parquet")


def test_a_row_without_an_id_is_named():
    with pytest.raises(SchemaError, match=r"t\.parquet: row 2: clip_id is empty"):
        read_tier_file(parquet_bytes({"clip_id": ["a", None], "x": [1, 2]}), "t.parquet", "parquet")


def test_ids_of_an_archive_are_one_a_clip():
    with pytest.raises(SchemaError, match=r"t\.npz: clip_id has the shape \(2, 1\), expected one id a clip"):
        read_tier_file(npz_bytes(clip_id=np.array([["a"], ["b"]]), x=np.zeros(2)), "t.npz", "npz")


def test_a_single_clip_in_an_archive_need_not_be_an_array():
    tier = read_tier_file(npz_bytes(clip_id=np.array("a"), x=np.array(3.0)), "t.npz", "npz")
    assert tier.ids == ("a",)
    assert tier.columns["x"].tolist() == [3]


def test_a_file_without_ids_names_its_columns():
    with pytest.raises(SchemaError, match=r"t\.parquet has no clip_id; it has name, x"):
        read_tier_file(parquet_bytes({"name": ["a"], "x": [1]}), "t.parquet", "parquet")


def test_text_in_a_column_of_numbers_is_named_with_its_row():
    with pytest.raises(
        SchemaError, match=r"column x is text \('low' in row 2\), expected numbers: drop it or encode it"
    ):
        read_tier_file(b"clip_id,x\na,TRUE\nb,low\n", "t.csv", "csv")
