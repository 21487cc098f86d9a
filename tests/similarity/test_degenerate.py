"""Clips that say little of each other: every measure fits what there is to fit, or says in words why it cannot."""

import warnings

import numpy as np
import pytest

from m3ray.config import SimilarityConfig
from m3ray.errors import FeatureError, StudyError
from m3ray.similarity import MEASURES, Projection
from m3ray.similarity.base import count_distinct_rows, has_equal_rows
from m3ray.similarity.fitted import FittedSimilarity

KINDS = ("equal", "zero", "half", "two", "three", "all but one", "rounded", "one column", "huge", "tiny", "any")


def vectors(kind, count, width=20):
    rows = np.random.default_rng(0).standard_normal((count, width)).astype(np.float32)
    if kind in ("equal", "zero"):
        rows[:] = rows[0] if kind == "equal" else 0
    elif kind == "half":
        rows[: count // 2] = rows[0]
    elif kind in ("two", "three"):
        rows = rows[np.arange(count) % {"two": 2, "three": 3}[kind]]
    elif kind == "all but one":
        rows[1:] = rows[-1]
    elif kind == "rounded":  # the same picture, computed in batches of another size
        rows[:] = rows[0] * (1 + 1e-7 * np.random.default_rng(1).standard_normal((count, width)))
    elif kind == "one column":
        rows[:, 1:] = 1
    return rows * {"huge": 1e18, "tiny": 1e-18}.get(kind, 1)


def fitted(name, rows):
    labels = np.arange(len(rows))[:, None] % 3 == np.arange(3)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return FittedSimilarity.fit(SimilarityConfig(measure=name, kde_fewest=2), {"scene": rows}, labels, list("abc"))


@pytest.mark.parametrize("count", [2, 3, 4, 5, 8, 24])
@pytest.mark.parametrize("name", MEASURES)
def test_every_measure_of_clips_alike(name, count):
    """t-SNE once died of equal rows, and wanted more rows than it has dimensions."""
    new = np.random.default_rng(2).standard_normal((3, 20)).astype(np.float32)
    for kind in KINDS:
        rows = vectors(kind, count)
        distinct = count_distinct_rows(Projection(min(10, count - 1)).fit(rows).transform(rows))
        if (MEASURES[name].needs_labels and count < 4) or (name == "dbscan" and 1 < distinct < 4):
            with pytest.raises(StudyError, match=r"no label has 2 train clips|needs 4 different train clips"):
                fitted(name, rows)
            continue
        model = fitted(name, rows)
        own, found = model.transform_train(), model.transform({"scene": new})
        assert own.shape == (count, len(model.columns)), kind
        assert found.shape == (3, len(model.columns)), kind
        assert np.isfinite(own).all(), kind
        assert np.isfinite(found).all(), kind


@pytest.mark.parametrize("width", [1, 2])
@pytest.mark.parametrize("name", MEASURES)
def test_every_measure_of_vectors_of_one_or_two_numbers(name, width):
    model = fitted(name, vectors("any", 24, width))
    assert np.isfinite(model.transform_train()).all()


@pytest.mark.parametrize("name", MEASURES)
def test_one_clip_alone_is_refused_in_words(name):
    with pytest.raises(StudyError, match="similarity needs at least 2 train clips, got 1"):
        fitted(name, vectors("any", 1))


@pytest.mark.parametrize("name", MEASURES)
def test_a_vector_that_is_no_number_is_named(name):
    rows = vectors("any", 8)
    rows[5, 3] = np.nan
    with pytest.raises(FeatureError, match="row 5"):
        fitted(name, rows)


def test_equal_clips_are_one_cluster_and_it_is_said():
    rows = Projection(10).fit(vectors("equal", 24)).transform(vectors("equal", 24))
    with pytest.warns(UserWarning, match="the vectors of all 24 train clips are equal") as said:
        measure = MEASURES["dbscan"]().fit(rows)
    assert len(said) == 1, "once is enough"
    assert set(measure.clusters_) == {0}
    assert measure.columns == ("dbscan_cluster_0", "dbscan_noise")
    assert measure.predict(np.ones((2, 10))).tolist() == [0, 0]


def test_rounding_is_no_difference():
    """Whitened, noise of the seventh digit would be as large as any difference; constant frames stay constant."""
    rows = vectors("rounded", 24).astype(np.float64)
    assert np.abs(Projection(10).fit(rows).transform(rows)).max() == 0
    assert has_equal_rows(np.array([[1.0, 2.0], [1.0 + 1e-12, 2.0]]))
    assert not has_equal_rows(np.array([[1.0, 2.0], [1.001, 2.0]]))


def test_small_differences_are_differences():
    """A deviation of a thousandth of the vectors' size is far above rounding: whitened as ever."""
    rows = 1000 + np.random.default_rng(0).standard_normal((60, 12))
    np.testing.assert_allclose(Projection(10).fit(rows).transform(rows).std(axis=0, ddof=1), 1, rtol=1e-6)
