"""How fast a clip is forgotten (`alpha`): a line in its score, or a ridge regression on its features if that is better.

Both are judged by cross-validation on the train split, where the score of a held-out clip is predicted by a ridge
regression too, as a new clip's score is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from m3ray.config.presets import BASE_LAG
from m3ray.errors import ShapeError

FEWEST = 10  # with fewer decay rates there is no line
FEWEST_FOR_FEATURES = 50  # with fewer a regression on features is not tried
SCORE, FEATURES = "score", "features"
_FOLDS = 5
_MOST = 20_000  # more clips than this are a sample of so many: bounds time and memory
_PENALTIES = np.logspace(-4, 4, 33)  # in units of the matrix' mean eigenvalue


@dataclass(frozen=True)
class DecayModel:
    """Decay rates of clips: from the score, or from the features.

    Args:
        predicted_from: `score` or `features`.
        intercept: Decay rate at score 0, on the line.
        slope: Change of the decay rate by the score, on the line.
        weights: Weights of the scaled features and, last, the intercept, (F + 1,); None where the score is taken.
        facts: Cross-validated numbers of both, as `bundle.json` keeps them.
    """

    predicted_from: str
    intercept: float
    slope: float
    weights: np.ndarray | None
    facts: dict[str, Any]

    def as_json(self) -> dict[str, Any]:
        """What `bundle.json` keeps of it: all but the weights."""
        line = {"intercept": self.intercept, "slope": self.slope}
        return {"predicted_from": self.predicted_from, **line, **self.facts}


def fit_decay(features: np.ndarray, scores: np.ndarray, alpha: np.ndarray, seed: int = 0) -> DecayModel | None:
    """Fit decay rates, and choose what to predict them from.

    The features are taken where their cross-validated squared error of alpha is smaller by more than one standard error
    of the difference, and that of the score after twice the base lag is not larger.

    Args:
        features: Scaled features of N train clips, (N, F).
        scores: Their scores, (N,).
        alpha: Their decay rates, (N,); not a number where a clip has none.
        seed: Seed of the folds.
    Returns:
        The model; None where fewer than 10 clips have a rate.
    """
    rows = np.flatnonzero(np.isfinite(alpha) & np.isfinite(scores))
    if len(rows) < FEWEST:
        return None
    rng = np.random.default_rng(seed)
    rows = np.sort(rng.permutation(rows)[:_MOST])
    features, scores, alpha = (np.asarray(values[rows], np.float64) for values in (features, scores, alpha))
    intercept, slope = fit_line(scores, alpha)
    facts = {"r": correlate(scores, alpha), "mean": float(alpha.mean()), "clips": len(rows)}
    if len(rows) < FEWEST_FOR_FEATURES or np.ptp(alpha) == 0:
        return DecayModel(SCORE, intercept, slope, None, facts)
    if unfit := _explain_features(features):
        return DecayModel(SCORE, intercept, slope, None, facts | {"features_not_tried": unfit})
    by_line, by_features, predicted = _cross_validate(features, scores, alpha, rng)
    facts |= _judge(by_line, by_features, predicted, scores, alpha)
    if not facts["better"]:
        return DecayModel(SCORE, intercept, slope, None, facts)
    weights = fit_ridge(features, alpha[:, None])[:, 0].astype(np.float32)
    return DecayModel(FEATURES, intercept, slope, weights, facts)


def _explain_features(features: np.ndarray) -> str:
    """Why nothing can be fitted on some features; empty where it can."""
    if not features.shape[1]:
        return "there are none"
    bad = int((~np.isfinite(features).all(axis=1)).sum())
    return (
        f"{bad} of {len(features)} clips {'has' if bad == 1 else 'have'} some that are no finite numbers" if bad else ""
    )


def fit_line(scores: np.ndarray, alpha: np.ndarray) -> tuple[float, float]:
    """Least-squares line from score to decay rate.

    Args:
        scores: Scores, (N,).
        alpha: Decay rates, (N,).
    Returns:
        Intercept and slope; a level line where all scores are equal.
    """
    varying = scores - scores.mean()
    total = float(varying @ varying)
    slope = float(varying @ (alpha - alpha.mean())) / total if total > 0 else 0.0
    return float(alpha.mean() - slope * scores.mean()), slope


def correlate(x: np.ndarray, y: np.ndarray) -> float | None:
    """Pearson's r.

    Args:
        x: Numbers, (N,).
        y: Numbers, (N,).
    Returns:
        The correlation; None, undefined, where one of them is constant.
    """
    if np.ptp(x) == 0 or np.ptp(y) == 0:
        return None
    return float(np.corrcoef(x, y)[0, 1])


def fit_ridge(features: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Ridge regression whose penalty is chosen by generalised cross-validation (Golub, Heath and Wahba 1979).

    Args:
        features: Features, (N, F).
        targets: Targets, (N, K); each gets a penalty of its own.
    Returns:
        Weights and, last, the intercept, (F + 1, K).
    Raises:
        ShapeError: A feature or a target is no finite number.
    """
    finite = np.isfinite(features).all(axis=1) & np.isfinite(targets).all(axis=1)
    if not finite.all():
        bad = f"{np.count_nonzero(~finite)} of {len(finite)} clips have features or targets that are no finite numbers"
        raise ShapeError(f"{bad}: leave those clips out")
    mean_x, mean_y = features.mean(axis=0), targets.mean(axis=0)
    x, y = features - mean_x, targets - mean_y
    count, width = x.shape
    if not width:
        return mean_y[None]
    # The smaller of the two products has the same eigenvalues but for zeros.
    values, vectors = np.linalg.eigh(x @ x.T if count < width else x.T @ x)
    kept = values > 1e-10 * max(values[-1], 1e-300)
    kept[: max(len(values) - (count - 1), 0)] = False  # centred clips have no more directions than that
    if not kept.any():
        return np.concatenate([np.zeros((width, targets.shape[1])), mean_y[None]])
    values, vectors = values[kept], vectors[:, kept]
    left = vectors if count < width else x @ vectors / np.sqrt(values)
    right = x.T @ vectors / np.sqrt(values) if count < width else vectors
    inside = left.T @ y
    penalties = _PENALTIES * values.mean()
    # Numerator and denominator both go to 0 with the penalty where features are more than clips: no cancellation here.
    left_out = penalties[:, None] / (values + penalties[:, None])
    outside = np.maximum((y**2).sum(axis=0) - (inside**2).sum(axis=0), 0) if len(values) < count - 1 else 0.0
    squares = np.einsum("pv,vk->pk", left_out**2, inside**2) + outside
    freedom = count - 1 - len(values) + left_out.sum(axis=1)
    best = (squares / freedom[:, None] ** 2).argmin(axis=0)
    weights = right @ (((1 - left_out[best]) / np.sqrt(values)).T * inside)
    return np.concatenate([weights, (mean_y - mean_x @ weights)[None]])


