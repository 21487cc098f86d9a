"""Scores of clips over time in one process: of their sliding windows, or of their shots."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

from m3ray.config import SlidingWindowConfig
from m3ray.errors import DecodeError, FeatureError
from m3ray.scoring.clip_errors import name_clip, reason_of
from m3ray.scoring.inputs import ClipInput
from m3ray.scoring.shots import Values, score_shots
from m3ray.tiers import Window
from m3ray.tiers.base import average_windows, own_rate
from m3ray.video.sliding_windows import iter_sliding_windows

if TYPE_CHECKING:
    import pandas as pd

    from m3ray.scoring.scorer import Scorer

_CURVE = ("times", "curve")
_SPANS = ("starts", "ends")


def make_curves(
    scorer: Scorer, clips: Iterable[ClipInput], config: SlidingWindowConfig, *, raises: bool
) -> pd.DataFrame:
    """Score clips over time.

    Args:
        scorer: Opened bundle.
        clips: The clips.
        config: What a clip is cut into.
        raises: Whether a clip that cannot be scored ends all with its error; else its row has the reason.
    Returns:
        A row a clip: `clip_id`, `times` and `curve`, of shots also `starts` and `ends`, all lists, and `reason`.
    Raises:
        DecodeError, FeatureError: If `raises`, and a clip cannot be scored.
    """
    import pandas as pd  # imported with the first result: a bundle opens without it

    score, names = (_score_shots, (*_CURVE, *_SPANS)) if config.by == "shots" else (_score_windows, _CURVE)
    rows: list[tuple[Any, ...]] = []
    for clip in clips:
        try:
            with name_clip(clip.clip_id):
                lists: tuple[Any, ...] = score(scorer, clip, config)
            rows.append((clip.clip_id, *lists, None))
        except (DecodeError, FeatureError) as error:
            if raises:
                raise
            rows.append((clip.clip_id, *(None for _ in names), reason_of(error, clip.clip_id)))
    columns = {
        name: pd.Series(as_objects([row[k] for row in rows]), dtype=object)
        for k, name in enumerate(("clip_id", *names, "reason"))
    }
    return pd.DataFrame(columns).astype({"clip_id": str})


def _score_windows(scorer: Scorer, clip: ClipInput, config: SlidingWindowConfig) -> tuple[list[float], ...]:
    """The middles of a clip's sliding windows, and their scores."""
    seconds: list[float] = []
    rows: list[Values] = []
    for sliding in iter_sliding_windows(scorer.decode(clip), scorer.configs.decode.fps, config):
        frames, metadata = np.ascontiguousarray(sliding.frames), sliding.metadata
        window = Window(frames, video_bytes=metadata.video_bytes, rate=own_rate(metadata))
        rows.append({tier.name: average_windows(tier.compute([window])) for tier in scorer.tiers})
        seconds.append(float(sliding.seconds))
    scores = scorer.score_rows(rows, [str(number) for number in range(len(rows))])
    return seconds, np.asarray(scores["score"], np.float64).tolist()


def _score_shots(scorer: Scorer, clip: ClipInput, config: SlidingWindowConfig) -> tuple[list[float], ...]:
    """The middles of a clip's shots, their scores, and when each begins and ends."""
    shots, scores = score_shots(scorer, clip, config)
    curve = np.asarray(scores["score"], np.float64)
    middles = (shots.starts + shots.ends) / 2
    return middles.tolist(), curve.tolist(), shots.starts.tolist(), shots.ends.tolist()


def as_objects(values: list[Any]) -> np.ndarray:
    """Make an array of values as they are: lists stay lists, and None stays None.

    Args:
        values: Any values, N of them.
    Returns:
        An array of objects, (N,).
    """
    array = np.empty(len(values), object)
    for row, value in enumerate(values):
        array[row] = value
    return array
