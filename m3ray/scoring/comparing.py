"""What a scorer tells of clips beside others, those that are given and the train clips: two methods of `Scorer`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from m3ray.errors import FeatureError
from m3ray.features.matrix import Features
from m3ray.scoring.comparison import compare
from m3ray.scoring.inputs import Scorable, iter_clips
from m3ray.scoring.progress import show_progress
from m3ray.scoring.reference.neighbours import SHOWN, check_count, explain_no_reference, find_neighbours

if TYPE_CHECKING:
    import pandas as pd

    from m3ray.scoring.scorer import Scorer


def compare_clips(scorer: Scorer, what: Scorable, *, progress: bool | None = None) -> pd.DataFrame:
    """Rank clips, and tell how sure the order is.

    Args:
        scorer: The opened bundle.
        what: What `predict` takes, two clips or more.
        progress: Whether a progress bar is shown, as in `predict`.
    Returns:
        What `m3ray.scoring.comparison.compare` gives of the predictions: the highest score first, with `rank`, `lead`,
        `p_next` and `p_best`. Probabilities are not numbers where the bundle is not calibrated.
    Raises:
        ConfigError, ShapeError, FeatureError: As `predict`.
    """
    return compare(scorer.predict(what, progress=progress), scorer.bundle)


def list_neighbours(
    scorer: Scorer, what: Scorable, count: int = SHOWN, *, progress: bool | None = None
) -> pd.DataFrame:
    """List the train clips that are nearest to clips.

    Args:
        scorer: The opened bundle.
        what: What `predict` takes.
        count: Neighbours in each space, at most 10.
        progress: Whether a progress bar is shown, as in `predict`.
    Returns:
        A row a neighbour: `clip_id`, `space` (a tier, or `model`: the last hidden layer), `rank`, `neighbour`,
        `distance`, `true_score`. A clip that cannot be scored has no rows.
    Raises:
        FeatureError: If the bundle has no train clips to compare with, or sees a user-provided tier.
        ConfigError, ShapeError: As `predict`.
    """
    check_count(count)
    reason = explain_no_reference(scorer.bundle)
    if reason is not None:
        raise FeatureError(reason)
    scorer.check_user_columns({}, 1)
    rows, ids = [], []
    for clip in show_progress(list(iter_clips(what)), wanted=progress):
        measured = scorer.measure(clip)
        if measured.values is not None:
            rows.append(measured.values)
            ids.append(measured.clip_id)
    columns = sum(len(block.names) for block in scorer.bundle.blocks)
    nothing = Features((), np.empty((0, columns), np.float32), scorer.bundle.blocks)
    return find_neighbours(scorer.bundle, scorer.select_columns(rows, ids) if rows else nothing, count).table
