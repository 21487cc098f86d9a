"""The similarity tier as fitted: a projection and a measure for each vector tier, their results side by side."""

from __future__ import annotations

import dataclasses
import json
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from safetensors.numpy import load, save

from m3ray.config import SimilarityConfig
from m3ray.errors import ConfigError, StudyError
from m3ray.similarity import MEASURES, Measure, Projection
from m3ray.similarity.base import round_to


def make_measure(config: SimilarityConfig, tier: str) -> Measure:
    """Make the measure that the settings name, not yet fitted.

    Args:
        config: settings of the similarity tier.
        tier: name of the vector tier that it will be fitted on, which decides DBSCAN's eps.
    Raises:
        ConfigError: If there is no such measure.
    """
    if config.measure not in MEASURES:
        raise ConfigError(f"unknown measure {config.measure!r}: choose from {', '.join(MEASURES)}")
    kind = MEASURES[config.measure]
    shared = {"seed": config.seed, "leave_one_out": config.leave_one_out, "kernel": config.kde_kernel}
    settings = {**shared, **_own_settings(config, tier)}
    return kind(**{name: value for name, value in settings.items() if name in kind().get_params()})


def _own_settings(config: SimilarityConfig, tier: str) -> dict[str, Any]:
    """The settings that the measure shares with no other, by the name of its constructor's argument."""
    own: dict[str, dict[str, Any]] = {
        "fractional_mean": {"of": config.fractional_of},
        "cosine_mean": {"of": config.cosine_of},
        "kde_labels": {"fewest": config.kde_fewest},
        "kde_kmeans": {"clusters": config.kde_clusters},
        "dbscan": {
            "eps": {"scene": config.eps_scene, "event": config.eps_event}.get(tier, "auto"),
            "noise_column": config.dbscan_noise_column,
        },
    }
    return own.get(config.measure, {})


@dataclass
class FittedSimilarity:
    """A similarity tier that was fitted on the train split and applies to any clip.

    Args:
        config: settings of the similarity tier.
        parts: name of a vector tier to its projection and measure, both fitted.
    """

    config: SimilarityConfig
    parts: dict[str, tuple[Projection, Measure]]

    @classmethod
    def fit(
        cls,
        config: SimilarityConfig,
        train: Mapping[str, np.ndarray],
        labels: np.ndarray | None = None,
        names: list[str] | None = None,
    ) -> Self:
        """Fit a projection and a measure of each vector tier.

        Args:
            config: settings of the similarity tier.
            train: name of a vector tier to its vectors of the train clips, (N, D); the same clips for all tiers.
            labels: which labels each train clip bears, bool, (N, L); None where there are no labels.
            names: name of each label; None to number them.
        Raises:
            StudyError: If there is no vector tier, or too few clips.
        """
        return cls.fit_projected(config, project(config, train), labels, names)

    @classmethod
    def fit_projected(
        cls,
        config: SimilarityConfig,
        projected: Mapping[str, tuple[Projection, np.ndarray]],
        labels: np.ndarray | None = None,
        names: list[str] | None = None,
    ) -> Self:
        """Fit a measure of each vector tier on projections that several measures may share.

        Args:
            config: settings of the similarity tier.
            projected: name of a vector tier to its projection and its projected train clips, as `project` returns.
            labels: which labels each train clip bears, bool, (N, L); None where there are no labels.
            names: name of each label; None to number them.
        Raises:
            StudyError: If the measure needs labels and there are none, or too few clips bear one.
        """
        parts: dict[str, tuple[Projection, Measure]] = {}
        for tier, (projection, rows) in projected.items():
            parts[tier] = (projection, make_measure(config, tier).fit(rows, labels, names))
        return cls(config, parts)

    def transform(self, vectors: Mapping[str, np.ndarray]) -> np.ndarray:
        """Compute the similarity tier of new clips.

        Args:
            vectors: name of a vector tier to its vectors of the clips, (Q, D).
        Returns:
            float32, (Q, len(columns)).
        Raises:
            FeatureError: If a clip is so far from the train split that float32 cannot say how far.
        """
        parts = [measure.transform(p.transform(vectors[tier])) for tier, (p, measure) in self.parts.items()]
        return round_to(np.concatenate(parts, axis=1), np.dtype(np.float32))

    def transform_train(self) -> np.ndarray:
        """Compute the similarity tier of the train clips, each compared with the others.

        Returns:
            float32, (N, len(columns)).
        """
        parts = [measure.transform_train() for _, measure in self.parts.values()]
        return round_to(np.concatenate(parts, axis=1), np.dtype(np.float32))

    @property
    def columns(self) -> tuple[str, ...]:
        """The name of each column, such as `similarity_scene_dbscan_cluster_3`."""
        return tuple(f"similarity_{tier}_{name}" for tier, (_, m) in self.parts.items() for name in m.columns)

    @property
    def one_hot(self) -> bool:
        """Whether its columns are 0 or 1, so that training leaves them unscaled."""
        return all(measure.one_hot for _, measure in self.parts.values())

    def summary(self) -> dict[str, Any]:
        """The key numbers of the fit, eps or bandwidth say, for the report: vector tier to name to value."""
        return {tier: {**describe_fit(vars(m)), "columns": len(m.columns)} for tier, (_, m) in self.parts.items()}

    def to_bytes(self) -> tuple[bytes, bytes]:
        """The content of its two files, safetensors and JSON, neither of which can run code."""
        arrays: dict[str, np.ndarray] = {}
        metadata: dict[str, Any] = {"config": vars(self.config), "tiers": {}}
        for tier, (projection, measure) in self.parts.items():
            learned, rest = measure.state()
            arrays |= {f"{tier}.measure.{name}": value for name, value in learned.items()}
            for name in _PROJECTION_ARRAYS:
                arrays[f"{tier}.projection.{name}"] = np.ascontiguousarray(getattr(projection, name))
            metadata["tiers"][tier] = {"components": projection.components, "learned": rest}
        return save(arrays), json.dumps(metadata, indent=1).encode()

    @classmethod
    def from_bytes(cls, tensors: bytes, text: bytes) -> Self:
        """The similarity tier that `to_bytes` wrote.

        Args:
            tensors: content of the safetensors file.
            text: content of the JSON file; settings that this version does not have are ignored.
        """
        arrays, metadata = load(tensors), json.loads(text)
        fields = {field.name for field in dataclasses.fields(SimilarityConfig)}
        config = SimilarityConfig(**{name: value for name, value in metadata["config"].items() if name in fields})
        parts: dict[str, tuple[Projection, Measure]] = {}
        for tier, entry in metadata["tiers"].items():
            projection = Projection(entry["components"], config.seed)
            for name in _PROJECTION_ARRAYS:
                setattr(projection, name, arrays[f"{tier}.projection.{name}"])
            prefix = f"{tier}.measure."
            learned = {name.removeprefix(prefix): a for name, a in arrays.items() if name.startswith(prefix)}
            parts[tier] = (projection, make_measure(config, tier).restore(learned, entry["learned"]))
        return cls(config, parts)