def _cross_validate(
    features: np.ndarray, scores: np.ndarray, alpha: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Held-out decay rates by the line and by the features, and the held-out score given to the line, (N,) each."""
    folds = rng.permutation(len(alpha)) % _FOLDS
    by_line, by_features, predicted = (np.empty(len(alpha)) for _ in range(3))
    for fold in range(_FOLDS):
        out = folds == fold
        weights = fit_ridge(features[~out], np.stack([alpha, scores], axis=1)[~out])
        by_features[out], predicted[out] = (features[out] @ weights[:-1] + weights[-1]).T
        intercept, slope = fit_line(scores[~out], alpha[~out])
        by_line[out] = intercept + slope * predicted[out]
    return by_line, by_features, predicted


def _judge(
    by_line: np.ndarray, by_features: np.ndarray, predicted: np.ndarray, scores: np.ndarray, alpha: np.ndarray
) -> dict[str, Any]:
    """Squared errors and correlations of both, and whether features are better."""
    gain = (by_line - alpha) ** 2 - (by_features - alpha) ** 2
    delayed_truth = scores + BASE_LAG * alpha
    delayed = [np.mean((predicted + BASE_LAG * rate - delayed_truth) ** 2) for rate in (by_line, by_features)]
    error = gain.std(ddof=1) / np.sqrt(len(gain))
    return {
        "r_line": correlate(by_line, alpha),
        "r_features": correlate(by_features, alpha),
        "mse_line": float(np.mean((by_line - alpha) ** 2)),
        "mse_features": float(np.mean((by_features - alpha) ** 2)),
        "delayed_mse_line": float(delayed[0]),
        "delayed_mse_features": float(delayed[1]),
        "gain_standard_error": float(error),
        "better": bool(gain.mean() > error and delayed[1] <= delayed[0]),
    }


def describe_decay(decay: Mapping[str, Any]) -> str:
    """Say what decay rates are predicted from, and how well.

    Args:
        decay: What `bundle.json` keeps of a `DecayModel`; an older one has the line alone.
    Returns:
        Part of a sentence.
    """
    if decay.get("r_line", ...) is ...:
        r = decay.get("r")
        known = "undefined: the rates do not vary" if r is None else f"{r:.2f}, in sample"
        untried = decay.get("features_not_tried")
        why = f"; the clip's features were not tried: {untried}" if untried else ""
        return f"decay from the score by a line (r {known}{why})"
    line, features = (_format_r(decay[name]) for name in ("r_line", "r_features"))
    if decay["predicted_from"] == FEATURES:
        return f"decay from the clip's features (cross-validated r {features}; a line in the score: {line})"
    return f"decay from the score by a line (cross-validated r {line}; the clip's features: {features}, not better)"


def _format_r(r: float | None) -> str:
    return "undefined" if r is None else f"{r:.2f}"
