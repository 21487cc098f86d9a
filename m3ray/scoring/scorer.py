"""Scoring of videos with a bundle in one process, without a cluster."""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from m3ray.config import LimitsConfig, SlidingWindowConfig, TierConfigs
from m3ray.errors import DecodeError, FeatureError
from m3ray.features.matrix import Features
from m3ray.scoring.bundle import Bundle, describe_software
from m3ray.similarity.fitted import FittedSimilarity
from m3ray.storage.filesystems import absolute_uri
from m3ray.tiers import HogProjection, Tier, Window, average_windows
from m3ray.tiers.base import iter_clip_windows, own_rate
from m3ray.tiers.factory import TierInputs, make_tiers, select_computed
from m3ray.tiers.finetuned import tier_of_network_file
from m3ray.tiers.malloc import keep_freed_memory
from m3ray.tiers.network import WeightSource
from m3ray.video.reader import read_video
from m3ray.video.sandbox import MAX_THREADS, Decoder
from m3ray.video.sliding_windows import iter_sliding_windows

if TYPE_CHECKING:
    import pandas as pd

Values = dict[str, dict[str, np.ndarray]]


def make_bundle_tiers(bundle: Bundle) -> tuple[TierConfigs, list[Tier]]:
    """Make the computed tiers that a bundle needs, with its own settings, weights and PCA.

    The similarity tier needs the vector tiers that it was fitted on, whether or not the model sees them.

    Args:
        bundle: The bundle.
    Returns:
        Settings of the tiers, and the tiers, which are not set up yet.
    """
    configs = bundle.metadata.configs
    sources = {tier: WeightSource(**entry) for tier, entry in bundle.metadata.sources.items()}
    for file, digest in bundle.networks.items():
        sources[tier_of_network_file(file)] = WeightSource(f"{bundle.uri}/{file}", digest)
    projection = None
    if "hog_pca.json" in bundle.files:
        metadata = json.loads(bundle.files["hog_pca.json"])
        projection = HogProjection.from_artifact(bundle.files["hog_pca.safetensors"], metadata)
    fitted = load_similarity(bundle)
    needed = [*bundle.tiers, *(fitted.parts if fitted else ())]
    return configs, make_tiers(select_computed(needed), TierInputs(configs, sources, projection))


def load_similarity(bundle: Bundle) -> FittedSimilarity | None:
    """Load the fitted similarity tier of a bundle.

    Args:
        bundle: The bundle.
    Returns:
        The tier; None where the bundle sees no similarity.
    """
    if "similarity.json" not in bundle.files:
        return None
    return FittedSimilarity.from_bytes(bundle.files["similarity.safetensors"], bundle.files["similarity.json"])


def select_features(bundle: Bundle, ids: Sequence[str], columns: dict[str, np.ndarray]) -> Features:
    """Select the matrix that a bundle's model sees.

    Args:
        bundle: Names the columns, F in all.
        ids: Ids of N clips.
        columns: `tier/column` to values, (N,) or (N, width); further columns are left out.
    Returns:
        The features, (N, F), float32.
    """
    parts: list[np.ndarray] = []
    for block in bundle.blocks:
        available = _split_vectors(block.tier, columns)
        parts.append(np.stack([available[name] for name in block.names], axis=1))
    return Features(tuple(ids), np.concatenate(parts, axis=1).astype(np.float32), tuple(bundle.blocks))


