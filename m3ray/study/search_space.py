"""The space that a search draws settings from, and conversions between its points and training settings."""

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
from m3ray.config.presets import memento10k_training

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


def point_from_training(training: TrainConfig) -> dict[str, Any]:
    """Point of the space at training settings.

    Args:
        training: Training settings.
    Returns:
        Name of each searched setting to its value; `hidden` as text, widths with `x` between.
    """
    settings = asdict(training)
    return {name: settings[name] for name in SPACE} | {"hidden": "x".join(map(str, training.hidden))}


def training_from_point(point: Mapping[str, Any], base: TrainConfig) -> TrainConfig:
    """Training settings at a point of the space.

    Args:
        point: Name of each searched setting to its value.
        base: Settings of what is not searched.
    Returns:
        The settings.
    """
    kinds = {name: type(getattr(base, name)) for name in SPACE}
    values = {name: kinds[name](point[name]) for name in SPACE if name != "hidden"}
    if values["loss"] == "mse_tails":
        base = replace(base, tails_centre=memento10k_training().tails_centre)
    return replace(base, **values, hidden=tuple(int(width) for width in str(point["hidden"]).split("x")))
