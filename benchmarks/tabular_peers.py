"""What a sensible user would fit instead, for benchmarks/tabular.py: scikit-learn's estimators, tuned on train."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.linear_model import RidgeCV
from sklearn.metrics.pairwise import euclidean_distances
from sklearn.model_selection import GridSearchCV, GroupKFold, KFold
from sklearn.svm import SVR
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from m3ray.features.dataset import StudyData

# Rows, and rows times columns, beyond which a search over support vectors takes minutes: they get one usual setting.
_SEARCHED_ROWS, _SEARCHED = 3000, 500_000
_FOLDS = 5

Peer = Callable[[StudyData], np.ndarray]


def predict_constant(data: StudyData) -> np.ndarray:
    """The mean of the train split, (V,)."""
    return np.full(len(data.val), data.scores[data.train].mean(dtype=np.float64))


def predict_ridge(data: StudyData) -> np.ndarray:
    """RidgeCV by leave-one-out over 33 penalties, on the matrix as it is scaled or by column, whichever does better."""
    models = []
    for rows in (data.scaled.astype(np.float64), _standardise(data)):
        model = RidgeCV(np.logspace(-2, 6, 33), scoring=None).fit(rows[data.train], data.scores[data.train])
        models.append((model.best_score_, model.predict(rows[data.val])))
    return max(models, key=lambda pair: pair[0])[1]


def predict_svr(data: StudyData) -> np.ndarray:
    """Support vector regression with a Gaussian kernel; C and gamma by 5 folds, on large tables the usual ones.

    Scores are standardised for the fit: epsilon 0.1 and C are in their deviations. The usual C is 1, the usual gamma
    1 / (columns x variance).
    """
    rows = _standardise_unscaled(data)
    train, val = rows[data.train], rows[data.val]
    scores = data.scores[data.train].astype(np.float64)
    mean, deviation = scores.mean(), scores.std()
    scores = (scores - mean) / deviation
    usual = 1 / (train.shape[1] * train.var())
    if len(train) > _SEARCHED_ROWS or train.size > _SEARCHED:
        # The same model as SVR(C=1, gamma=usual), its kernel from one product of matrices.
        kernel, other = (np.exp(-usual * euclidean_distances(part, train, squared=True)) for part in (train, val))
        predicted = SVR(kernel="precomputed", C=1.0, epsilon=0.1, cache_size=1000).fit(kernel, scores).predict(other)
    else:
        grid = {"C": [0.3, 1.0, 3.0, 10.0, 30.0], "gamma": [usual / 10, usual / 3, usual]}
        folds = GroupKFold(_FOLDS) if data.groups is not None else KFold(_FOLDS, shuffle=True, random_state=0)
        groups = None if data.groups is None else data.groups[data.train]
        search = GridSearchCV(SVR(epsilon=0.1), grid, cv=folds, scoring="neg_mean_squared_error")
        predicted = search.fit(train, scores, groups=groups).predict(val)
    return mean + deviation * predicted


def predict_boosting(data: StudyData) -> np.ndarray:
    """HistGradientBoostingRegressor as it comes."""
    model = HistGradientBoostingRegressor(random_state=0)
    # On small tables a second thread waits for the first, and on a busy machine for all others.
    with threadpool_limits(1 if data.scaled.size < _SEARCHED else None):
        return model.fit(data.scaled[data.train], data.scores[data.train]).predict(data.scaled[data.val])


def _standardise(data: StudyData) -> np.ndarray:
    rows = data.scaled.astype(np.float64)
    mean, deviation = rows[data.train].mean(axis=0), rows[data.train].std(axis=0)
    return (rows - mean) / np.where(deviation > 1e-8, deviation, 1)


def _standardise_unscaled(data: StudyData) -> np.ndarray:
    """Columns of unscaled tiers standardised as well: a Gaussian kernel would see the largest alone."""
    plain = np.concatenate([np.full(len(block.names), not block.scaled) for block in data.features.blocks])
    return np.where(plain, _standardise(data), data.scaled)


PEERS: dict[str, Peer] = {
    "constant": predict_constant,
    "ridge": predict_ridge,
    "SVR": predict_svr,
    "boosting": predict_boosting,
}
