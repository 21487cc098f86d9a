"""A mixture: the MLP's runs and regressors beside it, weighed, added up, and put on the scores' scale by one map."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch

from m3ray.errors import BundleError
from m3ray.model.mlp import StackedMLP
from m3ray.model.regressors import Regressor, load_regressor

MLP = "mlp"
"""Name of the member that is the MLP; its runs share its weight evenly."""


@dataclass(frozen=True)
class Recalibration:
    """Map from the members' weighted sum to a score: a line, or a rising curve of straight pieces.

    Args:
        slope: Slope of the line; 0: every clip gets the intercept.
        intercept: Score at 0.
        knots: Sums where the curve bends, ascending, (K,); None: the line alone.
        values: The curve at the knots, (K,); it is level beyond the outer ones.
        line_share: Share of the line that is mixed into the curve, so that no two sums get one score.
    """

    slope: float = 1.0
    intercept: float = 0.0
    knots: np.ndarray | None = None
    values: np.ndarray | None = None
    line_share: float = 0.0

    @property
    def is_constant(self) -> bool:
        """Whether every clip gets one score."""
        return self.slope == 0 and self.knots is None

    @property
    def is_curve(self) -> bool:
        """Whether it is more than a line."""
        return self.knots is not None

    def __call__(self, sums: np.ndarray) -> np.ndarray:
        """Map sums, of any shape, to scores in the unit scale, not clipped."""
        line = self.intercept + self.slope * sums
        if self.knots is None or self.values is None:
            return line
        return self.line_share * line + (1 - self.line_share) * np.interp(sums, self.knots, self.values)


@dataclass(frozen=True)
class Mixture:
    """Members, what each weighs, and the map of their sum.

    Args:
        mlp: The MLP's R runs; None: the mixture has no MLP.
        regressors: Name of each further member to its model.
        weights: Weight of each member, the MLP's by the name `mlp`; a member without one has none.
        recalibration: Map from the weighted sum to the score.
        offsets: What is taken from each run of the MLP first, (R,), so that all have the same mean; None: nothing.
    """

    mlp: StackedMLP | None
    regressors: Mapping[str, Regressor]
    weights: Mapping[str, float]
    recalibration: Recalibration = field(default_factory=Recalibration)
    offsets: np.ndarray | None = None

    @property
    def runs(self) -> int:
        """The number of runs, R: the MLP's; 1 without an MLP."""
        return 1 if self.mlp is None else len(self.mlp.weights[0])

    @property
    def members(self) -> dict[str, float]:
        """Name of each member that has a weight to it."""
        present = [*([MLP] if self.mlp is not None else []), *self.regressors]
        return {name: self.weights[name] for name in present if self.weights.get(name)}

    def __call__(self, scaled: np.ndarray) -> np.ndarray:
        """Predict scores.

        Args:
            scaled: Scaled features of N clips, (N, F), float32.
        Returns:
            Scores of each run in the unit scale, clipped to [0, 1], (R, N), float64.
        """
        sums, members = np.zeros((self.runs, len(scaled))), self.members
        if self.recalibration.is_constant:
            members = {}
        for name, weight in members.items():
            outputs = self._predict_runs(scaled) if name == MLP else self.regressors[name](scaled)[None]
            sums += weight * outputs
        return np.clip(self.recalibration(sums), 0, 1)

    @torch.inference_mode()
    def _predict_runs(self, scaled: np.ndarray) -> np.ndarray:
        assert self.mlp is not None
        outputs = self.mlp(torch.tensor(np.asarray(scaled, np.float32))).double().numpy()
        return outputs if self.offsets is None else outputs - self.offsets[:, None]

    def align_runs(self, scaled: np.ndarray, mean: float) -> Mixture:
        """Give every run of the MLP the same mean over some clips.

        Runs of an MLP differ in their mean, and those that the weights were fitted on are not those that predict.

        Args:
            scaled: Scaled features of the train split, (T, F), float32.
            mean: Mean of the MLP's predictions that the map was fitted for.
        Returns:
            The mixture, with offsets; the same one without an MLP.
        """
        if self.mlp is None:
            return self
        means = replace(self, offsets=None)._predict_runs(scaled).mean(axis=1)
        return replace(self, offsets=means - mean)

    # On disk: arrays and JSON. The MLP is written by whoever holds the mixture.

    def tensors(self) -> dict[str, np.ndarray]:
        """Give its arrays but the MLP's: `NAME.ARRAY` of each regressor, knots and values of a curve, and offsets."""
        own = {"knots": self.recalibration.knots, "values": self.recalibration.values, "offsets": self.offsets}
        arrays = {f"recalibration.{name}": np.asarray(array) for name, array in own.items() if array is not None}
        for name in self._used_regressors:
            arrays |= {f"{name}.{key}": value for key, value in self.regressors[name].tensors().items()}
        return {key: np.ascontiguousarray(value) for key, value in arrays.items()}

    def settings(self) -> dict[str, Any]:
        """Give what is no array: weights, the line, and each regressor's settings, as JSON values."""
        line = self.recalibration
        return {
            "weights": {name: float(weight) for name, weight in self.members.items()},
            "recalibration": {"slope": line.slope, "intercept": line.intercept, "line_share": line.line_share},
            "regressors": {name: self.regressors[name].settings() for name in self._used_regressors},
        }

    @property
    def _used_regressors(self) -> list[str]:
        return [name for name in self.members if name != MLP]

    @classmethod
    def load(cls, settings: Mapping[str, Any], tensors: Mapping[str, np.ndarray], mlp: StackedMLP | None) -> Mixture:
        """Rebuild a mixture.

        Args:
            settings: What its `settings` gave.
            tensors: What its `tensors` gave.
            mlp: The MLP's runs; None: it has none.
        Returns:
            The mixture.
        Raises:
            BundleError: If something that it needs is missing, or is not what it can be.
        """
        try:
            regressors = {
                name: load_regressor(entry, _select(tensors, name)) for name, entry in settings["regressors"].items()
            }
            weights = {name: float(weight) for name, weight in settings["weights"].items()}
            own = _select(tensors, "recalibration")
            slope, intercept, share = (settings["recalibration"][key] for key in ("slope", "intercept", "line_share"))
        except KeyError as error:
            raise BundleError(f"the mixture lacks {error}: copy the bundle anew, or train it again") from error
        _check_parts(weights, regressors, mlp, own.get("knots"))
        line = Recalibration(float(slope), float(intercept), own.get("knots"), own.get("values"), float(share))
        return cls(mlp, regressors, weights, line, own.get("offsets"))


def _check_parts(
    weights: Mapping[str, float], regressors: Mapping[str, Regressor], mlp: StackedMLP | None, knots: np.ndarray | None
) -> None:
    """Raise BundleError where a weight is none, or its member is missing, or a curve's knots do not rise."""
    missing = sorted(set(weights) - {*regressors, *([] if mlp is None else [MLP])})
    if missing:
        raise BundleError(f"the mixture lacks {', '.join(missing)}: copy the bundle anew, or train it again")
    if not all(np.isfinite(weight) and weight >= 0 for weight in weights.values()):
        raise BundleError(f"the mixture has the weights {dict(weights)}: copy the bundle anew, or train it again")
    if knots is not None and not (np.diff(knots) >= 0).all():
        raise BundleError("the mixture's curve has knots that do not rise: copy the bundle anew, or train it again")


def _select(tensors: Mapping[str, np.ndarray], owner: str) -> dict[str, Any]:
    return {key.partition(".")[2]: value for key, value in tensors.items() if key.partition(".")[0] == owner}
