"""Videos below a local folder, by name or by content."""

import os
import shutil
from pathlib import Path

import pytest
from empty_files import put

from m3ray.datasets.folder import find_named_videos, read_folder
from m3ray.datasets.listing import FolderClip, SkippedFiles
from m3ray.datasets.local_folder import find_local_clips, find_named_local_videos
from m3ray.datasets.media import named_kind


@pytest.mark.parametrize(
    ("path", "expected"),
    [("a.mp4", True), ("/v/b.MKV", True), ("a.b.webm", True), ("key/.a.mp4", False), ("a.txt", False), ("mp4", True),
     ("v.mp4/readme", False), ("a.mp4 ", False)],
)  # fmt: skip
def test_a_file_is_named_like_a_video_by_its_ending(path, expected):
    assert (named_kind(path) == "videos") is expected


def test_videos_have_their_path_below_the_folder_for_an_id(tmp_path):
    put(tmp_path, "b.mp4", "x/a.mov", "x/notes.txt")
    skipped = SkippedFiles()
    found = sorted(find_local_clips(f"{tmp_path}/", skipped), key=lambda clip: clip.clip_id)
    assert found == [FolderClip("b.mp4", f"{tmp_path}/b.mp4"), FolderClip("x/a.mov", f"{tmp_path}/x/a.mov")]
    assert skipped.endings == {".txt": 1}


def test_a_link_out_of_the_folder_is_rejected_with_what_to_do(tmp_path):
    put(tmp_path, "inside/a.mp4", "outside.mp4")
    (tmp_path / "inside" / "out.mp4").symlink_to(tmp_path / "outside.mp4")
    found = {clip.clip_id: clip for clip in find_local_clips(str(tmp_path / "inside"), SkippedFiles())}
    assert found["a.mp4"].rejection is None
    reason, message = found["out.mp4"].rejection
    assert reason == "link_outside"
    assert message.startswith(
        f"a link to {os.path.realpath(tmp_path)}/outside.mp4, outside the folder: copy the file in"
    )


def test_a_name_that_is_no_text_is_a_percent_encoded_uri(tmp_path):
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.mp4")).write_bytes(b"")
    (clip,) = find_local_clips(str(tmp_path), SkippedFiles())
    assert (clip.clip_id, clip.uri) == (r"caf\xe9.mp4", f"file://{tmp_path}/caf%E9.mp4")
    assert list(find_named_local_videos(str(tmp_path))) == [clip.uri]


def test_videos_or_images_are_found_by_name(tmp_path):
    put(tmp_path, "a.mp4", "x/b.JPG", "x/c.txt")
    assert list(find_named_local_videos(str(tmp_path))) == [f"{tmp_path}/a.mp4"]
    assert list(find_named_local_videos(str(tmp_path), "images")) == [f"{tmp_path}/x/b.JPG"]
    assert list(find_named_videos(str(tmp_path), "images")) == [f"{tmp_path}/x/b.JPG"]


def test_nothing_outside_the_folder_is_opened(tmp_path, clip):
    """A link with an unknown ending is looked into only where it stays inside."""
    inside = tmp_path / "videos"
    inside.mkdir()
    shutil.copy(clip, inside / "a.mp4")
    (inside / "in").symlink_to(inside / "a.mp4")
    (inside / "out").symlink_to(clip)
    (inside / "out.mp4").symlink_to(clip)
    found = read_folder(str(inside))
    assert found.table["clip_id"].to_pylist() == ["a.mp4", "in", "out.mp4"]
    assert found.rejected["clip_id"].to_pylist() == ["out.mp4"]
    assert found.notes == ("folder: 1 passed over: 1 without an ending (no videos, by name or content)",)


def test_links_that_lead_round_are_walked_once(tmp_path):
    put(tmp_path, "a/b/c.mp4")
    (tmp_path / "a" / "b" / "up").symlink_to(tmp_path)
    assert sorted(find_named_videos(str(tmp_path))) == [f"{tmp_path}/a/b/c.mp4"]
    assert list(find_named_videos(str(tmp_path / "none"))) == []
