"""A bundle and the tiers it needs, in one process, without a cluster."""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from safetensors.numpy import load

from m3ray.config import LimitsConfig, MomentConfig, TierConfigs
from m3ray.config.serialization import from_json
from m3ray.errors import FeatureError
from m3ray.features.matrix import Block, Features
from m3ray.scoring.bundle import Bundle, version_note
from m3ray.similarity.fitted import FittedSimilarity
from m3ray.storage.filesystems import absolute_uri
from m3ray.tiers import HogProjection, Tier, Window, clip_values
from m3ray.tiers.factory import Ingredients, computed, make_tiers
from m3ray.tiers.finetuned import network_tier
from m3ray.tiers.malloc import keep_freed_memory
from m3ray.tiers.network import WeightSource
from m3ray.video.reader import read_video
from m3ray.video.sandbox import Decoder
from m3ray.video.sliding_windows import moments

Values = dict[str, dict[str, np.ndarray]]


def bundle_tiers(bundle: Bundle) -> tuple[TierConfigs, list[Tier]]:
    """The computed tiers that a bundle needs, with its own settings, weights and PCA.

    The similarity tier needs the vector tiers it was fitted on, whether or not the model sees them.
    """
    configs = from_json(TierConfigs, bundle.facts["configs"])
    sources = {tier: WeightSource(**entry) for tier, entry in bundle.facts["sources"].items()}
    for file, digest in bundle.networks.items():
        sources[network_tier(file)] = WeightSource(f"{bundle.uri}/{file}", digest)
    projection = None
    if "hog_pca.json" in bundle.files:
        tensors, facts = load(bundle.files["hog_pca.safetensors"]), json.loads(bundle.files["hog_pca.json"])
        projection = HogProjection(tensors["mean"], tensors["components"], facts["frames"], facts["fitted_on"])
    fitted = bundle_similarity(bundle)
    needed = [*bundle.tiers, *(fitted.parts if fitted else ())]
    return configs, make_tiers(computed(needed), Ingredients(configs, sources, projection))


def bundle_similarity(bundle: Bundle) -> FittedSimilarity | None:
    """The fitted similarity tier of a bundle, if it has one."""
    if "similarity.json" not in bundle.files:
        return None
    return FittedSimilarity.from_bytes(bundle.files["similarity.safetensors"], bundle.files["similarity.json"])


def bundle_features(bundle: Bundle, ids: Sequence[str], columns: dict[str, np.ndarray]) -> Features:
    """The matrix that a bundle's model sees.

    Args:
        bundle: names the columns.
        ids: clips, (N,).
        columns: `tier/column` to (N,) or (N, width).
    """
    parts: list[np.ndarray] = []
    blocks: list[Block] = []
    for block in bundle.blocks:
        available = _named(block.tier, columns)
        parts.append(np.stack([available[name] for name in block.names], axis=1))
        blocks.append(block)
    return Features(tuple(ids), np.concatenate(parts, axis=1).astype(np.float32), tuple(blocks))


