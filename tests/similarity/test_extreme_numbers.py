"""Numbers of every type and size: a result is finite and right, or an error names the clip."""

import warnings

import numpy as np
import pytest
from planted_clusters import random_vectors

from m3ray.config import SimilarityConfig
from m3ray.errors import FeatureError
from m3ray.similarity import MEASURES, Projection
from m3ray.similarity.fitted import FittedSimilarity

SETTINGS = {
    "kde": {"bandwidth": 0.5},
    "kde_labels": {"bandwidth": 0.5, "fewest": 2},
    "kde_kmeans": {"bandwidth": 0.5, "clusters": 4},
}
TYPES = {"float16": np.float16, "float32": np.float32, "float64": np.float64, "int8": np.int8, "int64": np.int64}
SIZES = ("zero clip", "spread", "one far", 1e-300, 1e-39, 1.0, 1e4, 1e30, 1e39, 1e100)


def fit(name, train, labels, **settings):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return MEASURES[name](**SETTINGS.get(name, {}), **settings).fit(train, labels)


def make(size):
    train, labels, query = random_vectors(40)
    if isinstance(size, float):
        return train * size, labels, query * size
    if size == "zero clip":
        train[3] = query[3] = 0
    elif size == "spread":
        train, query = (x * np.geomspace(1e-20, 1e20, 10) for x in (train, query))
    else:
        train[3] *= 1e15
        query[3] *= 1e15
    return train, labels, query


def measure_both(name, kind, size):
    """Query's rows and train clips' of a measure, both of a type; None where that type cannot hold the vectors."""
    train, labels, query = make(size)
    with np.errstate(over="ignore", invalid="ignore"):
        train, query = train.astype(TYPES[kind]), query.astype(TYPES[kind])
    if not (np.isfinite(train).all() and np.isfinite(query).all()):
        return []
    try:
        measure = fit(name, train, labels)
        return [measure.transform(query), measure.transform_train()]
    except FeatureError as error:
        return [error]


def check_results(results, kind, size):
    for found in results:
        if isinstance(found, FeatureError):
            assert "the first is row" in str(found)
            assert size not in (1.0, 1e-39, 1e-300, "zero clip"), "numbers that the type holds"
            continue
        assert np.isfinite(found).all(), size
        assert found.dtype == (TYPES[kind] if kind.startswith("float") else np.float64), size


@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize("name", [name for name in MEASURES if name != "dbscan"])
def test_every_result_is_finite_or_its_row_is_named(name, kind):
    for size in SIZES:
        check_results(measure_both(name, kind, size), kind, size)


@pytest.mark.parametrize(
    ("kind", "size"),
    [("float16", 1.0), ("int8", 1e4), ("float64", 1e-39), ("float64", 1e39), ("float64", "spread")],
)
def test_so_is_every_result_of_dbscan(kind, size):
    check_results(measure_both("dbscan", kind, size), kind, size)


@pytest.mark.parametrize("kind", ["float16", "float32"])
@pytest.mark.parametrize("name", [name for name in MEASURES if name != "dbscan"])
def test_half_and_single_precision_are_rounded_double(name, kind):
    """float16 once raised an error of PyTorch's own in two measures."""
    train, labels, query = (x.astype(np.float16) if x.dtype != bool else x for x in random_vectors(60))
    expected = fit(name, train.astype(np.float64), labels)
    measure = fit(name, train.astype(kind), labels)
    np.testing.assert_array_equal(
        measure.transform(query.astype(kind)), expected.transform(query.astype(np.float64)).astype(kind)
    )
    np.testing.assert_array_equal(measure.transform_train(), expected.transform_train().astype(kind))


@pytest.mark.parametrize(
    "name", ["fractional_mean", "fractional_prototypes", "euclidean_prototypes", "knn_density", "cosine_mean"]
)
@pytest.mark.parametrize("exponent", [-140, -100, 60, 130, 300])
def test_distances_grow_with_the_vectors(name, exponent):
    """2^e times the vectors: 2^e times the distances, and cosines as they were; 2^130 was once infinite."""
    train, labels, query = random_vectors(40)
    plain, scaled = fit(name, train, labels), fit(name, np.ldexp(train, exponent), labels)
    growth = 0 if name == "cosine_mean" else exponent
    pairs = [
        (scaled.transform(np.ldexp(query, exponent)), plain.transform(query)),
        (scaled.transform_train(), plain.transform_train()),
    ]
    for found, expected in pairs:
        np.testing.assert_allclose(found, np.ldexp(expected, growth), rtol=1e-5, atol=0)


@pytest.mark.parametrize("size", [1e-39, 1e-30, 1e30, 1e39])
def test_the_projection_does_not_depend_on_size(size):
    rows = np.random.default_rng(0).standard_normal((40, 12))
    expected = Projection(5).fit(rows).transform(rows)
    found = Projection(5).fit(rows * size).transform(rows * size)
    np.testing.assert_allclose(np.abs(found), np.abs(expected), rtol=1e-6, atol=1e-6)


def test_a_clip_too_far_for_the_features_type_is_named():
    """Features are float32: a negative log likelihood of 1e60 is none of them."""
    rows = np.random.default_rng(0).standard_normal((40, 12))
    fitted = FittedSimilarity.fit(SimilarityConfig("kde", ("scene",)), {"scene": rows})
    query = rows[:3].copy()
    query[2] *= 1e30
    with pytest.raises(FeatureError, match="no number of float32, the first is row 2"):
        fitted.transform({"scene": query})
