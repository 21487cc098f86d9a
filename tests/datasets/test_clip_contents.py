"""The column that tells what each clip was when it was listed."""

import os

import pyarrow as pa
import pytest

from m3ray.datasets.clip_contents import (
    add_contents,
    clip_stamps,
    has_contents,
    is_content_column,
    read_canonical_folders,
)
from m3ray.schema import CATALOGUE_FILE, Clip, catalogue_table
from m3ray.storage.dataset_folders import DatasetOrigin
from m3ray.storage.root import Root


@pytest.fixture
def video(tmp_path):
    path = tmp_path / "v" / "a.mp4"
    path.parent.mkdir()
    path.write_bytes(b"twelve bytes")
    os.utime(path, ns=(1_700_000_000_000_000_000,) * 2)
    return path


def test_a_file_s_content_is_its_size_and_time(tmp_path, video):
    clips = catalogue_table([Clip("a", str(video)), Clip("b", f"{tmp_path}/v/gone.mp4"), Clip("c", "")])
    table = add_contents(clips, Root(str(tmp_path / "out")))
    assert table["content"].to_pylist() == ["12:1700000000000000000", None, None]
    stamps = clip_stamps(Root(str(tmp_path / "out")), table).to_pylist()
    assert stamps == [f"12:1700000000000000000 {video}", f"? {tmp_path}/v/gone.mp4", None]


def test_a_user_s_column_keeps_the_name_content(tmp_path, video):
    clips = catalogue_table([Clip("a", str(video), extra={"content": "a dog", "clip_content": "a cat"})])
    table = add_contents(clips, Root(str(tmp_path / "out")))
    assert table["content"].to_pylist() == ["a dog"]
    assert table["clip_content"].to_pylist() == ["a cat"]
    assert table["clip_clip_content"].to_pylist() == ["12:1700000000000000000"]
    assert [is_content_column(column) for column in table.schema][-3:] == [False, False, True]


def test_catalogues_of_older_versions_tell_no_content(tmp_path, video):
    clips = catalogue_table([Clip("a", str(video))])
    assert not has_contents(clips.schema)
    assert read_canonical_folders(clips.schema) == {}
    assert clip_stamps(Root(str(tmp_path)), clips).to_pylist() == [None]
    assert has_contents(add_contents(clips, Root(str(tmp_path))).schema)


def test_a_data_set_that_moved_is_known_by_the_folder_that_it_was_in(tmp_path, video):
    """Stamps name the earlier folder, so that nothing counts as changed."""
    root, then, now = Root(str(tmp_path / "out")), str(tmp_path / "v"), str(tmp_path / "w")
    before = add_contents(catalogue_table([Clip("a", str(video))]), root, DatasetOrigin((then,)))
    root.write_table(before, CATALOGUE_FILE)
    os.rename(then, now)
    clips = catalogue_table([Clip("a", f"{now}/a.mp4")])
    after = add_contents(clips, root, DatasetOrigin((now,), {now: then}))
    assert clip_stamps(root, after).equals(clip_stamps(root, before))
    assert read_canonical_folders(after.schema)[now] == then
    unmoved = clip_stamps(root, add_contents(clips, Root(str(tmp_path / "other")), DatasetOrigin((now,))))
    assert unmoved.to_pylist() == [f"12:1700000000000000000 {now}/a.mp4"]


def test_by_hash_the_bytes_are_told(tmp_path, video):
    table = add_contents(
        catalogue_table([Clip("a", str(video))]), Root(str(tmp_path / "out")), DatasetOrigin(by="hash")
    )
    (content,) = table["content"].to_pylist()
    assert content.startswith("12:1700000000000000000:sha256-")
    assert table.schema.field("content").type == pa.string()