def _named(tier: str, columns: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Each scalar column of a tier by its name, vectors taken apart as `brightness`, `hog_0`, ..."""
    named: dict[str, np.ndarray] = {}
    for key, values in columns.items():
        owner, _, name = key.partition("/")
        if owner != tier:
            continue
        if values.ndim == 1:
            named[name] = values
        else:
            named |= {f"{name}_{k}": values[:, k] for k in range(values.shape[1])}
    return named


def similarity_columns(fitted: FittedSimilarity, columns: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The similarity tier of new clips, as named columns."""
    vectors = {tier: np.stack(list(_named(tier, columns).values()), axis=1).astype(np.float64) for tier in fitted.parts}
    values = fitted.transform(vectors)
    return {f"similarity/{name}": values[:, k] for k, name in enumerate(fitted.columns)}


class Scorer:
    """Scores videos with a bundle, one after the other.

    On a CPU it has the whole process keep memory that is freed, else much of the time goes into getting it again.

    Args:
        uri: the bundle's folder.
        limits: what a clip may cost.
    """

    def __init__(self, uri: str | os.PathLike[str], limits: LimitsConfig | None = None) -> None:
        self.bundle = Bundle.load(os.fspath(uri))
        made = version_note(self.bundle)
        if made:
            warnings.warn(f"{self.bundle.name}: {made}", stacklevel=2)
        self.configs, self.tiers = bundle_tiers(self.bundle)
        self._similarity = bundle_similarity(self.bundle)
        self._decoder = Decoder(self.configs.decode, limits or LimitsConfig())
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        if device.type == "cpu":
            keep_freed_memory()
        for tier in self.tiers:
            tier.setup(device)

    def features(self, path: str | os.PathLike[str]) -> Values:
        """What the tiers see in a video: tier to column to value.

        Raises:
            DecodeError: the video cannot be decoded.
        """
        data = read_video(absolute_uri(os.fspath(path)), self._decoder.limits.max_bytes)
        measured: dict[str, list[Any]] = {tier.name: [] for tier in self.tiers}
        lead = None
        for index, (facts, frames) in enumerate(self._decoder.windows(data)):
            window = Window(frames, index, lead, facts.video_bytes)
            for tier in self.tiers:
                measured[tier.name] += tier.measure([window])
            lead = frames[-1]
        return {name: clip_values(windows) for name, windows in measured.items()}

    def predict(
        self, paths: Sequence[str | os.PathLike[str]], tiers: Mapping[str, Mapping[str, np.ndarray]] | None = None
    ) -> pd.DataFrame:
        """Scores of videos: `clip_id` (the path), `score`, `spread`, `low`, `high`, `share_<tier>`.

        Args:
            paths: of the videos, (N,).
            tiers: what a user brings: tier to column to (N,) or (N, width).
        Raises:
            DecodeError: a video cannot be decoded.
            FeatureError: a tier that the bundle's user brought is not given, or has other columns.
        """
        rows = [self.features(path) for path in paths] if self.tiers else []
        return self._scored(rows, [os.fspath(p) for p in paths], tiers or {})

    def _scored(
        self, rows: Sequence[Values], ids: Sequence[str], tiers: Mapping[str, Mapping[str, np.ndarray]]
    ) -> pd.DataFrame:
        columns = {
            f"{tier}/{name}": np.stack([row[tier][name] for row in rows])
            for tier in (rows[0] if rows else ())
            for name in rows[0][tier]
        }
        columns |= self._brought(tiers, len(ids))
        if self._similarity is not None:
            columns |= similarity_columns(self._similarity, columns)
        return self.bundle.score(bundle_features(self.bundle, ids, columns))

    def _brought(self, given: Mapping[str, Mapping[str, np.ndarray]], count: int) -> dict[str, np.ndarray]:
        found: dict[str, np.ndarray] = {}
        for tier, entry in self.bundle.facts["tiers"].items():
            if not entry.get("brought"):
                continue
            widths = entry["identity"]["columns"].items()
            expected = {name: (count, width) if width > 1 else (count,) for name, width in widths}
            got = {name: np.shape(values) for name, values in given.get(tier, {}).items()}
            if got != expected:
                raise FeatureError(
                    f"{self.bundle.name} sees the tier {tier}, brought by a user: give predict(..., tiers={{{tier!r}: "
                    f"...}}) with {expected}; got {got or 'nothing'}"
                )
            found |= {f"{tier}/{name}": np.asarray(values, np.float32) for name, values in given[tier].items()}
        return found

    def over_time(self, path: str | os.PathLike[str], config: MomentConfig | None = None) -> pd.DataFrame:
        """Scores of sliding windows: `seconds` (the window's middle), `score`.

        Raises:
            DecodeError: the video cannot be decoded.
            FeatureError: the bundle needs tiers that a user brought.
        """
        data = read_video(absolute_uri(os.fspath(path)), self._decoder.limits.max_bytes)
        seconds, rows = [], []
        for moment in moments(self._decoder.windows(data), self.configs.decode.fps, config or MomentConfig()):
            window = Window(np.ascontiguousarray(moment.frames), video_bytes=moment.facts.video_bytes)
            rows.append({tier.name: clip_values(tier.measure([window])) for tier in self.tiers})
            seconds.append(moment.seconds)
        scores = self._scored(rows, [str(k) for k in range(len(rows))], {})
        return pd.DataFrame({"seconds": seconds, "score": scores["score"]})

    def close(self) -> None:
        """Ends the decoding child."""
        self._decoder.close()