def _split_vectors(tier: str, columns: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Name to values, (N,), of each number of a tier; vectors become `hog_0`, `hog_1`, ..."""
    numbers: dict[str, np.ndarray] = {}
    for key, values in columns.items():
        owner, _, name = key.partition("/")
        if owner != tier:
            continue
        if values.ndim == 1:
            numbers[name] = values
        else:
            numbers |= {f"{name}_{k}": values[:, k] for k in range(values.shape[1])}
    return numbers


def compute_similarity(fitted: FittedSimilarity, columns: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Compute the similarity tier of new clips.

    Args:
        fitted: The measure, fitted on the train split.
        columns: `tier/column` to values of N clips, (N,) or (N, width), of the tiers that the measure compares.
    Returns:
        `similarity/column` to values, (N,).
    """
    vectors = {
        tier: np.stack(list(_split_vectors(tier, columns).values()), axis=1).astype(np.float64) for tier in fitted.parts
    }
    values = fitted.transform(vectors)
    return {f"similarity/{name}": values[:, k] for k, name in enumerate(fitted.columns)}


@contextmanager
def _use_one_thread() -> Iterator[None]:
    """Compute on this thread alone.

    A network is set up in thousands of small steps. Threads that share them wait for each other after each, for long
    where other programs keep the cores busy.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


class Scorer:
    """Score videos with a bundle, one after the other.

    On a CPU it makes the whole process keep freed memory: much of the time would go into getting it again.

    Args:
        uri: The bundle's folder, local or on S3.
        limits: Per-clip resource limits; None: the default ones.
    """

    def __init__(self, uri: str | os.PathLike[str], limits: LimitsConfig | None = None) -> None:
        self.bundle = Bundle.load(os.fspath(uri))
        software = describe_software(self.bundle)
        if software:
            warnings.warn(f"{self.bundle.name}: {software}", stacklevel=2)
        self.configs, self.tiers = make_bundle_tiers(self.bundle)
        self._similarity = load_similarity(self.bundle)
        threads = min(torch.get_num_threads(), MAX_THREADS)
        self._decoder = Decoder(self.configs.decode, limits or LimitsConfig(), threads=threads)
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        if device.type == "cpu":
            keep_freed_memory()
        with _use_one_thread():
            for tier in self.tiers:
                tier.setup(device)

    def features(self, path: str | os.PathLike[str]) -> Values:
        """Compute the tiers of a video.

        Args:
            path: Path or URI of the video.
        Returns:
            Name of each tier to the name of each of its columns to the value.
        Raises:
            DecodeError: If the video cannot be decoded.
        """
        try:
            return self._compute_tiers(path)
        except DecodeError as error:  # of several videos nobody would know which one it is
            raise DecodeError(error.reason, f"{os.fspath(path)}: {error.message}", error.stage) from error

    def _compute_tiers(self, path: str | os.PathLike[str]) -> Values:
        data = read_video(absolute_uri(os.fspath(path)), self._decoder.limits.max_bytes)
        measured: dict[str, list[Any]] = {tier.name: [] for tier in self.tiers}
        for _, window in iter_clip_windows(self._decoder.windows(data)):
            for tier in self.tiers:
                measured[tier.name] += tier.compute([window])
        return {name: average_windows(windows) for name, windows in measured.items()}

    def predict(
        self,
        paths: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
        tiers: Mapping[str, Mapping[str, np.ndarray]] | None = None,
    ) -> pd.DataFrame:
        """Score videos.

        Args:
            paths: Paths or URIs of N videos; of one, its path alone.
            tiers: Name of each user-provided tier to the name of each column to its values, (N,) or (N, width); None
                where the bundle sees no such tier.
        Returns:
            A row a video: `clip_id` (the path), `score`, `spread`, `low`, `high`, `share_<tier>`.
        Raises:
            DecodeError: If a video cannot be decoded.
            FeatureError: If a user-provided tier that the bundle sees is missing, or has other columns.
        """
        names = [os.fspath(path) for path in ([paths] if isinstance(paths, str | os.PathLike) else paths)]
        rows = [self.features(name) for name in names] if self.tiers else []
        return self._score(rows, names, tiers or {})

    def _score(
        self, rows: Sequence[Values], ids: Sequence[str], tiers: Mapping[str, Mapping[str, np.ndarray]]
    ) -> pd.DataFrame:
        columns = {
            f"{tier}/{name}": np.stack([row[tier][name] for row in rows])
            for tier in (rows[0] if rows else ())
            for name in rows[0][tier]
        }
        columns |= self._check_user_columns(tiers, len(ids))
        if self._similarity is not None:
            columns |= compute_similarity(self._similarity, columns)
        return self.bundle.score(select_features(self.bundle, ids, columns))

    def _check_user_columns(self, given: Mapping[str, Mapping[str, np.ndarray]], count: int) -> dict[str, np.ndarray]:
        columns: dict[str, np.ndarray] = {}
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

    def over_time(self, path: str | os.PathLike[str], config: SlidingWindowConfig | None = None) -> pd.DataFrame:
        """Score the sliding windows of a video.

        Args:
            path: Path or URI of the video.
            config: Length and step of the windows; None: the default ones.
        Returns:
            A row a window: `seconds` (its middle, from the video's start), `score`.
        Raises:
            DecodeError: If the video cannot be decoded.
            FeatureError: If the bundle sees a user-provided tier, which a user provides once a clip.
        """
        import pandas as pd  # imported with the first result: a bundle opens without it

        data = read_video(absolute_uri(os.fspath(path)), self._decoder.limits.max_bytes)
        seconds, rows = [], []
        decoded, fps = self._decoder.windows(data), self.configs.decode.fps
        for sliding in iter_sliding_windows(decoded, fps, config or SlidingWindowConfig()):
            frames, metadata = np.ascontiguousarray(sliding.frames), sliding.metadata
            window = Window(frames, video_bytes=metadata.video_bytes, rate=own_rate(metadata))
            rows.append({tier.name: average_windows(tier.compute([window])) for tier in self.tiers})
            seconds.append(sliding.seconds)
        scores = self._score(rows, [str(k) for k in range(len(rows))], {})
        return pd.DataFrame({"seconds": seconds, "score": scores["score"]})

    def close(self) -> None:
        """End the process that decodes."""
        self._decoder.close()
