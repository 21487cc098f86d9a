"""Which clips stand for a set of scores: the most and the least memorable ones."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

CLIPS_PER_END = 8


def choose_ends(frame: pd.DataFrame) -> pd.DataFrame:
    """Choose the clips at both ends of the scores, of those that the model did not train on.

    Args:
        frame: Clips by falling score, with the column `split`.
    Returns:
        At most eight of each end, by falling score; train clips only where there are not enough others.
    """
    import pandas as pd

    is_train = (frame["split"] == "train").fillna(False).astype(bool)  # Arrow's nulls compare as null
    unseen, train = frame[~is_train], frame[is_train]
    ends = _cut_ends(unseen, 2 * CLIPS_PER_END)
    chosen = pd.concat([ends, _cut_ends(train, 2 * CLIPS_PER_END - len(ends))])
    return chosen.sort_values("score", ascending=False, kind="stable")


def _cut_ends(frame: pd.DataFrame, count: int) -> pd.DataFrame:
    """The first and the last rows, `count` in all."""
    if len(frame) <= count:
        return frame
    import pandas as pd

    return pd.concat([frame.iloc[: -(-count // 2)], frame.iloc[len(frame) - count // 2 :]])
