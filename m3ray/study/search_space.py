"""The space that a search draws settings from, and the way between its points and training settings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any

from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from m3ray.config import TrainConfig

MODES = {"spearman": "max", "mse": "min"}


# Around Table 5, a decade or more to each side. Widths are text: Optuna's choices are plain values.
_WIDTHS = ("64", "128", "256", "128x32", "256x64", "512x64", "512x128", "1024x128", "512x256x64")
SPACE: dict[str, BaseDistribution] = {
    "learning_rate": FloatDistribution(1e-4, 1e-2, log=True),
    "gamma": FloatDistribution(0.1, 1.0),
    "step_size": IntDistribution(2, 10),
    "weight_decay": FloatDistribution(1e-7, 1e-2, log=True),
    "hidden": CategoricalDistribution(_WIDTHS),
    "loss": CategoricalDistribution(("mse", "mse_tails", "spearman", "mse_to_spearman")),
    "strength": FloatDistribution(1e-3, 1.0, log=True),
    "batch": CategoricalDistribution((16, 32, 64, 128)),
}

LOGARITHMIC = tuple(name for name, kind in SPACE.items() if isinstance(kind, FloatDistribution) and kind.log)


def as_point(training: TrainConfig) -> dict[str, Any]:
    """The point of the space that is a setting."""
    settings = asdict(training)
    return {name: settings[name] for name in SPACE} | {"hidden": "x".join(map(str, training.hidden))}


def training_of(point: Mapping[str, Any], base: TrainConfig) -> TrainConfig:
    """`base` with what a point of the space says."""
    kinds = {name: type(getattr(base, name)) for name in SPACE}
    values = {name: kinds[name](point[name]) for name in SPACE if name != "hidden"}
    return replace(base, **values, hidden=tuple(int(width) for width in str(point["hidden"]).split("x")))
