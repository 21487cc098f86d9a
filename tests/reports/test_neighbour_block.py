"""What a clip is compared to, on the page: nearest training clips, and how far out it lies."""

import numpy as np
import pandas as pd
import pytest

from m3ray.reports.neighbour_block import choose_pictured, describe_inside, describe_warning, make_neighbour_block

ROWS = pd.DataFrame(
    {
        "space": ["scene"] * 4 + ["model"] * 4,
        "rank": [1, 2, 3, 4] * 2,
        "neighbour": list("abcdefgh"),
        "true_score": [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, np.nan, 0.8],
    }
)
FRAME = np.zeros((4, 6, 3), np.uint8)


def test_the_nearest_by_the_model_are_pictured_and_other_spaces_are_lines():
    assert choose_pictured(ROWS) == ["e", "f", "g"]
    block = make_neighbour_block(ROWS, {"e": FRAME})
    assert [(clip["id"], clip["score"]) for clip in block["pictured"]] == [
        ("e", "0.500"),
        ("f", "0.600"),
        ("g", "no score"),
    ]
    assert block["pictured"][0]["picture"].startswith("data:image/jpeg")
    assert block["pictured"][1]["picture"] == "", "it cannot be read"
    assert block["by"] == "the model's last hidden layer"
    assert block["others"] == [{"by": "scene", "names": "a (0.100), b (0.200), c (0.300)"}]


def test_a_model_without_a_hidden_layer_shows_its_first_tier():
    rows = ROWS[ROWS["space"] == "scene"]
    assert choose_pictured(rows) == ["a", "b", "c"]
    block = make_neighbour_block(rows, {})
    assert (block["by"], block["others"]) == ("scene", [])


@pytest.mark.parametrize(
    ("inside", "sentence", "warned"),
    [
        (0.0, "It lies farther from the training clips than every one of them", True),
        (0.004, "0.4 % of the training clips lie farther", True),
        (0.01, "1 % of the training clips lie farther", False),
        (0.78, "78 % of the training clips lie farther", False),
        (np.nan, "", False),
        (None, "", False),
    ],
)
def test_how_far_out_a_clip_lies_is_said_and_warned_of(inside, sentence, warned):
    assert describe_inside(inside).startswith(sentence)
    assert bool(describe_warning(inside)) == warned
