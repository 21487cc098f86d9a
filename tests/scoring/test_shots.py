"""Shots scored as clips, with a tier that is made up: its number is the mean of the frames."""

import numpy as np
import pytest

from m3ray.config import DecodeConfig, SlidingWindowConfig
from m3ray.scoring.frames import window_frames
from m3ray.scoring.shots import compute_shots, iter_shot_rows
from m3ray.tiers.base import WeightedValue, average_windows, iter_clip_windows
from m3ray.video.shots.find import find_shots_of_frames
from m3ray.video.shots.timeline import Timeline, lay_shots

DECODE = DecodeConfig(size=32, window_frames=8)


class Mean:
    name = "mean"

    def compute(self, windows):
        return [{"mean": WeightedValue(window.frames.mean(), len(window.frames))} for window in windows]


def test_a_long_shot_is_taken_in_windows_and_has_the_value_of_its_frames():
    frames = np.random.default_rng(0).integers(0, 256, (45, 32, 32, 3), dtype=np.uint8)
    shots = lay_shots(np.array([10, 33]), Timeline.steady(45, 15.0), 15.0, 0.1)
    rows = list(compute_shots(window_frames(frames, DECODE), shots, [Mean()], 8))
    expected = [part.mean() for part in np.split(frames, [10, 33])]
    assert [float(row["mean"]["mean"]) for row in rows] == pytest.approx(expected, rel=1e-12)


def test_the_one_shot_of_a_still_clip_has_the_clip_s_values():
    frames = np.full((20, 32, 32, 3), 77, np.uint8)
    shots = find_shots_of_frames(frames, 15.0, SlidingWindowConfig(by="shots"))
    (row,) = compute_shots(window_frames(frames, DECODE), shots, [Mean()], 8)
    whole = [Mean().compute([window])[0] for _, window in iter_clip_windows(window_frames(frames, DECODE))]
    assert row["mean"] == average_windows(whole)


def test_rows_have_the_times_of_their_shots():
    import pandas as pd

    shots = lay_shots(np.array([30]), Timeline.steady(45, 15.0), 15.0, 0.1)
    scores = pd.DataFrame({"clip_id": ["0", "1"], "score": [0.1, 0.9], "share_raw": [0.0, 0.2]})
    rows = list(iter_shot_rows("a.mp4", shots, scores))
    assert [(row["clip_id"], row["shot"], row["start"], row["end"]) for row in rows] == [
        ("a.mp4", 0, 0.0, 2.0),
        ("a.mp4", 1, 2.0, 3.0),
    ]
    assert [(row["score"], row["share_raw"], row["reason"]) for row in rows] == [(0.1, 0.0, None), (0.9, 0.2, None)]
