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


def make_measure(config: SimilarityConfig, tier: str) -> Measure:
    """The measure that `config` names, with its settings for `tier`.

    Raises:
        ConfigError: no such measure.
    """
    if config.measure not in MEASURES:
        raise ConfigError(f"unknown measure {config.measure!r}: choose from {', '.join(MEASURES)}")
    kind = MEASURES[config.measure]
    settings: dict[str, Any] = {"seed": config.seed}
    if config.measure == "dbscan":
        settings["eps"] = {"scene": config.eps_scene, "event": config.eps_event}.get(tier, "auto")
    if config.measure == "kde_labels":
        settings["fewest"] = config.kde_fewest
    return kind(**{name: value for name, value in settings.items() if name in kind().get_params()})


@dataclass
class FittedSimilarity:
    """Fitted on the train split, applies to any clip.

    Args:
        config: measure, components, eps.
        parts: vector tier to its projection and measure.
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
        """Fits each vector tier on the same train clips.

        Args:
            config: measure, components, eps.
            train: vector tier to (N, D).
            labels: (N, L) bool, or None.
            names: of the labels.
        Raises:
            StudyError: no vector tier, or too few clips.
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
        """As `fit`, on what `project` made of the train clips, which many measures may share."""
        parts: dict[str, tuple[Projection, Measure]] = {}
        for tier, (projection, rows) in projected.items():
            parts[tier] = (projection, make_measure(config, tier).fit(rows, labels, names))
        return cls(config, parts)

    def transform(self, vectors: Mapping[str, np.ndarray]) -> np.ndarray:
        """(N, d) of new clips."""
        parts = [measure.transform(p.transform(vectors[tier])) for tier, (p, measure) in self.parts.items()]
        return np.concatenate(parts, axis=1).astype(np.float32)

    def transform_train(self) -> np.ndarray:
        """(N, d) of the train clips, each compared with the others."""
        parts = [measure.transform_train() for _, measure in self.parts.values()]
        return np.concatenate(parts, axis=1).astype(np.float32)

    @property
    def columns(self) -> tuple[str, ...]:
        """Names such as `similarity_scene_dbscan_cluster_3`."""
        return tuple(f"similarity_{tier}_{name}" for tier, (_, m) in self.parts.items() for name in m.columns)

    @property
    def one_hot(self) -> bool:
        return all(measure.one_hot for _, measure in self.parts.values())

    def summary(self) -> dict[str, Any]:
        """What a reader of the report wants to know of the fit, a dictionary a tier."""
        shown = ("eps_", "noise_share_", "predictor_accuracy_", "perplexity_", "bandwidth_")
        return {
            tier: {name.strip("_"): getattr(m, name) for name in shown if hasattr(m, name)}
            | {"columns": len(m.columns)}
            for tier, (_, m) in self.parts.items()
        }

    def to_bytes(self) -> tuple[bytes, bytes]:
        """safetensors and JSON: nothing that could run code."""
        arrays: dict[str, np.ndarray] = {}
        facts: dict[str, Any] = {"config": vars(self.config), "tiers": {}}
        for tier, (projection, measure) in self.parts.items():
            learned, rest = measure.state()
            arrays |= {f"{tier}.measure.{name}": value for name, value in learned.items()}
            arrays |= {
                f"{tier}.projection.{name}": np.ascontiguousarray(getattr(projection, name)) for name in _PROJECTED
            }
            facts["tiers"][tier] = {"components": projection.components, "learned": rest}
        return save(arrays), json.dumps(facts, indent=1).encode()

    @classmethod
    def from_bytes(cls, tensors: bytes, text: bytes) -> Self:
        """The inverse of `to_bytes`."""
        arrays, facts = load(tensors), json.loads(text)
        known = {field.name for field in dataclasses.fields(SimilarityConfig)}
        config = SimilarityConfig(**{name: value for name, value in facts["config"].items() if name in known})
        parts: dict[str, tuple[Projection, Measure]] = {}
        for tier, entry in facts["tiers"].items():
            projection = Projection(entry["components"], config.seed)
            for name in _PROJECTED:
                setattr(projection, name, arrays[f"{tier}.projection.{name}"])
            prefix = f"{tier}.measure."
            learned = {name.removeprefix(prefix): a for name, a in arrays.items() if name.startswith(prefix)}
            parts[tier] = (projection, make_measure(config, tier).restore(learned, entry["learned"]))
        return cls(config, parts)


def project(config: SimilarityConfig, train: Mapping[str, np.ndarray]) -> dict[str, tuple[Projection, np.ndarray]]:
    """Vector tier to its projection, fitted on its train clips (N, D), and to them projected, float64.

    Raises:
        StudyError: no vector tier, or too few clips.
    """
    if not train:
        raise StudyError("similarity needs the scene or the event tier: extract one of them first")
    found = {}
    for tier, rows in train.items():
        rows = np.asarray(rows, np.float64)
        projection = Projection(_components(config, rows), config.seed).fit(rows)
        found[tier] = (projection, projection.transform(rows))
    return found


_PROJECTED = ("mean_", "axes_")


def _components(config: SimilarityConfig, rows: np.ndarray) -> int:
    """The components asked for, or as many as so few clips allow."""
    allowed = min(len(rows) - 1, rows.shape[1])
    if allowed < 1:
        raise StudyError(f"similarity needs at least 2 train clips, got {len(rows)}: add clips to the train split")
    if allowed < config.components:
        warnings.warn(f"{len(rows)} train clips allow {allowed} of {config.components} components", stacklevel=3)
    return min(config.components, allowed)


def label_matrix(labels: Sequence[Sequence[str]]) -> tuple[np.ndarray, list[str]]:
    """(N, L) bool and the names of the labels, sorted."""
    names = sorted({name for row in labels for name in row})
    position = {name: k for k, name in enumerate(names)}
    matrix = np.zeros((len(labels), len(names)), bool)
    for index, row in enumerate(labels):
        matrix[index, [position[name] for name in row]] = True
    return matrix, names
