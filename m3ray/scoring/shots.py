"""Shots of a clip in one process: found, each scored as a clip, as a table."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from m3ray.config import SlidingWindowConfig
from m3ray.errors import DecodeError, FeatureError
from m3ray.scoring.clip_errors import name_clip, reason_of
from m3ray.scoring.frames import DecodedWindows, window_frames
from m3ray.scoring.inputs import ClipInput
from m3ray.storage.filesystems import absolute_uri
from m3ray.tiers import Tier
from m3ray.tiers.base import average_windows, check_finite, iter_clip_windows
from m3ray.video.reader import read_video
from m3ray.video.shots.detectors import check_detector
from m3ray.video.shots.find import find_shots, find_shots_of_frames
from m3ray.video.shots.pieces import iter_shot_pieces
from m3ray.video.shots.timeline import Shots

if TYPE_CHECKING:
    import pandas as pd

    from m3ray.scoring.scorer import Scorer

Values = dict[str, dict[str, np.ndarray]]
KEYS = ("clip_id", "shot", "start", "end")
SHOTS = SlidingWindowConfig(by="shots")


def score_shots(scorer: Scorer, clip: ClipInput, config: SlidingWindowConfig) -> tuple[Shots, pd.DataFrame]:
    """Find the shots of a clip, and score each as a clip.

    Args:
        scorer: Opened bundle.
        clip: The clip.
        config: How shots are found.
    Returns:
        Its shots; and a row a shot, as `Bundle.score` gives them.
    Raises:
        DecodeError: If it cannot be decoded.
        FeatureError: If a value is not finite.
        ConfigError, WeightsError: If the detector cannot be had.
    """
    if clip.failure is not None:
        raise clip.failure
    check_detector(config)
    decode, given = scorer.configs.decode, clip.data
    if isinstance(given, np.ndarray):
        shots = find_shots_of_frames(given, decode.fps, config)
        windows = window_frames(given, decode)
    else:
        data = read_video(absolute_uri(given), scorer.decoder.limits.max_bytes) if isinstance(given, str) else given
        shots = find_shots(scorer.decoder, data, config)
        windows = scorer.decoder.windows(data)
    rows = list(compute_shots(windows, shots, scorer.tiers, decode.window_frames))
    return shots, scorer.score_rows(rows, [str(number) for number in range(len(rows))])


def compute_shots(windows: DecodedWindows, shots: Shots, tiers: Sequence[Tier], width: int) -> Iterator[Values]:
    """Compute the tiers of each shot while the clip is decoded, as if the shot were a clip.

    Args:
        windows: Metadata and frames of the clip's windows, in order.
        shots: The clip's shots.
        tiers: Tiers, set up.
        width: Frames of a decoder window, which a longer shot is taken in.
    Yields:
        Name of each tier to the name of each of its columns to the shot's value, in the shots' order.
    Raises:
        DecodeError: If the clip cannot be decoded.
        FeatureError: If a value is not finite.
    """
    pieces = iter_shot_pieces(windows, shots, width)
    for _, group in itertools.groupby(pieces, lambda piece: piece.shot):
        measured: dict[str, list[Any]] = {tier.name: [] for tier in tiers}
        for _, window in iter_clip_windows((piece.metadata, np.ascontiguousarray(piece.frames)) for piece in group):
            for tier in tiers:
                measured[tier.name] += tier.compute([window])
        values = {name: average_windows(parts) for name, parts in measured.items()}
        for name, columns in values.items():
            check_finite(columns, name)
        yield values


def make_shot_table(
    scorer: Scorer, clips: Iterable[ClipInput], config: SlidingWindowConfig, *, raises: bool
) -> pd.DataFrame:
    """Score the shots of clips.

    Args:
        scorer: Opened bundle.
        clips: The clips.
        config: How shots are found.
        raises: Whether a clip that cannot be scored ends all with its error; else its row has the reason.
    Returns:
        A row a shot: `clip_id`, `shot` (from 0), `start` and `end` (seconds), `score`, `spread`, `low`, `high`, the
        shares, `reason`; of a clip without shots one row with the reason, numbers NaN.
    Raises:
        DecodeError, FeatureError: If `raises`, and a clip cannot be scored.
    """
    import pandas as pd

    shares = [name for name in scorer.columns if name.startswith("share_")]
    columns = [*KEYS, "score", "spread", "low", "high", *shares, "reason"]
    rows: list[Mapping[str, Any]] = []
    for clip in clips:
        try:
            with name_clip(clip.clip_id):
                rows += iter_shot_rows(clip.clip_id, *score_shots(scorer, clip, config))
        except (DecodeError, FeatureError) as error:
            if raises:
                raise
            rows.append({"clip_id": clip.clip_id, "reason": reason_of(error, clip.clip_id)})
    cells = {name: [row.get(name, math.nan) for row in rows] for name in columns}
    numbers = pd.array([row.get("shot") for row in rows], "Int64")
    reasons = pd.Series(cells["reason"], dtype=object)  # None stays None
    return pd.DataFrame({**cells, "shot": numbers, "reason": reasons}, columns=columns)


def iter_shot_rows(clip_id: str, shots: Shots, scores: pd.DataFrame) -> Iterator[Mapping[str, Any]]:
    """Make rows of the scores of a clip's shots.

    Args:
        clip_id: Id of the clip.
        shots: Its shots.
        scores: A row a shot, as `Bundle.score` gives them.
    Yields:
        `clip_id`, `shot`, `start`, `end`, what the bundle gives, and `reason`, None.
    """
    spans = zip(shots.starts.tolist(), shots.ends.tolist(), scores.to_dict("records"), strict=True)
    for shot, (start, end, given) in enumerate(spans):
        numbers = {str(name): value for name, value in given.items()}
        yield {**numbers, "clip_id": clip_id, "shot": shot, "start": start, "end": end, "reason": None}
