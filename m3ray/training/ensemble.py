"""The ensemble: what the MLP and each regressor weigh, fitted on what they predict of clips that they did not see.

Stacking (Wolpert 1992; Breiman 1996): least squares with weights that are not negative, on out-of-fold predictions.
All that is said of it is measured on a further cut: weights and map fitted on all folds but one, measured on that one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from m3ray.errors import ShapeError
from m3ray.model.metrics import mse
from m3ray.model.mixture import MLP, Mixture, Recalibration
from m3ray.model.mlp import StackedMLP
from m3ray.model.regressors import Regressor
from m3ray.training.cross_fitting import Fitted, compare_errors, compare_ranks, fit_members, predict_constant
from m3ray.training.member_weights import MemberRows, gather_members

ENSEMBLE = "ensemble"
_ALONE = 0.98  # an ensemble of which the MLP is so much adds nothing to it
FEWEST = 20  # train clips; of fewer, what is held out tells nothing of weights, nor whether anything was learned


@dataclass(frozen=True)
class EnsembleFit:
    """The ensemble, and each of its members alone with a map of its own.

    Args:
        together: All members.
        alone: Name of each member to the same of it alone.
        constant_mse: Mean squared error of the other folds' mean score; None: nothing was fitted.
        is_better: Whether the ensemble is better than the MLP alone.
        means: Mean of what the MLP predicts out of fold, by its name, which its runs are to be aligned to.
        note: Why nothing could be fitted, in words; None: it was.
    """

    together: Fitted
    alone: Mapping[str, Fitted]
    constant_mse: float | None
    is_better: bool
    means: Mapping[str, float] = field(default_factory=dict)
    note: str | None = None

    @property
    def weights(self) -> Mapping[str, float]:
        """The ensemble's weights."""
        return self.together.weights

    @property
    def recalibration(self) -> Recalibration:
        """The ensemble's map."""
        return self.together.recalibration

    def choose(self, model: str) -> Fitted:
        """Choose one of the models.

        Args:
            model: `ensemble`, or the name of a member.
        Returns:
            Its weights, its map and what was found of them.
        """
        return self.together if model == ENSEMBLE else self.alone[model]

    def describe(self, model: str = ENSEMBLE) -> str:
        """Say in a line what a model is, and how it compares with the others.

        Args:
            model: `ensemble`, or the name of a member.
        Returns:
            A line.
        """
        if self.note is not None:
            return f"{self._name(model)} as fitted, with no map out of fold: {self.note}"
        chosen = self.choose(model)
        parts = [f"{self._name(model)}: out of fold {format_found(chosen)}"]
        if model != ENSEMBLE and len(self.alone) > 1:
            verdict = "" if self.is_better or model != MLP else " is not better"
            parts.append(f"the {self._name(ENSEMBLE)}{verdict}: {format_found(self.together)}")
        if model != MLP and MLP in self.alone:
            parts.append(f"the MLP alone {format_found(self.alone[MLP])}")
        return "; ".join(parts if chosen.caution is None else [*parts, chosen.caution])

    def _name(self, model: str) -> str:
        if model != ENSEMBLE:
            return "MLP alone" if model == MLP else f"{model} alone"
        return f"ensemble of {', '.join(f'{name} {share:.2f}' for name, share in self.together.shares.items())}"

    def as_json(self) -> dict[str, Any]:
        """What `bundle.json` keeps of it."""
        return {
            "ensemble": self.together.as_json(),
            "alone": {name: fitted.as_json() for name, fitted in self.alone.items()},
            "constant_mse": self.constant_mse,
            "is_better": self.is_better,
            "note": self.note,
        }


def format_found(fitted: Fitted) -> str:
    """Say what was found of weights out of fold.

    Args:
        fitted: The weights.
    Returns:
        Correlation of ranks and mean squared error.
    """
    rho = "undefined" if fitted.spearman is None else f"{fitted.spearman:.4f}"
    error = "undefined" if fitted.mse is None else f"{fitted.mse:.5f}"
    return f"rho {rho}, MSE {error}"


