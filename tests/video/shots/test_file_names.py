"""Names of files of shots: safe, and told apart."""

import hashlib
import re

import pytest

from m3ray.video.shots.file_names import name_shot


def test_a_name_says_clip_shot_and_times():
    mark = hashlib.sha256(b"holiday.mp4").hexdigest()[:6]
    assert name_shot("holiday.mp4", 7, 83.4, 87.25, ".mkv") == f"holiday-{mark}-shot007-83.40-87.25s.mkv"


@pytest.mark.parametrize(
    "clip_id", ["a/b.mp4", "../../etc/passwd", "c:\\x\\CON.mp4", "né\n\0|?*.mp4", "", ".mp4", "x" * 500, "..", "\udcff"]
)
def test_any_name_becomes_one_that_every_file_system_takes(clip_id):
    name = name_shot(clip_id, 1234, 0.0, 3599.999, ".mp4")
    assert re.fullmatch(r"[A-Za-z0-9_-]+-[0-9a-f]{6}-shot1234-0\.00-3600\.00s\.mp4", name)
    assert len(name) < 128


def test_clips_whose_names_are_alike_are_told_apart():
    """Alike but for the folder, the ending, the case, and what no name of a file may hold."""
    clips = ["a/x.mp4", "b/x.mp4", "x", "x.mp4", "x.mov", "X.mp4", "x?.mp4", "x*.mp4"]
    assert len({name_shot(clip, 0, 0, 1, ".mp4").lower() for clip in clips}) == len(clips)
