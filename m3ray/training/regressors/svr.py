"""Support vector regression with a Gaussian kernel on principal components."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from m3ray.model.regressors import KernelModel
from m3ray.model.regressors.kernel import gaussian_kernel
from m3ray.training.regressors.base import Fit, TrainRows, UnfitError, run_side_by_side
from m3ray.training.regressors.components import Components, fit_components
from m3ray.training.regressors.landmarks import draw_landmarks, fit_landmarks

# Train clips up to which support vectors are exact: with the kernel of all pairs at hand, a fit of 5,600 clips takes a
# second or two, and 250 MB. Beyond, landmarks stand for the clips.
MOST_EXACT = 8000
_COMPONENTS = 300
_LANDMARKS = 1000
# Hyper-parameters are chosen on so many clips, with so many landmarks.
_SEARCH_CLIPS = 1500
_SEARCH_LANDMARKS = 200

# How components are scaled: 0 as given, 1 whitened; halfway in between does best on many a set.
_POWERS = (0.0, 0.5, 1.0)
# The kernel's width, where the components' variances sum to 1; the least is nearly linear.
_GAMMAS = (0.1, 0.3, 1.0, 3.0)
# For scores of deviation 1; the tube is wide, as most of a score's deviation is noise.
_PENALTIES = (0.3, 1.0, 3.0, 10.0)
_TUBES = (0.1, 0.5, 1.0)
_FINALISTS = 2
_MAX_ITERATIONS = 200_000


@dataclass(frozen=True)
class _Kernel:
    """How clips are compared.

    Args:
        power: Power of the deviations that components are divided by.
        gamma: Width of the kernel.
    """

    power: float
    gamma: float


@dataclass(frozen=True)
class _Settings:
    """Settings of a support vector regression.

    Args:
        kernel: How clips are compared.
        c: Penalty of errors, for scores of deviation 1.
        epsilon: Half of the tube's width, in deviations of the scores.
    """

    kernel: _Kernel
    c: float
    epsilon: float


@dataclass(frozen=True)
class _Machine:
    """A fitted support vector regression.

    Args:
        support: Positions of the support vectors, (S,).
        coefficients: Coefficient of each, (S,).
        intercept: The intercept.
    """

    support: np.ndarray
    coefficients: np.ndarray
    intercept: float


def fit_svr(rows: TrainRows) -> Fit:
    """Fit a support vector regression; of very many clips, its least-squares form on landmarks.

    Args:
        rows: The train split.
    Returns:
        The kernel model, its hyper-parameters chosen out of fold on some of the clips.
    Raises:
        UnfitError: If too few clips or scores differ.
    """
    _check_enough(rows)
    # No score takes part in the components, so that the folds may share them.
    components = fit_components(rows.features, _COMPONENTS, rows.seed)
    if components.axes.shape[1] == 0:
        raise UnfitError("no feature varies among the train clips")
    some = _draw_clips(rows)
    kernels = _rank_kernels(components, some)
    if len(rows.scores) > MOST_EXACT:
        return _fit_on_landmarks(components, rows, kernels[0])
    return _fit_exactly(components, rows, _choose_settings(components, some, kernels[:_FINALISTS]))


def _check_enough(rows: TrainRows) -> None:
    if len(np.unique(rows.scores)) < 2:
        raise UnfitError("all train scores are equal")
    if len(rows.scores) < 3:
        raise UnfitError(f"a kernel needs 3 train clips, got {len(rows.scores)}")


def _draw_clips(rows: TrainRows) -> TrainRows:
    """At most as many clips as hyper-parameters are chosen on."""
    kept = np.sort(np.random.default_rng(rows.seed).permutation(len(rows.scores))[:_SEARCH_CLIPS])
    weights, folds = rows.weights[kept], rows.folds[kept]
    return replace(rows, features=rows.features[kept], scores=rows.scores[kept], weights=weights, folds=folds)


def _project(components: Components, features: np.ndarray, power: float) -> np.ndarray:
    # Rounded as the support vectors are stored.
    return ((features - components.mean) @ components.scale(power)).astype(np.float32)


def _rank_kernels(components: Components, rows: TrainRows) -> list[_Kernel]:
    """All kernels, the best first, by the squared error of a ridge regression on a few landmarks."""
    errors: dict[_Kernel, float] = {}
    for power in _POWERS:
        z = _project(components, rows.features, power)
        landmarks = draw_landmarks(z, _SEARCH_LANDMARKS, rows.seed)
        for gamma in _GAMMAS:
            errors[_Kernel(power, gamma)] = fit_landmarks(z, rows, landmarks, gamma).choice.error
    return sorted(errors, key=lambda kernel: errors[kernel])


def _choose_settings(components: Components, rows: TrainRows, kernels: Sequence[_Kernel]) -> _Settings:
    """The settings with the least squared error out of fold: penalty and kernel first, then the tube."""
    first = [_Settings(kernel, c, _TUBES[1]) for kernel in kernels for c in _PENALTIES]
    errors = _score_settings(components, rows, first)
    best = min(errors, key=lambda settings: errors[settings])
    errors |= _score_settings(components, rows, [replace(best, epsilon=tube) for tube in _TUBES if tube != _TUBES[1]])
    return min(errors, key=lambda settings: errors[settings])


def _score_settings(components: Components, rows: TrainRows, settings: Sequence[_Settings]) -> dict[_Settings, float]:
    errors: dict[_Settings, float] = {}
    for kernel in dict.fromkeys(s.kernel for s in settings):
        matrix = _compare_clips(components, rows, kernel)
        for one in (s for s in settings if s.kernel == kernel):
            errors[one] = rows.score_error(_predict_out_of_fold(matrix, rows, one))
    return errors


def _compare_clips(components: Components, rows: TrainRows, kernel: _Kernel) -> np.ndarray:
    z = _project(components, rows.features, kernel.power)
    return gaussian_kernel(z, z, kernel.gamma)


def _predict_out_of_fold(matrix: np.ndarray, rows: TrainRows, settings: _Settings) -> np.ndarray:
    predictions = np.empty(len(rows.scores))

    def predict(part: np.ndarray) -> None:
        rest = np.setdiff1d(np.arange(len(predictions)), part)
        machine = _fit_machine(matrix, rows, rest, settings)
        predictions[part] = matrix[np.ix_(part, machine.support)] @ machine.coefficients + machine.intercept

    run_side_by_side(predict, rows.left_out, rows.cores)
    return predictions


def _fit_machine(matrix: np.ndarray, rows: TrainRows, clips: np.ndarray, settings: _Settings) -> _Machine:
    """Fit on some of the clips, whose positions among all the support vectors get."""
    from sklearn.svm import SVR

    clips = clips[rows.weights[clips] > 0]
    scores, weights = rows.scores[clips], rows.weights[clips]
    if len(clips) == 0:
        raise UnfitError("all clips outside one fold weigh nothing")
    mean = float(np.average(scores, weights=weights))
    deviation = float(np.sqrt(np.average((scores - mean) ** 2, weights=weights)))
    if deviation == 0:
        return _Machine(clips[:0], np.empty(0), mean)
    machine = SVR(
        kernel="precomputed", C=settings.c, epsilon=settings.epsilon, cache_size=200, max_iter=_MAX_ITERATIONS
    )
    machine.fit(matrix[np.ix_(clips, clips)], (scores - mean) / deviation, weights)
    # Scores of deviation 1 make C, epsilon and libsvm's tolerance mean the same on every set.
    return _Machine(
        clips[machine.support_], machine.dual_coef_[0] * deviation, float(machine.intercept_[0] * deviation + mean)
    )


def _fit_exactly(components: Components, rows: TrainRows, settings: _Settings) -> Fit:
    matrix = _compare_clips(components, rows, settings.kernel)
    machine = _fit_machine(matrix, rows, np.arange(len(rows.scores)), settings)
    vectors = _project(components, rows.features[machine.support], settings.kernel.power)
    model = _make_model(components, settings.kernel, vectors, machine.coefficients, machine.intercept)
    chosen = {"c": settings.c, "epsilon": settings.epsilon, "support_vectors": len(machine.support)}
    return Fit(
        model, _predict_out_of_fold(matrix, rows, settings), {**_describe(components, settings.kernel), **chosen}
    )


def _fit_on_landmarks(components: Components, rows: TrainRows, kernel: _Kernel) -> Fit:
    z = _project(components, rows.features, kernel.power)
    landmarks = draw_landmarks(z, _LANDMARKS, rows.seed)
    fit = fit_landmarks(z, rows, landmarks, kernel.gamma)
    model = _make_model(components, kernel, landmarks, fit.coefficients, fit.intercept)
    chosen = {"landmarks": len(landmarks), "penalty": fit.choice.penalty}
    return Fit(model, fit.choice.out_of_fold, {**_describe(components, kernel), **chosen})


def _make_model(
    components: Components, kernel: _Kernel, vectors: np.ndarray, coefficients: np.ndarray, intercept: float
) -> KernelModel:
    axes = components.scale(kernel.power)
    return KernelModel(components.mean, axes, vectors, coefficients, intercept, kernel.gamma)


def _describe(components: Components, kernel: _Kernel) -> dict[str, Any]:
    return {"components": components.axes.shape[1], "whitening": kernel.power, "gamma": kernel.gamma}
