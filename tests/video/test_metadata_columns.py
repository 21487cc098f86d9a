"""Metadata through Arrow: a struct a clip between the stages, a column a field on disk."""

import pyarrow as pa

from m3ray.schema import VIDEO_METADATA
from m3ray.video.metadata import VideoMetadata
from m3ray.video.metadata_columns import METADATA_TYPE, metadata_array, metadata_from_struct, metadata_table

ONE = VideoMetadata(320, 240, 29.97, 3.5, 105, 53, 3_000_000_000, "mov", "pyav")
TWO = VideoMetadata(1, 1, 0.1, 10.0, 1, 1, 7, "gif")


def test_a_column_comes_back_as_it_was():
    column = metadata_array([ONE, None, TWO])
    assert column.type == METADATA_TYPE
    assert column.null_count == 1
    assert [metadata_from_struct(value) for value in column.to_pylist()] == [ONE, None, TWO]
    assert metadata_array([]).to_pylist() == []


def test_the_table_of_a_root_has_a_column_a_field():
    table = metadata_table(pa.chunked_array([["a"], ["b"]]), pa.chunked_array([metadata_array([ONE, TWO])]))
    assert table.schema == VIDEO_METADATA
    assert table.to_pylist() == [{"clip_id": "a", **ONE.as_dict()}, {"clip_id": "b", **TWO.as_dict()}]


def test_rows_of_a_part_of_a_batch_are_laid_out():
    """A batch from which rejected clips were taken is a column in several pieces, each with an offset of its own."""
    batch = pa.chunked_array([metadata_array([None, ONE]), metadata_array([TWO, ONE])])
    table = metadata_table(pa.chunked_array([["a", "b"]]), batch.slice(1, 2))
    assert table["frames"].to_pylist() == [105, 1]
    assert table["container"].to_pylist() == ["mov", "gif"]
