"""What a study learns: a column of the catalogue, and the map between its units and a model's output in [0, 1]."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from m3ray.errors import StudyError

SCORE = "score"

# Target to the values that it can have at all; in the order in which a table shows them.
TARGETS = {
    SCORE: (0.0, 1.0),
    "hit_rate": (0.0, 1.0),
    "false_alarm_rate": (0.0, 1.0),
    "corrected": (-1.0, 1.0),
    "d_prime": (-math.inf, math.inf),
    "alpha": (-math.inf, math.inf),
}

_MARGIN = 0.05  # of the train split's range on either side: a sigmoid never reaches its ends


@dataclass(frozen=True)
class Target:
    """What a study learns, and the values that a model's outputs 0 and 1 stand for.

    Args:
        name: Column of the catalogue.
        low: Value that the model's 0 stands for.
        high: Value that the model's 1 stands for.
    """

    name: str = SCORE
    low: float = 0.0
    high: float = 1.0

    @classmethod
    def fit(cls, name: str, train: np.ndarray) -> Target:
        """Choose the map by the train split's values.

        Args:
            name: Column of the catalogue.
            train: Its values on the train split, (T,), finite.
        Returns:
            The target, unmapped where all values lie in [0, 1]; else from 5 % of their range below the lowest to 5 %
            above the highest.
        Raises:
            StudyError: If the values need a map and are all equal, so that they have no range.
        """
        low, high = float(np.min(train)), float(np.max(train))
        if low >= 0 and high <= 1:
            return cls(name)
        if low == high:
            raise StudyError(f"all train values of {name} are {low:g}: there is nothing to learn from them")
        margin = _MARGIN * (high - low)
        return cls(name, low - margin, high + margin)

    @property
    def bounds(self) -> tuple[float, float]:
        """Lowest and highest value that the target can have at all; infinite where it has none."""
        return TARGETS.get(self.name, (0.0, 1.0))

    @property
    def is_share(self) -> bool:
        """Whether its values are shares of viewers, in [0, 1]."""
        return self.bounds == (0.0, 1.0)

    @property
    def is_mapped(self) -> bool:
        """Whether the model's output is in other units than the target."""
        return (self.low, self.high) != (0.0, 1.0)

    @property
    def span(self) -> float:
        """Width of the model's range in the target's units: by which an absolute error is multiplied."""
        return self.high - self.low

    def to_unit(self, values: np.ndarray) -> np.ndarray:
        """Map values to what a model is trained on.

        Args:
            values: Values in the target's units, any shape.
        Returns:
            The same shape and type; in [0, 1] for values of the train split.
        """
        return (values - self.low) / self.span if self.is_mapped else values

    def from_unit(self, outputs: np.ndarray) -> np.ndarray:
        """Map a model's outputs to the target's units.

        Args:
            outputs: Outputs in [0, 1], any shape.
        Returns:
            The same shape and type.
        """
        return self.low + self.span * outputs if self.is_mapped else outputs
