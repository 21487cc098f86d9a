"""The folders of a data set: one canonical path for every spelling, and for where it was before it moved."""

import pyarrow as pa
import pytest

from m3ray.storage.dataset_folders import (
    UNKNOWN_ORIGIN,
    DatasetOrigin,
    canonical_folders,
    dataset_folder,
    relative_paths,
)


@pytest.mark.parametrize(
    ("source", "folder"),
    [
        ("/data/videos/", "/data/videos"),
        ("/data/clips.CSV", "/data"),
        ("file:///data/a%20b", "/data/a b"),
        ("s3://bucket/v/clips.parquet", "s3://bucket/v"),
        ("s3://bucket/v/", "s3://bucket/v"),
    ],
)
def test_the_folder_of_a_folder_or_table(source, folder):
    assert dataset_folder(source) == folder


def test_paths_within_a_folder_are_relative_and_others_null():
    texts = pa.chunked_array([pa.array(["/d/a.mp4", "/d/x/b.mp4", "/dd/a.mp4", None], pa.large_string())])
    assert relative_paths(texts, "/d/").to_pylist() == ["a.mp4", "x/b.mp4", None, None]


def test_a_link_to_a_folder_counts_as_the_folder(tmp_path):
    real, link = tmp_path / "real", tmp_path / "link"
    real.mkdir()
    link.symlink_to(real)
    assert canonical_folders(DatasetOrigin((str(link),)), {}) == {str(link): str(real), str(real): str(real)}


def test_a_folder_that_moved_keeps_its_first_path():
    moved = DatasetOrigin(("/new",), {"/new": "/old"})
    first = canonical_folders(moved, {})
    assert first == {"/new": "/old", "/old": "/old"}
    again = canonical_folders(DatasetOrigin(("/newer",), {"/newer": "/new"}), first)
    assert again["/newer"] == "/old"
    assert canonical_folders(DatasetOrigin(("/new",)), first)["/new"] == "/old", "as an earlier job was told"


def test_without_folders_there_is_nothing():
    assert canonical_folders(UNKNOWN_ORIGIN, {}) == {}
    assert canonical_folders(DatasetOrigin((None,)), {}) == {}