def describe_fit(learned: Mapping[str, Any]) -> dict[str, Any]:
    """The key numbers of a fitted measure, of those that it has.

    Args:
        learned: what it learned, by attribute name; arrays may be missing.
    Returns:
        Name to value; the bandwidths of several densities as text.
    """
    found = {name.strip("_"): learned[name] for name in _SHOWN if name in learned}
    bandwidths = learned.get("bandwidths_")
    if bandwidths is not None and len(bandwidths) == 1:
        found["bandwidth"] = float(bandwidths[0])
    elif bandwidths is not None:
        found["bandwidths"] = f"{min(bandwidths):.3g} to {max(bandwidths):.3g}"
    return found


def project(config: SimilarityConfig, train: Mapping[str, np.ndarray]) -> dict[str, tuple[Projection, np.ndarray]]:
    """Fit a projection of each vector tier, and project its train clips.

    Args:
        config: settings of the similarity tier, of which the number of components.
        train: name of a vector tier to its vectors of the train clips, (N, D).
    Returns:
        Name of the tier to its projection and its projected train clips, float64, (N, components).
    Raises:
        StudyError: If there is no vector tier, or too few clips.
    """
    if not train:
        raise StudyError("similarity needs the scene or the event tier: extract one of them first")
    projected = {}
    for tier, vectors in train.items():
        rows = np.asarray(vectors, np.float64)
        projection = Projection(_components(config, tier, rows), config.seed).fit(rows)
        projected[tier] = (projection, projection.transform(rows))
    return projected


_SHOWN = ("eps_", "noise_share_", "largest_share_", "predictor_accuracy_", "perplexity_", "bandwidth_")
_PROJECTION_ARRAYS = ("mean_", "axes_")


def _components(config: SimilarityConfig, tier: str, rows: np.ndarray) -> int:
    """The number of components in the settings, or as many as so few clips or columns allow."""
    allowed = min(len(rows) - 1, rows.shape[1])
    if allowed < 1:
        raise StudyError(f"similarity needs at least 2 train clips, got {len(rows)}: add clips to the train split")
    if allowed < config.components:
        columns = rows.shape[1]
        cause = f"{tier} has {columns} columns, which" if allowed == columns else f"{len(rows)} train clips"
        warnings.warn(f"{cause} allow {allowed} of {config.components} components", stacklevel=3)
    return min(config.components, allowed)


def label_matrix(labels: Sequence[Sequence[str]]) -> tuple[np.ndarray, list[str]]:
    """Which labels each clip bears, as a matrix.

    Args:
        labels: labels of each clip.
    Returns:
        Bool, (N, L), and the names of the labels, sorted.
    """
    names = sorted({name for row in labels for name in row})
    column = {name: k for k, name in enumerate(names)}
    matrix = np.zeros((len(labels), len(names)), bool)
    for index, row in enumerate(labels):
        matrix[index, [column[name] for name in row]] = True
    return matrix, names
