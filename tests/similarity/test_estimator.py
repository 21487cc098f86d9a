"""Estimators by scikit-learn's conventions, without its import."""

import numpy as np
import pytest
from sklearn.base import BaseEstimator, clone
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import make_pipeline

from m3ray.similarity.estimator import Estimator, check_fitted


class Shift(Estimator):
    """Adds what it is told to, for tests."""

    def __init__(self, by=1, name="a"):
        self.by = by
        self.name = name

    def fit(self, rows, targets=None):
        self.rows_ = len(rows)
        return self

    def transform(self, rows):
        return rows + self.by


class Reference(BaseEstimator):
    """scikit-learn's own, with the same constructor."""

    def __init__(self, by=1, name="a"):
        self.by = by
        self.name = name


def test_settings_are_those_that_scikit_learn_would_find():
    ours, theirs = Shift(3, name="b"), Reference(3, name="b")
    assert ours.get_params() == theirs.get_params()
    ours.fit([1, 2])
    assert ours.get_params() == theirs.get_params(), "what was learned is no setting"
    assert ours.set_params(by=5) is ours
    assert ours.get_params() == theirs.set_params(by=5).get_params()
    assert repr(ours) == "Shift(by=5, name='b')"


def test_a_setting_that_the_constructor_does_not_have_is_named():
    with pytest.raises(ValueError, match="Shift has no setting bye"):
        Shift().set_params(bye=2)


def test_scikit_learn_takes_it_as_one_of_its_own():
    copy = clone(Shift(4).fit([1]))
    assert (copy.by, hasattr(copy, "rows_")) == (4, False)
    pipeline = make_pipeline(Shift(1), Shift(2)).fit(np.zeros((2, 1)))
    assert pipeline.transform(np.zeros((1, 1))) == 3


def test_what_was_not_fitted_is_told_as_scikit_learn_does():
    with pytest.raises(NotFittedError, match="Shift has not been fitted yet"):
        check_fitted(Shift())
    check_fitted(Shift().fit([1]))
