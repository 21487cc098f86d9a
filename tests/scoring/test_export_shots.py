"""Which shots are written as files, and what becomes of each; the files themselves are made up."""

import numpy as np
import pytest

from m3ray.errors import DecodeError
from m3ray.scoring import export_shots
from m3ray.scoring.export_shots import choose_best, export_best
from m3ray.video.shots.file_names import name_shot
from m3ray.video.shots.timeline import Timeline, lay_shots
from m3ray.video.shots.written import WrittenShot

SHOTS = lay_shots(np.array([20, 40]), Timeline.steady(60, 10.0), 10.0, 0.5)
ROWS = [{"clip_id": name, "shot": k, "score": score, "reason": None} for name, k, score in (
    ("a.mp4", 0, 0.2), ("a.mp4", 1, 0.9), ("a.mp4", 2, 0.5), ("b.mp4", 0, 0.7), ("c.mp4", 0, 1.0))]  # fmt: skip
FOUND = {"a.mp4": (b"a", SHOTS), "b.mp4": (b"b", SHOTS)}


@pytest.fixture
def child(monkeypatch):
    def write(_decoder, data, ranges):
        if data == b"b":
            raise DecodeError("damaged", "it is damaged")
        for number in reversed(range(len(ranges))):
            yield number, WrittenShot(b"%d" % ranges[number][0], ".mp4", "copied", False) if number else "no luck"

    monkeypatch.setattr(export_shots, "write_shots", write)


def test_the_best_shots_of_all_clips(child):
    best = choose_best(ROWS, FOUND, 3)
    assert [(shot.clip_id, shot.shot, shot.frames) for shot in best] == [
        ("a.mp4", 1, (20, 40)),
        ("b.mp4", 0, (0, 20)),
        ("a.mp4", 2, (40, 60)),
    ], "c.mp4 has no file to cut from"
    written = {}

    def write(name, data):
        written[name] = data
        return f"there/{name}"

    rows = export_best(None, best, set(), write)
    assert written == {name_shot("a.mp4", 2, 4, 6, ".mp4"): b"40"}
    assert [(row["rank"], row["file"], row["how"], row["reason"]) for row in rows] == [
        (1, None, None, "no luck"),
        (2, None, None, "it is damaged"),
        (3, "there/" + name_shot("a.mp4", 2, 4, 6, ".mp4"), "copied", None),
    ]


def test_no_file_is_replaced(child):
    best = choose_best(ROWS, FOUND, 3)

    def write(name, _data):
        raise FileExistsError(name)

    there = name_shot("b.mp4", 0, 0, 2, ".mkv")
    rows = export_best(None, best, {there}, write)
    assert [(row["rank"], row["file"], row["how"]) for row in rows] == [
        (1, None, None),
        (2, there, "kept"),
        (3, name_shot("a.mp4", 2, 4, 6, ".mp4"), "kept"),
    ]


def test_a_clip_that_was_given_twice_is_written_once(tmp_path, monkeypatch):
    """By one id, by another spelling of its path, and by a link to it; the next best shots take the places."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x.mp4").write_bytes(b"a")
    (tmp_path / "link.mp4").symlink_to("x.mp4")
    names = {"x.mp4": "x.mp4", "spelled": "./x.mp4", "whole": str(tmp_path / "x.mp4"), "linked": "link.mp4"}
    names["uri"] = f"file://{tmp_path}/x.mp4"
    rows = [
        {"clip_id": clip, "shot": shot, "score": 1 - shot / 10, "reason": None}
        for clip in ["x.mp4", *names]
        for shot in range(3)
    ]
    best = choose_best(rows, {clip: (source, SHOTS) for clip, source in names.items()}, 3)
    assert [(shot.rank, shot.clip_id, shot.shot) for shot in best] == [
        (1, "x.mp4", 0),
        (2, "x.mp4", 1),
        (3, "x.mp4", 2),
    ]


def test_bytes_and_remote_clips_given_twice_are_written_once():
    found = {
        "a": (b"a", SHOTS),
        "b": (b"b", SHOTS),
        "c": ("s3://bucket/c.mp4", SHOTS),
        "d": ("s3://bucket/c.mp4", SHOTS),
    }
    rows = [{"clip_id": clip, "shot": 0, "score": 0.5, "reason": None} for clip in "aabcd"]
    assert [shot.clip_id for shot in choose_best(rows, found, 9)] == ["a", "b", "c"]


def test_two_shots_of_one_name_are_not_taken_for_each_other(child, monkeypatch):
    monkeypatch.setattr(export_shots, "name_shot", lambda *_: "same")
    best = choose_best([ROWS[1], ROWS[2], ROWS[3]], FOUND, 3)
    for taken in (set(), {"same.mp4"}):
        rows = export_best(None, best, taken, lambda name, _data: name)
        assert [row["reason"] for row in rows[1:]] == ["its file would have the name of a better shot's: same"] * 2
        assert [row["file"] for row in rows[1:]] == [None, None]
