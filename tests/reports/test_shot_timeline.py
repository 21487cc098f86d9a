"""A clip's shots on the page: names that can be heard, widths by time, heights by score, thousands taken together."""

import numpy as np
import pandas as pd
import pytest

from m3ray.reports.shot_timeline import MOST_PARTS, MOST_ROWS, make_timeline


def make_shots(scores, length=2.0):
    starts = length * np.arange(len(scores))
    return pd.DataFrame({"start": starts, "end": starts + length, "score": scores})


def test_each_shot_is_a_part_with_a_name_of_its_own():
    made = make_timeline(make_shots([0.5, 0.9, 0.4]), "film.mp4")
    assert made["name"] == "Shots of film.mp4"
    assert [part["name"] for part in made["parts"]] == [
        "Shot 1 of 3, 0.0 s to 2.0 s, score 0.500",
        "Shot 2 of 3, 2.0 s to 4.0 s, score 0.900",
        "Shot 3 of 3, 4.0 s to 6.0 s, score 0.400",
    ]
    assert [part["mark"] for part in made["parts"]] == ["", "best", "worst"]
    # From 12 hundredths for the lowest to 100 for the highest: 12 + 88 x (0.5 - 0.4) / 0.5.
    assert [part["height"] for part in made["parts"]] == [30, 100, 12]
    assert (made["best"], made["worst"]) == (["2.0 s to 4.0 s (0.900)"], ["4.0 s to 6.0 s (0.400)"])
    assert made["rows"][1] == ["2", "2.0 s", "4.0 s", "0.900"]
    assert made["note"] == ""


def test_thousands_of_shots_are_taken_together_and_the_ends_are_named():
    scores = np.random.default_rng(0).uniform(0.2, 0.8, 5_000)
    scores[[1234, 77]] = 0.95, 0.05
    made = make_timeline(make_shots(scores), "film.mp4")
    assert len(made["parts"]) == MOST_PARTS
    assert sum(float(part["width"]) for part in made["parts"]) == pytest.approx(10_000)
    assert made["parts"][0]["name"].startswith("Shots 1 to 52 of 5000, 0.0 s to 104.0 s, mean score ")
    mean = scores[:52].mean()
    assert f"mean score {mean:.3f}, highest {scores[:52].max():.3f}" in made["parts"][0]["name"]
    assert made["best"][0] == "41:08 to 41:10 (0.950)"
    assert made["worst"][0] == "2:34 to 2:36 (0.050)"
    assert len(made["rows"]) == 10 < MOST_ROWS
    assert made["note"].startswith("5,000 shots: each of the 96 parts stands for several.")
    assert made["end"] == "2:46:40"


def test_a_mean_of_shots_is_by_their_length():
    shots = make_shots(np.repeat([0.2, 0.8], MOST_PARTS))
    shots["score"] = np.tile([0.2, 0.8], MOST_PARTS)
    shots["end"] = shots["start"] + np.tile([3.0, 1.0], MOST_PARTS)
    made = make_timeline(shots, "film.mp4")
    assert "mean score 0.350" in made["parts"][5]["name"], "(3 x 0.2 + 1 x 0.8) / 4"


@pytest.mark.parametrize("scores", [[0.5], [0.5, float("nan")]])
def test_one_shot_is_a_sentence(scores):
    made = make_timeline(make_shots(scores), "clip.mp4")
    assert made == {"single": "One shot, no cut: 0.0 s to 2.0 s, score 0.500."}


def test_no_shot_is_nothing():
    assert make_timeline(make_shots([]), "a") is None
    assert make_timeline(pd.DataFrame({"start": [None], "end": [None], "score": [None]}), "a") is None


def test_shots_of_one_score_stand_at_one_height():
    made = make_timeline(make_shots([0.5, 0.5]), "a")
    assert len({part["height"] for part in made["parts"]}) == 1
