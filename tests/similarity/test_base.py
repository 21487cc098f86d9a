"""What all measures have in common: checks, names of columns, what was learned."""

import numpy as np
import pytest
from sklearn.exceptions import NotFittedError

from m3ray.errors import FeatureError, ShapeError, StudyError
from m3ray.similarity.base import (
    Measure,
    check_rows,
    count_distinct_rows,
    has_equal_rows,
    round_to,
    scale_rows,
    scaling_exponent,
)


class Doubled(Measure):
    """Twice the first component, for tests."""

    def __init__(self, factor=2):
        self.factor = factor

    def _fit(self, train, labels, names):
        self.columns_ = ("doubled", *names)
        self.mean_ = train.mean(axis=0)

    def transform(self, query):
        return self.factor * check_rows(query)[:, :1]


def test_train_clips_are_measured_as_new_ones_unless_a_measure_says_otherwise():
    measure = Doubled().fit(np.array([[1.0], [4.0]]))
    assert measure.transform_train().tolist() == [[2], [8]]


def test_labels_without_names_are_numbered():
    train, labels = np.array([[1.0], [4.0]]), np.ones((2, 2), bool)
    assert Doubled().fit(train, labels).columns == ("doubled", "0", "1")
    assert Doubled().fit(train, labels, ["sky", "sea"]).columns == ("doubled", "sky", "sea")


def test_columns_are_known_after_the_fit():
    with pytest.raises(NotFittedError):
        _ = Doubled().columns


def test_what_was_learned_is_arrays_and_plain_values():
    arrays, values = Doubled().fit(np.array([[1.0], [4.0]])).state()
    assert set(arrays) == {"train_", "mean_"}
    assert values == {"columns_": ("doubled",)}


def test_restored_lists_are_tuples_again():
    measure = Doubled().restore({"train_": np.array([[3.0]])}, {"columns_": ["doubled"]})
    assert measure.columns == ("doubled",)
    assert measure.transform_train().tolist() == [[6]]


@pytest.mark.parametrize("method", ["fit", "transform"])
def test_a_subclass_that_lacks_a_method_is_named(method):
    with pytest.raises(TypeError, match="Measure defines no"):
        getattr(Measure(), method)(np.array([[1.0], [4.0]]))


def test_a_needed_label_that_nobody_has_is_an_error():
    class Labelled(Doubled):
        needs_labels = True

    with pytest.raises(StudyError, match="Labelled needs labels"):
        Labelled().fit(np.array([[1.0], [4.0]]), np.zeros((2, 0), bool))


def test_integers_become_floats_and_floats_keep_their_type():
    assert check_rows(np.array([[1, 2]])).dtype == np.float64
    assert check_rows(np.array([[1, 2]], np.float32)).dtype == np.float32


def test_rows_of_another_shape_or_not_finite_are_named():
    with pytest.raises(ShapeError, match=r"expected \(N, d\), got \(3,\)"):
        check_rows(np.zeros(3))
    with pytest.raises(FeatureError, match="2 rows are not finite, the first is row 1"):
        check_rows(np.array([[0.0], [np.nan], [np.inf]]))


def test_rows_are_equal_in_float32():
    assert has_equal_rows(np.array([[1.0, 2.0], [1.0 + 1e-12, 2.0]]))
    assert not has_equal_rows(np.array([[1.0, 2.0], [1.0, 2.001]]))


def test_rows_are_equal_whatever_their_size():
    for size in (1e-39, 1e39, 1e200):
        assert has_equal_rows(size * np.array([[1.0, 2.0], [1.0 + 1e-12, 2.0]]))
        assert not has_equal_rows(size * np.array([[1.0, 2.0], [1.0, 2.001]]))
        assert count_distinct_rows(size * np.array([[1.0], [1.0 + 1e-12], [2.0]])) == 2
    assert has_equal_rows(np.zeros((3, 2)))


def test_rows_are_scaled_where_they_are_far_from_one():
    assert scaling_exponent(np.array([[0.1, 900.0]])) == 0
    assert scaling_exponent(np.zeros((2, 2))) == 0
    assert scaling_exponent(np.array([[0.1, 3 * 2.0**40]])) == -42
    assert scale_rows(np.array([[3.0]]), -42).item() == 3 * 2.0**-42


def test_results_too_large_for_their_type_are_named():
    assert round_to(np.array([[1e4]]), np.dtype(np.float16)).dtype == np.float16
    with pytest.raises(FeatureError, match=r"2 rows lie so far .* no number of float16, the first is row 1"):
        round_to(np.array([[1.0], [1e5], [np.inf]]), np.dtype(np.float16))


def test_queries_of_another_width_are_refused():
    class Halved(Doubled):
        transform = Measure.transform

        def _measure(self, rows):
            return rows[:, :1] / 2

    measure = Halved().fit(np.array([[1.0, 0.0], [4.0, 0.0]], np.float16))
    assert measure.transform_train().tolist() == [[0.5], [2]]
    assert measure.transform_train().dtype == np.float16
    with pytest.raises(ShapeError, match="expected 2 columns as the train clips have, got 3"):
        measure.transform(np.zeros((1, 3)))
