"""The space that a search draws settings from, and conversions between its points and training settings."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
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

MODES = {"spearman": "max", "mse": "min", "calibrated_mse": "min", "balanced": "max"}

_LINEAR = "linear"  # no hidden layer

# Around Table 5, a decade or more to each side, and a linear model. Widths are text: Optuna's choices are plain values.
_WIDTHS = (_LINEAR, "64", "128", "256", "128x32", "256x64", "512x64", "512x128", "1024x128", "512x256x64")
SPACE: dict[str, BaseDistribution] = {
    "learning_rate": FloatDistribution(1e-4, 1e-2, log=True),
    "gamma": FloatDistribution(0.1, 1.0),
    "step_size": IntDistribution(2, 10),
    "weight_decay": FloatDistribution(1e-7, 1e-1, log=True),
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
        Name of each searched setting to its value; `hidden` as text, widths with `x` between, or `linear`.
    """
    settings = asdict(training)
    return {name: settings[name] for name in SPACE} | {"hidden": "x".join(map(str, training.hidden)) or _LINEAR}


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
    hidden = _parse_widths(str(point["hidden"]))
    # Weight decay, strong in the space of linear models, is to pull them to the mean score, as a ridge's does.
    return replace(base, **values, hidden=hidden, start=base.start if hidden else "mean")


def _parse_widths(text: str) -> tuple[int, ...]:
    return () if text == _LINEAR else tuple(int(width) for width in text.split("x"))


def widen_space(points: Iterable[Mapping[str, Any]]) -> dict[str, BaseDistribution]:
    """Widen the space so that points which are given lie in it.

    Args:
        points: Points, as of the preset.
    Returns:
        Name of each setting to its distribution. A logarithmic one cannot take what is not above 0.
    """
    space = dict(SPACE)
    for point in points:
        space |= {name: _include(kind, point[name]) for name, kind in space.items()}
    return space


def _include(kind: BaseDistribution, value: Any) -> BaseDistribution:
    if isinstance(kind, CategoricalDistribution):
        return kind if value in kind.choices else CategoricalDistribution((*kind.choices, value))
    if isinstance(kind, IntDistribution):
        return IntDistribution(min(kind.low, value), max(kind.high, value))
    if not isinstance(kind, FloatDistribution) or (kind.log and value <= 0):
        return kind
    return FloatDistribution(min(kind.low, value), max(kind.high, value), log=kind.log)
