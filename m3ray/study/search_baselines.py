"""What a search's best setting is compared with, and tried first: the preset, and what its user would have had."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from optuna.distributions import BaseDistribution

from m3ray.config import TrainConfig
from m3ray.study.search_history import is_inside
from m3ray.study.search_space import point_from_training, training_from_point, widen_space

DEFAULT, PRESET, DRAWN = "default", "preset", "drawn"


@dataclass(frozen=True)
class Baselines:
    """Settings that are there without a search.

    Args:
        preset: Those of the paper, or of the authors, around which a search draws its own.
        default: Those that training without a search takes for the same tiers.
    """

    preset: TrainConfig
    default: TrainConfig

    @property
    def are_alike(self) -> bool:
        """Whether both are the same settings."""
        return self.preset == self.default

    @property
    def epochs(self) -> int:
        """Most epochs that a setting of the search is trained."""
        return max(self.preset.epochs, self.default.epochs)

    def named(self) -> Iterator[tuple[str, TrainConfig]]:
        """Name and settings of each baseline; the default alone where both are alike."""
        yield DEFAULT, self.default
        if not self.are_alike:
            yield PRESET, self.preset

    @property
    def space(self) -> dict[str, BaseDistribution]:
        """The search's space, wide enough for both."""
        return widen_space([point_from_training(self.preset), point_from_training(self.default)])

    def first_points(self) -> list[dict[str, Any]]:
        """Points that a search tries first: the preset's, then the default's where it is another point of the space."""
        preset, default = point_from_training(self.preset), point_from_training(self.default)
        return [preset] if default == preset or not is_inside(default, self.space) else [preset, default]

    def origin_of(self, point: Mapping[str, Any]) -> str:
        """Where a point of the search comes from.

        Args:
            point: Name of each searched setting to its value.
        Returns:
            `default`, `preset` or `drawn`.
        """
        if point == point_from_training(self.preset):
            return DEFAULT if self.are_alike else PRESET
        return DEFAULT if point == point_from_training(self.default) else DRAWN

    def training_of(self, point: Mapping[str, Any], origin: str | None = None) -> TrainConfig:
        """Settings that a point is trained with: a baseline's are its own to the last, epochs included.

        Args:
            point: Name of each searched setting to its value.
            origin: Where the point comes from; None: as `origin_of` tells.
        Returns:
            The settings.
        """
        origin = origin or self.origin_of(point)
        own = {DEFAULT: self.default, PRESET: self.preset}
        return own[origin] if origin in own else training_from_point(point, self.preset)
