"""The clips at both ends of a set of scores: those that trained nothing first, each once."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from m3ray.scoring.ends import choose_ends


@pytest.mark.parametrize(
    ("splits", "expected"),
    [
        ("v", "a"),
        ("t" * 20, "a" * 8 + "m" * 8),
        ("vt" * 3, "abcdef"),
    ],
)
def test_ends_of_few_clips_hold_each_once(splits, expected):
    names = {"v": "val", "t": "train"}
    frame = pd.DataFrame({"split": [names[s] for s in splits], "score": np.linspace(1, 0, len(splits))})
    ends = choose_ends(frame)
    assert len(ends) == len(expected)
    assert ends.index.is_unique
    assert ends["score"].is_monotonic_decreasing


@pytest.mark.parametrize("kind", [object, pd.ArrowDtype(pa.string())])
def test_new_clips_are_in_no_split(kind):
    """As `score_root` gives them: none was chosen, and so none was mapped."""
    split = pd.Series([None] * 20, dtype=kind)
    frame = pd.DataFrame({"split": split, "score": np.linspace(1, 0, 20)})
    assert choose_ends(frame).index.tolist() == [*range(8), *range(12, 20)]


def test_train_clips_fill_up_alone():
    frame = pd.DataFrame({"split": ["train"] * 20 + [None] * 4, "score": np.linspace(1, 0, 24)})
    ends = choose_ends(frame)
    assert ends["split"].isna().sum() == 4
    assert ends.index.tolist() == [*range(6), *range(14, 24)], "six of each end of the twenty, and all four others"
