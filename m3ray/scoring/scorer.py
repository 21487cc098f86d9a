"""Scoring of videos and images with a bundle in one process, without a cluster."""

from __future__ import annotations

import os
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np
import torch

from m3ray.config import LimitsConfig, SlidingWindowConfig
from m3ray.errors import ConfigError, DecodeError, FeatureError
from m3ray.features.matrix import Features
from m3ray.schema import CAPTIONS
from m3ray.scoring.bundle import Bundle, describe_software
from m3ray.scoring.bundle_tiers import (
    compute_captions,
    compute_similarity,
    load_similarity,
    make_bundle_tiers,
    select_features,
)
from m3ray.scoring.clip_errors import name_clip, reason_of
from m3ray.scoring.comparing import compare_clips, list_neighbours
from m3ray.scoring.curves import as_objects, make_curves
from m3ray.scoring.describe_scorer import describe_calibration, describe_origin
from m3ray.scoring.frames import DecodedWindows, window_frames
from m3ray.scoring.inputs import ClipInput, Scorable, iter_clips
from m3ray.scoring.open_bundle import open_bundle
from m3ray.scoring.progress import show_progress
from m3ray.scoring.reference.neighbours import add_inside, explain_no_reference
from m3ray.scoring.shots import SHOTS, make_shot_table
from m3ray.scoring.threads import use_one_thread
from m3ray.storage.filesystems import absolute_uri
from m3ray.tiers.base import average_windows, check_finite, iter_clip_windows
from m3ray.tiers.malloc import keep_freed_memory
from m3ray.video.reader import read_video
from m3ray.video.sandbox import MAX_THREADS, Decoder

if TYPE_CHECKING:
    import pandas as pd

    from m3ray.config.explain_options import ExplainConfig
    from m3ray.scoring.explanations.explain import Unexplained
    from m3ray.scoring.explanations.explanation import Explanation

Values = dict[str, dict[str, np.ndarray]]
OnError = Literal["row", "raise"]
_BATCH = 64  # clips whose features are held until they are scored together


@dataclass(frozen=True)
class _Measured:
    """What became of a clip: the values of its tiers, or why there are none."""

    clip_id: str
    values: Values | None
    seconds: float
    reason: str | None = None


