"""What a user gives to be scored, taken apart into clips."""

import os
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import torch

from m3ray.errors import ConfigError, ShapeError
from m3ray.scoring.inputs import as_frames, iter_clips


def ids(given, **options):
    return [clip.clip_id for clip in iter_clips(given, **options)]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    for name in ("b.mp4", "a.mp4", "c [1].mp4", "notes.txt", "sub/d #5 100%.mp4"):
        (tmp_path / "v" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "v" / name).write_bytes(b"x")
    monkeypatch.chdir(tmp_path)
    return tmp_path / "v"


@pytest.mark.parametrize("given", ["a.mp4", Path("a.mp4"), b"a.mp4", os.fsencode("a.mp4")])
def test_a_text_is_one_path_and_bytes_are_a_file_s(given):
    (clip,) = iter_clips(given)
    if isinstance(given, bytes):
        assert (clip.clip_id, clip.data) == ("[0]", given)
    else:
        assert (clip.clip_id, clip.data, clip.failure) == ("a.mp4", "a.mp4", None)


def test_sequences_of_other_libraries_are_lists():
    paths = ["a.mp4", "b.mp4"]
    for given in (paths, tuple(paths), (p for p in paths), pd.Series(paths), pd.Index(paths), pa.array(paths)):
        assert ids(given) == paths
    assert ids(np.array(paths)) == paths
    assert ids(pa.chunked_array([paths])) == paths
    assert ids([]) == []
    assert ids(iter([Path("a.mp4"), b"x", np.zeros((2, 3, 3), np.uint8)])) == ["a.mp4", "[1]", "[2]"]
    assert ids([bytearray(b"x"), memoryview(b"y")]) == ["[0]", "[1]"]


def test_a_folder_is_its_videos_by_name(folder):
    assert ids("v") == ["v/a.mp4", "v/b.mp4", "v/c [1].mp4", "v/sub/d #5 100%.mp4"]
    assert ids("v/") == ids(Path("v")) == ids("v")
    assert ids([folder / "sub"]) == [f"{folder}/sub/d #5 100%.mp4"]
    assert all(os.path.exists(clip.data) for clip in iter_clips("v"))
    assert ids("v", expand=False) == ["v"], "a name of a clip whose features the user has"


def test_a_pattern_is_the_files_that_fit_it(folder):
    assert ids("v/*.mp4") == ["v/a.mp4", "v/b.mp4", "v/c [1].mp4"]
    assert ids("v/**/*.mp4") == ["v/a.mp4", "v/b.mp4", "v/c [1].mp4", "v/sub/d #5 100%.mp4"]
    assert ids("v/c [1].mp4") == ["v/c [1].mp4"], "a file of that name is no pattern"
    assert ids("v/*") == ["v/a.mp4", "v/b.mp4", "v/c [1].mp4", "v/notes.txt"], "no folders"
    assert ids("s3://bucket/a[1]*.mp4") == ["s3://bucket/a[1]*.mp4"], "addresses are no patterns"


def test_what_stands_for_no_file_is_one_failed_clip(folder):
    (folder / "empty").mkdir()
    (none,) = iter_clips("v/*.webm")
    assert (none.clip_id, none.failure.reason) == ("v/*.webm", "missing_file")
    (empty,) = iter_clips(folder / "empty")
    assert (empty.clip_id, empty.failure.reason) == (str(folder / "empty"), "empty_folder")
    assert "holds no file named like a video" in empty.failure.message


def test_a_link_out_of_the_folder_is_a_failed_clip(folder, tmp_path):
    (tmp_path / "outside.mp4").write_bytes(b"x")
    (folder / "e.mp4").symlink_to(tmp_path / "outside.mp4")
    failed = {clip.clip_id: clip.failure for clip in iter_clips("v") if clip.failure}
    assert [(name, failure.reason) for name, failure in failed.items()] == [("v/e.mp4", "link_outside")]


@pytest.mark.parametrize("given", [5, None, 0.5, {"a": 1}, [5], [["a.mp4"]], pd.DataFrame({"path": ["a"]})])
def test_what_cannot_be_scored_is_told(given):
    with pytest.raises(ConfigError, match=r"cannot score .*: expected a path, a pattern, a folder, bytes, an array"):
        list(iter_clips(given))


def test_frames_become_eight_bits():
    clip = np.random.default_rng(0).integers(0, 256, (2, 4, 5, 3), np.uint8)
    assert as_frames(clip) is clip
    np.testing.assert_array_equal(as_frames(clip[0]), clip[:1])
    for kind in (np.float32, np.float64):
        np.testing.assert_array_equal(as_frames((clip / 255).astype(kind)), clip)
    ((tensor),) = iter_clips(torch.from_numpy(clip) / 255)
    np.testing.assert_array_equal(tensor.data, clip)


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (np.zeros((3, 8, 9), np.uint8), "put the channels last"),
        (np.zeros((2, 3, 8, 9), np.uint8), "put the channels last"),
        (np.zeros((2, 2, 8, 9, 3), np.uint8), "give a list of clips"),
        (np.zeros((8, 9), np.uint8), r"an array \(8, 9\) of uint8: expected frames"),
        (np.zeros((0, 8, 9, 3), np.uint8), "expected frames"),
        (np.zeros((8, 9, 4), np.uint8), "expected frames"),
        (np.zeros((8, 9, 3), np.int64), "of int64: expected frames"),
        (np.full((8, 9, 3), 200.0), "from 200 to 200: .*divide it by 255"),
        (np.full((8, 9, 3), -0.1), "from -0.1 to -0.1: expected"),
        (np.full((8, 9, 3), np.nan), "from nan to nan: expected"),
        (np.zeros((8, 9, 3), complex), "of complex128: expected"),
    ],
)
def test_other_arrays_are_told(array, words):
    with pytest.raises(ShapeError, match=words):
        list(iter_clips(array))


def test_an_image_of_pillow_s_is_a_frame():
    image = pytest.importorskip("PIL.Image", reason="Pillow is not installed")
    (clip,) = iter_clips(image.new("L", (5, 4), 7))
    assert clip.data.shape == (1, 4, 5, 3)
    assert clip.data.max() == clip.data.min() == 7


def test_a_gap_in_a_column_of_paths_is_a_failed_clip_and_the_others_stand():
    clips = list(iter_clips(pd.Series(["a.mp4", None, float("nan"), pd.NA, "b.mp4"], dtype=object)))
    assert [clip.clip_id for clip in clips] == ["a.mp4", "[1]", "[2]", "[3]", "b.mp4"]
    assert [None if clip.failure is None else clip.failure.reason for clip in clips] == [
        None,
        *["missing_file"] * 3,
        None,
    ]
