"""Scores over time in one process: of windows and of shots, with a scorer that is made up."""

import numpy as np
import pytest

from m3ray.config import SlidingWindowConfig
from m3ray.errors import DecodeError
from m3ray.scoring import curves
from m3ray.scoring.curves import as_objects, make_curves
from m3ray.scoring.inputs import ClipInput
from m3ray.video.shots.timeline import Timeline, lay_shots


def test_shots_have_starts_and_ends_and_a_clip_without_them_its_reason(monkeypatch):
    shots = lay_shots(np.array([20]), Timeline.steady(50, 10.0), 10.0, 0.5)

    def score(_scorer, clip, _config):
        if clip.clip_id == "bad":
            raise DecodeError("damaged", "words")
        return shots, {"score": np.array([0.25, 0.75])}

    monkeypatch.setattr(curves, "score_shots", score)
    clips = [ClipInput("good", b""), ClipInput("bad", b"")]
    table = make_curves(None, clips, SlidingWindowConfig(by="shots"), raises=False)
    assert list(table.columns) == ["clip_id", "times", "curve", "starts", "ends", "reason"]
    assert table.iloc[0].tolist() == ["good", [1.0, 3.5], [0.25, 0.75], [0.0, 2.0], [2.0, 5.0], None]
    assert table.iloc[1].tolist() == ["bad", None, None, None, None, "words"]
    with pytest.raises(DecodeError, match="bad: words"):
        make_curves(None, clips, SlidingWindowConfig(by="shots"), raises=True)


def test_lists_stay_lists():
    assert as_objects([[1, 2], None, [3]]).tolist() == [[1, 2], None, [3]]