class Scorer:
    """Score videos and images with a bundle, one after the other.

    On a CPU it makes the whole process keep freed memory: much of the time would go into getting it again.

    Args:
        uri: The bundle's folder, local or on S3, or the name of a pretrained scorer, such as `resmem`.
        limits: Per-clip resource limits; None: the default ones.
        allow_other_weights: Whether a pretrained scorer may have other weights than the published ones.
    """

    def __init__(
        self, uri: str | os.PathLike[str], limits: LimitsConfig | None = None, *, allow_other_weights: bool = False
    ) -> None:
        self.bundle = open_bundle(uri, allow_other_weights=allow_other_weights)
        software = describe_software(self.bundle) if isinstance(self.bundle, Bundle) else None
        if software:
            warnings.warn(f"{self.bundle.name}: {software}", stacklevel=2)
        self.configs, self.tiers = make_bundle_tiers(self.bundle)
        self._similarity = load_similarity(self.bundle)
        threads = min(torch.get_num_threads(), MAX_THREADS)
        self.decoder = Decoder(self.configs.decode, limits or LimitsConfig(), threads=threads)
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        if self.device.type == "cpu":
            keep_freed_memory()
        with use_one_thread():
            for tier in self.tiers:
                tier.setup(self.device)

    def __repr__(self) -> str:
        tiers = ", ".join(self.bundle.tiers)
        origin, calibration = describe_origin(self.bundle), describe_calibration(self.bundle)
        return f"Scorer({self.bundle.name}: {tiers} on {self.device.type}; {origin}; {calibration})"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the process that decodes."""
        self.decoder.close()

    @property
    def columns(self) -> list[str]:
        """Names of the columns that `predict` gives."""
        shares = [f"share_{tier}" for tier in self.bundle.tiers] if isinstance(self.bundle, Bundle) else []
        inside = ["inside"] if explain_no_reference(self.bundle) is None else []
        return ["clip_id", "score", "spread", "low", "high", *shares, *inside, "seconds", "reason"]

    def features(self, path: str | os.PathLike[str]) -> Values:
        """Compute the tiers of a clip.

        Args:
            path: Path or URI of a video or an image.
        Returns:
            Name of each tier to the name of each of its columns to the value.
        Raises:
            DecodeError: If it cannot be decoded.
            FeatureError: If a value is not finite.
        """
        name = os.fspath(path)
        return self._compute_tiers(ClipInput(name, name))

    def predict(
        self,
        what: Scorable,
        tiers: Mapping[str, Any] | None = None,
        *,
        on_error: OnError = "row",
        progress: bool | None = None,
    ) -> pd.DataFrame:
        """Score videos and images.

        Args:
            what: A path or URI, a folder (all videos and images in it), a pattern (`videos/*.mp4`), the bytes of a
                file, frames ((T, H, W, 3) of a clip or (H, W, 3) of an image, RGB, uint8 or in [0, 1], taken as sampled
                at the rate that the bundle samples at), or a sequence or generator of those; N clips in all.
            tiers: Name of each user-provided tier to the name of each column to its values, (N,) or (N, width);
                `captions` to each clip's text or texts (None: it has none); None where the bundle sees no such tier.
            on_error: What becomes of a clip that cannot be scored: "row": a row without numbers, with the reason;
                "raise": the error, which names the clip.
            progress: Whether a progress bar is shown; None: for more than a few clips, in a notebook or a terminal.
        Returns:
            A row a clip: `clip_id` (its path, or `[k]` for the k-th that was given without one), `score`, `spread`,
            `low`, `high`, `share_<tier>`, `inside` (see `m3ray.scoring.reference.neighbours`), `seconds` (what it
            took), `reason` (why there is no score; None: there is).
        Raises:
            ConfigError: If something is given that cannot be scored, such as a number.
            ShapeError: If an array is none of frames.
            DecodeError, FeatureError: With on_error="raise", if a clip cannot be scored.
            FeatureError: If a user-provided tier that the bundle sees is missing, or has other columns.
        """
        import pandas as pd  # imported with the first result: a bundle opens without it

        _check_on_error(on_error)
        clips: Any = iter_clips(what, expand=bool(self.tiers))
        if self.bundle.metadata.user_provided or CAPTIONS in self.bundle.tiers or not isinstance(what, Iterator):
            clips = list(clips)
        provided = self.check_user_columns(tiers or {}, len(clips) if isinstance(clips, list) else 0)
        waiting: list[_Measured] = []
        parts: list[Mapping[str, Any]] = []
        for clip in show_progress(clips, wanted=progress):
            waiting.append(self.measure(clip, on_error))
            if len(waiting) == _BATCH:
                parts.append(self._score_measured(waiting, provided, _BATCH * len(parts)))
                waiting = []
        parts.append(self._score_measured(waiting, provided, _BATCH * len(parts)))
        frame = pd.DataFrame({name: np.concatenate([part[name] for part in parts]) for name in self.columns[:-1]})
        # As a column of objects, so that None stays None.
        reasons = pd.Series(np.concatenate([part["reason"] for part in parts]), dtype=object)
        return frame.assign(reason=reasons)

    def over_time(
        self,
        what: Scorable,
        config: SlidingWindowConfig | None = None,
        *,
        on_error: OnError = "row",
        progress: bool | None = None,
    ) -> pd.DataFrame:
        """Score the sliding windows of videos, or their shots.

        Args:
            what: What `predict` takes.
            config: Length and step of the windows; None: the default ones. With `by="shots"` the videos are cut into
                their shots instead.
            on_error: What becomes of a clip that cannot be scored, as in `predict`.
            progress: Whether a progress bar is shown, as in `predict`.
        Returns:
            A row a clip: `clip_id`, `times` (the windows' middles, seconds from the clip's start), `curve` (their
            scores), both lists, as jobs/predict.py writes them, and `reason` (why there are none; None: there are).
            `.explode(["times", "curve"])` makes it a row a window. Of shots also `starts` and `ends`, seconds.
        Raises:
            ConfigError, ShapeError: As `predict`; if the detector of shots cannot be had.
            DecodeError: With on_error="raise", if a clip cannot be decoded.
            FeatureError: If the bundle sees a user-provided tier, which a user provides once a clip.
        """
        _check_on_error(on_error)
        self.check_user_columns({}, 1)
        clips: Any = iter_clips(what)
        clips = clips if isinstance(what, Iterator) else list(clips)
        shown = show_progress(clips, wanted=progress)
        return make_curves(self, shown, config or SlidingWindowConfig(), raises=on_error == "raise")

    def shots(
        self,
        what: Scorable,
        config: SlidingWindowConfig = SHOTS,
        *,
        on_error: OnError = "row",
        progress: bool | None = None,
    ) -> pd.DataFrame:
        """Score the shots of videos, each as a clip.

        Args:
            what: What `predict` takes.
            config: How shots are found.
            on_error: What becomes of a clip that cannot be scored, as in `predict`.
            progress: Whether a progress bar is shown, as in `predict`.
        Returns:
            A row a shot: `clip_id`, `shot` (from 0), `start` and `end` (seconds from the clip's start), `score`,
            `spread`, `low`, `high`, `share_<tier>`, `reason`. A clip that cannot be scored is one row with the reason.
        Raises:
            ConfigError, ShapeError, DecodeError, FeatureError: As `over_time`.
        """
        _check_on_error(on_error)
        self.check_user_columns({}, 1)
        clips = show_progress(list(iter_clips(what)), wanted=progress)
        return make_shot_table(self, clips, replace(config, by="shots"), raises=on_error == "raise")

    def explain(
        self,
        what: Scorable,
        config: ExplainConfig | None = None,
        tiers: Mapping[str, Any] | None = None,
        *,
        on_error: OnError = "row",
        progress: bool | None = None,
    ) -> list[Explanation | Unexplained]:
        """Map which parts of clips, and when, add to their scores.

        Args:
            what: What `predict` takes.
            config: Method, budget and grid; None: the default ones.
            tiers: User-provided tiers, as `predict` takes them; they stay as they are.
            on_error: What becomes of a clip that cannot be mapped: "row": an `Unexplained` with the reason; "raise":
                the error, which names the clip.
            progress: Whether a progress bar is shown, as in `predict`.
        Returns:
            A map for each clip, in the order given.
        Raises:
            ConfigError, ShapeError, DecodeError, FeatureError: As `predict`; ConfigError also where nothing that the
                bundle sees can be hidden, or a gradient is asked for that some tier has not.
        """
        from m3ray.scoring.explanations.explain import explain_clips  # scores alone need none of it

        _check_on_error(on_error)
        clips = list(iter_clips(what))
        shown = show_progress(clips, wanted=progress)
        provided = self.check_user_columns(tiers or {}, len(clips))
        return list(explain_clips(self, shown, config, provided, raises=on_error == "raise"))

    compare = compare_clips
    neighbours = list_neighbours

    def measure(self, clip: ClipInput, on_error: OnError = "row") -> _Measured:
        """Compute a clip's tiers, or tell why they cannot be computed."""
        begun = time.perf_counter()
        try:
            values = self._compute_tiers(clip) if self.tiers else {}
        except (DecodeError, FeatureError) as error:
            if on_error == "raise":
                raise
            return _Measured(clip.clip_id, None, time.perf_counter() - begun, reason_of(error, clip.clip_id))
        return _Measured(clip.clip_id, values, time.perf_counter() - begun)

    def _compute_tiers(self, clip: ClipInput) -> Values:
        measured: dict[str, list[Any]] = {tier.name: [] for tier in self.tiers}
        with name_clip(clip.clip_id):
            for _, window in iter_clip_windows(self.decode(clip)):
                for tier in self.tiers:
                    measured[tier.name] += tier.compute([window])
            values = {tier.name: average_windows(measured[tier.name]) for tier in self.tiers}
            for name, columns in values.items():
                check_finite(columns, name)
        return values

    def decode(self, clip: ClipInput) -> DecodedWindows:
        """Give a clip's windows of frames, from the decoder or from an array.

        Args:
            clip: The clip.
        Returns:
            Metadata and frames of each window, in order.
        Raises:
            DecodeError: If it cannot be read; while windows are taken, if it cannot be decoded.
        """
        if clip.failure is not None:
            raise clip.failure
        if isinstance(clip.data, np.ndarray):
            return window_frames(clip.data, self.configs.decode)
        data = clip.data
        if isinstance(data, str):
            data = read_video(absolute_uri(data), self.decoder.limits.max_bytes)
        return self.decoder.windows(data)

    def _score_measured(
        self, clips: Sequence[_Measured], provided: Mapping[str, np.ndarray], first: int
    ) -> Mapping[str, Any]:
        """Columns of a batch of clips, the first of which is number `first` of all; NaN where there is no score."""
        done = [row for row, clip in enumerate(clips) if clip.values is not None]
        columns: dict[str, Any] = {name: np.full(len(clips), np.nan) for name in self.columns}
        if done:
            mine = {name: values[first + np.array(done)] for name, values in provided.items()}
            rows = [values for clip in clips if (values := clip.values) is not None]
            features = self.select_columns(rows, [clips[row].clip_id for row in done], mine)
            scores = add_inside(self.bundle.score(features), self.bundle, features)
            for name in set(self.columns) & set(scores) - {"clip_id"}:
                columns[name][done] = np.asarray(scores[name], np.float64)
        columns["clip_id"] = as_objects([clip.clip_id for clip in clips])
        columns["seconds"] = np.array([clip.seconds for clip in clips], np.float64)
        columns["reason"] = as_objects([clip.reason for clip in clips])
        return columns

    def score_rows(
        self, rows: Sequence[Values], ids: Sequence[str], provided: Mapping[str, np.ndarray] | None = None
    ) -> pd.DataFrame:
        """Score clips whose tiers are computed.

        Args:
            rows: Tiers of each of N clips, name to name to value.
            ids: Ids of the clips.
            provided: `tier/column` to values of user-provided tiers, (N,) or (N, width); None: there are none.
        Returns:
            A row a clip, as `Bundle.score` gives it.
        """
        return self.bundle.score(self.select_columns(rows, ids, provided))

    def select_columns(
        self, rows: Sequence[Values], ids: Sequence[str], provided: Mapping[str, np.ndarray] | None = None
    ) -> Features:
        """Compute the similarity tier, and select what the bundle's model sees.

        Args:
            rows: Tiers of each of N clips, name to name to value.
            ids: Ids of the clips.
            provided: `tier/column` to values of user-provided tiers, (N,) or (N, width); None: there are none.
        Returns:
            The matrix, (N, F).
        """
        columns = {
            f"{tier}/{name}": np.stack([row[tier][name] for row in rows])
            for tier in (rows[0] if rows else ())
            for name in rows[0][tier]
        }
        columns |= provided or {}
        if self._similarity is not None:
            columns |= compute_similarity(self._similarity, columns)
        return select_features(self.bundle, ids, columns)

    def check_user_columns(self, given: Mapping[str, Any], count: int) -> dict[str, np.ndarray]:
        """Check the user-provided tiers of clips, and compute that of their captions.

        Args:
            given: Name of each tier to its values, as `predict` takes them.
            count: Number of clips, N.
        Returns:
            `tier/column` to values, float32.
        Raises:
            FeatureError: If a tier that the bundle sees is missing, or has other columns.
        """
        columns = compute_captions(self.bundle, given.get(CAPTIONS), count)
        for tier, entry in self.bundle.metadata.user_provided.items():
            widths = (entry.identity or {})["columns"].items()
            expected = {name: (count, width) if width > 1 else (count,) for name, width in widths}
            got = {name: np.shape(values) for name, values in given.get(tier, {}).items()}
            if got != expected:
                raise FeatureError(
                    f"{self.bundle.name} sees the user-provided tier {tier}: give predict(..., tiers={{{tier!r}: "
                    f"...}}) with {expected}; got {got or 'nothing'}"
                )
            columns |= {f"{tier}/{name}": np.asarray(values, np.float32) for name, values in given[tier].items()}
        return columns


def _check_on_error(on_error: str) -> None:
    if on_error not in ("row", "raise"):
        raise ConfigError(f"on_error={on_error!r}: expected 'row' (a row with the reason) or 'raise'")
