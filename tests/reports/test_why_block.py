"""Why a clip has its score, on the page: what is known is shown, and nothing where nothing is."""

import numpy as np
import pandas as pd

from m3ray.reports.beside_scores import BesideScores
from m3ray.reports.why_block import list_pictured, make_why

NEAR = pd.DataFrame({"space": "model", "rank": [1, 2, 3, 4], "neighbour": list("tuvw"), "true_score": 0.5})
SHOTS = pd.DataFrame({"start": [0.0, 2.0], "end": [2.0, 4.0], "score": [0.5, 0.6]})


def row(inside, score=0.5):
    return {"clip_id": "a", "score": score, "inside": inside}


def test_a_score_beyond_all_true_scores_is_an_extrapolation():
    beside = BesideScores(known=(0.4, 0.8))
    why = make_why(row(None, 0.9), beside, {})
    assert why["warning"].endswith("true scores range from 0.400 to 0.800.")
    assert make_why(row(None, 0.8), beside, {}) is None


def test_a_clip_of_which_nothing_is_known_has_no_block():
    assert make_why(row(None), BesideScores(), {}) is None
    assert make_why(row(np.nan), BesideScores(shots={"b": SHOTS}), {}) is None


def test_how_far_out_a_clip_lies_is_enough():
    why = make_why(row(0.0), BesideScores(), {})
    assert why["warning"].startswith("This score is an extrapolation")
    assert (why["map"], why["neighbours"], why["shots"]) == (None, None, None)


def test_all_that_is_known_is_there():
    beside = BesideScores({"a": {"reason": "damaged"}}, {"a": NEAR}, {"a": SHOTS})
    why = make_why(row(0.5), beside, {})
    assert why["map"]["reason"] == "damaged"
    assert len(why["neighbours"]["pictured"]) == 3
    assert len(why["shots"]["parts"]) == 2
    assert why["warning"] == ""


def test_first_frames_are_read_once_of_each_training_clip():
    beside = BesideScores(neighbours={"a": NEAR, "b": NEAR.assign(neighbour=list("vxyz"))})
    assert list_pictured(beside, ["a", "b", "c"]) == ["t", "u", "v", "x", "y"]
