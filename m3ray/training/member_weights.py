"""What members of an ensemble weigh: least squares on what they predict of clips that they did not see."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import scipy

from m3ray.model.calibrated_error import are_distinct
from m3ray.model.mixture import MLP
from m3ray.training.recalibration import share_weights

_FEWEST_IN_FOLD = 10  # to tell a run's own mean from that of the clips in the fold
_SPREAD = 0.25  # how far weights lie from those that members' own correlations suggest, in standard deviations
_SMALLEST = 1e-6  # of the Gram matrix' eigenvalues
_LEAST_NOISE = 0.05  # share of the scores' variance that is never explained
_LEAST_RELIABLE = 0.25  # share of a member's variance that is not by its seeds


@dataclass(frozen=True)
class MemberRows:
    """Out-of-fold predictions as weights are fitted on them.

    Args:
        names: Name of each of M members.
        outputs: Mean over its runs of what each predicts, (n, M).
        truth: True scores, (n,).
        folds: Fold of each clip, (n,).
        weights: Weight of each clip, (n,).
        noise: Variance of each member's outputs here that its outputs in a bundle, the mean of more runs, do not
            have, (M,).
        groups: Number of each clip's source, (n,); None: each is its own.
    """

    names: tuple[str, ...]
    outputs: np.ndarray
    truth: np.ndarray
    folds: np.ndarray
    weights: np.ndarray
    noise: np.ndarray
    groups: np.ndarray | None = None

    def of(self, rows: np.ndarray) -> MemberRows:
        """Some of the clips."""
        cut = {key: getattr(self, key)[rows] for key in ("outputs", "truth", "folds", "weights")}
        return replace(self, **cut, groups=None if self.groups is None else self.groups[rows])

    def only(self, name: str) -> MemberRows:
        """One of the members."""
        place = [self.names.index(name)]
        return replace(self, names=(name,), outputs=self.outputs[:, place], noise=self.noise[place])


def gather_members(
    kept: Mapping[str, np.ndarray],
    truth: np.ndarray,
    folds: np.ndarray,
    weights: np.ndarray | None,
    runs: Mapping[str, int],
) -> MemberRows:
    """Put what members predict out of fold into columns.

    Args:
        kept: Name of each member to what its runs predict of n clips, (R', n), finite.
        truth: True scores, (n,).
        folds: Fold of each clip, (n,).
        weights: Weight of each clip, (n,); None, or all 0: all equal.
        runs: Number of runs that a member will have, where it is not R'.
    Returns:
        The columns.
    """
    outputs = {name: values.mean(axis=0) for name, values in kept.items()}
    if MLP in outputs:
        others = [values for name, values in outputs.items() if name != MLP]
        outputs[MLP] = _align_folds(outputs[MLP], others, folds)
    noise = np.array([_measure_noise(values, folds, runs.get(name, len(values))) for name, values in kept.items()])
    columns, shares = np.stack(list(outputs.values()), axis=1), share_weights(weights, len(truth))
    return MemberRows(tuple(kept), columns, truth, folds, shares, noise)


def _align_folds(outputs: np.ndarray, others: list[np.ndarray], folds: np.ndarray) -> np.ndarray:
    """The MLP's outputs without the mean that the runs of each fold have of their own, as runs of a bundle are aligned.

    What the others' outputs tell of a fold's clips is no such thing, and stays.
    """
    names, place = np.unique(folds, return_inverse=True)
    counts = np.bincount(place)
    if len(outputs) < _FEWEST_IN_FOLD * len(names):
        return outputs
    within = outputs - (np.bincount(place, outputs) / counts)[place]
    rest = outputs.copy()
    if others:
        x = np.stack(others, axis=1)
        x_within = x - np.stack([np.bincount(place, column) / counts for column in x.T], axis=1)[place]
        rest -= x @ np.linalg.lstsq(x_within, within, rcond=1e-3)[0]
    own = np.bincount(place, rest) / counts
    return outputs - (own - rest.mean())[place]


def _measure_noise(values: np.ndarray, folds: np.ndarray, runs: int) -> float:
    """Variance by seed of the mean of these runs beyond that of the mean of a bundle's; 0 where one run is here."""
    if len(values) < 2:
        return 0.0
    centred = np.empty_like(values)
    for fold in np.unique(folds):
        centred[:, folds == fold] = values[:, folds == fold] - values[:, folds == fold].mean(axis=1, keepdims=True)
    return float(centred.var(axis=0, ddof=1).mean() * (1 / len(values) - 1 / max(runs, 1)))


@dataclass(frozen=True)
class Weighing:
    """Weights, and the sum of outputs by them that has the scores' mean.

    Args:
        weights: Weight of each member, (M,).
        centre: Mean of the weighted sum.
        mean: Mean of the scores.
        reliability: Share of the sum's variance that a bundle's has too; the rest is by the seeds of fewer runs.
    """

    weights: np.ndarray
    centre: float
    mean: float
    reliability: float

    @property
    def level(self) -> float:
        """What is added to a bundle's weighted sum."""
        return self.mean - self.centre

    def sum_outputs(self, outputs: np.ndarray) -> np.ndarray:
        """What a bundle's sum is expected to be of clips with such outputs, (n, M) to (n,)."""
        return self.mean + self.reliability * (outputs @ self.weights - self.centre)


def weigh_members(rows: MemberRows) -> Weighing:
    """Fit what each member weighs.

    Args:
        rows: What the members predict, and the truth.
    Returns:
        Weights that are not negative; a member that gives all clips one output has none.
    """
    weights, shares = _solve(rows), share_weights(rows.weights, len(rows.truth))
    sums = rows.outputs @ weights
    centre = float(shares @ sums)
    variance, noise = float(shares @ (sums - centre) ** 2), float(weights**2 @ rows.noise)
    reliability = max(1 - noise / variance, _LEAST_RELIABLE) if variance > 0 else 1.0
    return Weighing(weights, centre, float(shares @ rows.truth), reliability)


def _solve(rows: MemberRows) -> np.ndarray:
    """Weights that are not negative, (M,), drawn towards those that the members' own correlations suggest."""
    shares = share_weights(rows.weights, len(rows.truth))
    x, y = rows.outputs - shares @ rows.outputs, rows.truth - shares @ rows.truth
    spread, spread_of_truth = np.sqrt(shares @ x**2), float(np.sqrt(shares @ y**2))
    usable = are_distinct(rows.outputs.T)
    if not usable.any() or spread_of_truth == 0:
        return np.zeros(len(spread))
    z = x[:, usable] / spread[usable]
    noise = np.minimum(rows.noise[usable] / spread[usable] ** 2, 1 - _LEAST_RELIABLE)
    gram = _shrink_noise(z.T @ (z * shares[:, None]), noise)
    found = np.zeros(len(spread))
    correlation = z.T @ (shares * y) / spread_of_truth
    found[usable] = _solve_standardised(gram, correlation, 1 / float(shares @ shares)) * (
        spread_of_truth / spread[usable]
    )
    return found


def _shrink_noise(gram: np.ndarray, noise: np.ndarray) -> np.ndarray:
    """The Gram matrix of the members as a bundle has them, with less variance by seed on its diagonal."""
    values, vectors = np.linalg.eigh(gram - np.diag(noise))
    return (vectors * np.maximum(values, _SMALLEST)) @ vectors.T


def _solve_standardised(gram: np.ndarray, correlation: np.ndarray, clips: float) -> np.ndarray:
    """Least w' G w - 2 w' c + p |w - w0|^2 over w >= 0.

    w0 has each member in proportion to the variance that it explains alone. The penalty p is that of a normal prior
    around it, so of nearly equal members and few clips none takes all, and of many clips the data decide.
    """
    merit = np.maximum(correlation, 0) ** 2
    if not merit.sum() > 0:
        return np.zeros(len(correlation))
    merit = merit / merit.sum()
    start = merit * (merit @ correlation) / (merit @ gram @ merit)
    noise = max(1 - float(start @ correlation), _LEAST_NOISE)
    penalty = noise / (clips * _SPREAD**2)
    root = np.linalg.cholesky(gram + penalty * np.eye(len(gram)))
    return np.asarray(scipy.optimize.nnls(root.T, np.linalg.solve(root, correlation + penalty * start))[0])