def fit_ensemble(
    out_of_fold: Mapping[str, np.ndarray],
    truth: np.ndarray,
    folds: np.ndarray,
    weights: np.ndarray | None = None,
    runs: Mapping[str, int] | None = None,
    groups: np.ndarray | None = None,
) -> EnsembleFit:
    """Fit weights of members, and of each member alone, and the maps of their sums to scores.

    The ensemble counts as better than the MLP alone where its mean squared error is lower than the constant's by a
    standard error of the difference, and neither its error nor its correlation of ranks is worse than the MLP's by more
    than one: a mean of unlike models is better on new clips more often than few train clips can tell.

    Args:
        out_of_fold: Name of each member to what its R' runs predict of T train clips that they did not see, in the unit
            scale, (R', T); a run that is not finite is left out. The MLP's name is `mlp`.
        truth: True scores in the unit scale, (T,).
        folds: Fold of each clip, (T,).
        weights: Weight of each clip, (T,), not negative; None: all equal.
        runs: Number of runs that each member will have; None: as many as are here.
        groups: Number of each clip's source, (T,), whose clips err alike; None: each is its own.
    Returns:
        The weights, and what was found of them.
    Raises:
        ShapeError: If a member predicts other clips, or there is none.
    """
    kept = {name: _drop_infinite(name, values, len(truth)) for name, values in out_of_fold.items()}
    if not kept:
        raise ShapeError("an ensemble needs a member: got none")
    if note := _explain_unfit(kept, truth, folds):
        return _leave_unfitted(kept, len(truth), note)
    rows = gather_members(kept, np.asarray(truth, np.float64), np.asarray(folds), weights, runs or {})
    rows = replace(rows, groups=groups)
    together, alone = fit_members(rows), {name: fit_members(rows.only(name)) for name in rows.names}
    constant = predict_constant(rows)
    means = {MLP: float(kept[MLP].mean())} if MLP in kept else {}
    is_better = _is_better(together, alone.get(MLP), rows, constant)
    constant_mse = float(mse(constant, rows.truth, rows.weights))
    return EnsembleFit(together, alone, constant_mse, is_better, means)


def _drop_infinite(name: str, values: np.ndarray, clips: int) -> np.ndarray:
    values = np.atleast_2d(np.asarray(values, np.float64))
    if values.ndim != 2 or values.shape[1] != clips:
        raise ShapeError(f"{name}: expected predictions (R, {clips}), got {values.shape}")
    return values[np.isfinite(values).all(axis=1)]


def _explain_unfit(kept: Mapping[str, np.ndarray], truth: np.ndarray, folds: np.ndarray) -> str | None:
    diverged = [name for name, values in kept.items() if not len(values)]
    if diverged:
        return f"{', '.join(diverged)} predicts nothing finite out of fold"
    if len(truth) < FEWEST:
        return f"{len(truth)} train clips are too few to fit weights on, {FEWEST} are the fewest"
    if len(np.unique(folds)) < 2:
        return "all train clips are in one fold, so none was held out"
    return None


def _leave_unfitted(kept: Mapping[str, np.ndarray], clips: int, note: str) -> EnsembleFit:
    """All members alike, as they are: nothing is known of them."""
    unknown = np.full(clips, np.nan)
    equal = dict.fromkeys(kept, 1 / len(kept))
    alone = {name: Fitted({name: 1.0}, {name: 1.0}, Recalibration(), unknown, unknown) for name in kept}
    return EnsembleFit(Fitted(equal, equal, Recalibration(), unknown, unknown), alone, None, False, {}, note)


def _is_better(together: Fitted, mlp: Fitted | None, rows: MemberRows, constant: np.ndarray) -> bool:
    if together.spearman is None:
        return False
    gain, noise = compare_errors(constant, together.predictions, rows)
    if mlp is None or not gain > noise:
        return gain > noise
    if mlp.spearman is None:
        return True
    if together.shares[MLP] > _ALONE:
        return False
    gain, noise = compare_errors(mlp.predictions, together.predictions, rows)
    loss, noise_of_ranks = compare_ranks(mlp.sums, together.sums, rows)
    return gain > -noise and loss <= noise_of_ranks


def make_mixture(
    fit: EnsembleFit,
    model: str,
    mlp: StackedMLP | None,
    regressors: Mapping[str, Regressor],
    scaled_train: np.ndarray,
) -> Mixture:
    """Make the mixture that a fit says.

    Args:
        fit: The weights.
        model: `ensemble`, or the name of a member.
        mlp: The MLP's R runs; None: it is no member.
        regressors: Name of each regressor to its model.
        scaled_train: Scaled features of the train split as the members see them, (T, F), float32: on it the MLP's runs
            are given the mean that the weights were fitted for.
    Returns:
        The mixture; a member without weight is not in it.
    """
    chosen = fit.choose(model)
    is_constant = chosen.recalibration.is_constant
    used = {} if is_constant else {name: model for name, model in regressors.items() if chosen.weights.get(name)}
    has_mlp = model == MLP or (not is_constant and chosen.weights.get(MLP, 0) > 0)
    mixture = Mixture(mlp if has_mlp else None, used, chosen.weights, chosen.recalibration)
    return mixture.align_runs(scaled_train, fit.means[MLP]) if has_mlp and MLP in fit.means else mixture
