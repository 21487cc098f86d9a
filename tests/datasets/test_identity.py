"""One video is one video, however it is spelled; where splits are given or drawn, it stands on one side."""

import os

import pyarrow as pa
import pytest
from spellings import SPELLINGS, write_spelled_folder

from m3ray.datasets import identity
from m3ray.datasets.identity import number_videos, video_keys


def keys(*uris, by="fast"):
    return video_keys(pa.chunked_array([list(uris)], pa.string()), by).to_pylist()


@pytest.fixture(params=[20_000, 0], ids=["each file", "each folder"])
def folder(tmp_path, monkeypatch, request):
    """A video under several names; looked at file by file, as small catalogues are, and folder by folder."""
    monkeypatch.setattr(identity, "EACH", request.param)
    return write_spelled_folder(tmp_path)


@pytest.mark.parametrize("spelling", SPELLINGS[1:])
def test_one_video_has_one_key(folder, monkeypatch, spelling):
    monkeypatch.chdir(folder)
    one, two, other = keys(SPELLINGS[0].format(top=folder), spelling.format(top=folder), f"{folder}/v/other.mp4")
    assert one == two == os.path.realpath(folder / "v" / "a b.mp4")
    assert other != one


def test_other_videos_have_other_keys(folder):
    found = keys(
        f"{folder}/v/a b.mp4", f"{folder}/v/a%20b.mp4", f"{folder}/v/A b.mp4", f"{folder}/absent/a b.mp4",
        f"file://{folder}/v/a+b.mp4", "s3://b/v/a b.mp4", "s3://b/v/./a b.mp4", "s3://b/v//a b.mp4", "s3://c/v/a b.mp4",
        f"file://{folder}/v/%FF.mp4", f"file://{folder}/v/%FE.mp4", f"{folder}/v", f"{folder}/v/sub",
    )  # fmt: skip
    assert len(set(found)) == len(found)


def test_what_is_no_path_has_a_key_all_the_same(folder):
    (folder / "loop").symlink_to(folder / "loop")
    (folder / "gone").symlink_to(folder / "nowhere.mp4")
    deep = "/d" * 1500
    found = keys("", None, "/", "/..", f"{folder}/loop", f"{folder}/gone", deep, f"{deep}/../x", "/a\0b", "x" * 5000)
    assert found[:2] == [None, None]
    assert found[2] == found[3], "above the root is the root"
    assert found[5] == os.path.realpath(folder / "nowhere.mp4")
    assert found[7] == "/d" * 1499 + "/x"


def test_a_hard_link_is_the_same_video(tmp_path):
    (tmp_path / "a.mp4").write_bytes(b"one")
    (tmp_path / "b.mp4").write_bytes(b"one")
    os.link(tmp_path / "a.mp4", tmp_path / "c.mp4")
    (tmp_path / "d.mp4").symlink_to(tmp_path / "c.mp4")
    a, b, c, d = keys(*(f"{tmp_path}/{name}.mp4" for name in "abcd"))
    assert a == c == d != b


def test_rows_without_a_video_are_each_their_own():
    assert number_videos(pa.chunked_array([["x", None, "y", "x"], [None]])).tolist() == [0, 2, 1, 0, 3]


def test_equal_content_is_one_video_where_asked(tmp_path):
    for name, data in {"a": b"one", "b": b"one", "c": b"two", "d": b"longer", "e": b""}.items():
        (tmp_path / name).write_bytes(data)
    uris = [f"{tmp_path}/{name}" for name in "abcde"] + [f"file://{tmp_path}/a", f"{tmp_path}/absent", "", "ftp://x/a"]
    assert len(set(keys(*uris))) == 8
    a, b, c, d, e, again, absent, none, odd = keys(*uris, by="hash")
    assert a == b == again
    assert len({a, c, d, e, absent, none, odd}) == 7
    (tmp_path / "b").write_bytes(b"two")
    a, b, c = keys(*uris[:3], by="hash")
    assert a != b == c


def test_the_option_reaches_the_draw():
    from m3ray.config.options import ExtractOptions

    assert ExtractOptions(out="x").read_config.identity == "fast"
    assert ExtractOptions(out="x", identity="hash").read_config.identity == "hash"
