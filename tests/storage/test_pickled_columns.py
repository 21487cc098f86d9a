"""Ray registers a column type whose values are pickles: no Parquet of a root, nor of a user, may load them."""

import os
import pickle

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from m3ray.errors import DamagedFileError, SchemaError
from m3ray.storage.parquet_file import read_parquet
from m3ray.storage.pickled_columns import find_pickled_columns
from m3ray.storage.root import Root

objects = pytest.importorskip("ray.data._internal.object_extensions.arrow")


class Bad:
    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return os.mkdir, (str(self.marker),)


@pytest.fixture
def planted(tmp_path):
    """A table with a column of pickles that make a folder, and that folder."""
    import ray.data  # noqa: F401  (registers the type)

    kind, marker = objects.ArrowPythonObjectType(), tmp_path / "ran"
    column = pa.ExtensionArray.from_storage(kind, pa.array([pickle.dumps(Bad(marker))], kind.storage_type))
    return pa.table({"clip_id": column, "x": [1.0]}), marker


def test_the_attack_works_on_plain_pyarrow(planted, tmp_path):
    table, marker = planted
    pq.write_table(table, tmp_path / "a.parquet")
    pq.read_table(tmp_path / "a.parquet").to_pylist()
    assert marker.exists(), "else the tests below show nothing"


def test_a_root_reads_no_such_file(planted, tmp_path):
    table, marker = planted
    root = Root(str(tmp_path / "root"))
    root.write_table(table, "features", "raw-1", "part-0.parquet")
    for read in (root.read_table, root.read_schema, root.read_metadata):
        with pytest.raises(DamagedFileError, match=r"part-0\.parquet: reading the values of clip_id would run code"):
            read("features", "raw-1", "part-0.parquet")
    for read in (root.read_shards, root.open_shards, root.read_ids):
        with pytest.raises(DamagedFileError, match="would run code"):
            read("features", "raw-1")
    assert not marker.exists()


def test_a_user_s_table_is_refused_too(planted):
    table, marker = planted
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink)
    with pytest.raises(
        SchemaError, match=r"clips\.parquet cannot be read: reading the values of clip_id would run code"
    ):
        read_parquet(sink.getvalue().to_pybytes(), "clips.parquet")
    assert not marker.exists()


def test_one_within_another_type_is_found():
    kind = objects.ArrowPythonObjectType()
    schema = pa.schema([("a", pa.list_(kind)), ("b", pa.struct([("c", kind)])), ("d", pa.list_(pa.float32(), 4))])
    assert find_pickled_columns(schema) == ["a", "b"]


def test_pandas_own_types_are_no_code():
    frame = pd.DataFrame({"when": pd.period_range("2024", periods=2, freq="M"), "range": pd.cut([1, 2], 2)})
    assert find_pickled_columns(pa.Schema.from_pandas(frame)) == []
