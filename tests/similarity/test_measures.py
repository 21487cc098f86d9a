"""One common test over every measure, parity with SciPy and scikit-learn (golden/similarity.npz), planted clusters."""

import json
import warnings

import numpy as np
import pytest
from planted_clusters import planted_clusters, random_vectors
from recipes import golden
from safetensors.numpy import load, save
from scipy.spatial.distance import cdist
from sklearn.base import clone
from sklearn.metrics import adjusted_rand_score
from sklearn.neighbors import KernelDensity

from m3ray.errors import FeatureError, ShapeError, StudyError
from m3ray.similarity import MEASURES, Projection, pairwise

SETTINGS = {
    "kde": {"bandwidth": 0.5},
    "kde_labels": {"bandwidth": 0.5, "fewest": 2},
    "kde_kmeans": {"bandwidth": 0.5, "clusters": 4},
}
NEEDS_LABELS = [name for name, kind in MEASURES.items() if kind.needs_labels]
TOLERANCE = {np.float64: 1e-5, np.float32: 1e-4}


def make(name):
    return MEASURES[name](**SETTINGS.get(name, {}))


@pytest.fixture(autouse=True)
def _random_data_cluster_badly():
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="DBSCAN found")
        yield


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize(
    "name",
    [
        "fractional_mean",
        "fractional_prototypes",
        "euclidean_prototypes",
        "cosine_mean",
        "cosine_threshold",
        "kde",
        "kde_labels",
    ],
)
def test_parity(name, dtype):
    figures = golden("similarity")
    train = figures["train"].astype(dtype)
    projection = Projection(10).fit(train)
    measure = make(name).fit(projection.transform(train), figures["labels"])
    found = measure.transform(projection.transform(figures["query"].astype(dtype)))
    expected = figures[name].reshape(len(found), -1)
    assert np.abs(found - expected).max() <= TOLERANCE[dtype] * np.abs(expected).max()


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("name", MEASURES)
def test_common(name, dtype):
    train, labels, query = random_vectors(dtype=dtype)
    measure = make(name).fit(train, labels, ["a", "b", "c"])
    found, own = measure.transform(query), measure.transform_train()
    assert found.shape == (25, len(measure.columns))
    assert own.shape == (120, len(measure.columns))
    assert found.dtype == own.dtype == dtype
    assert np.isfinite(found).all()
    assert np.isfinite(own).all()
    order = np.random.default_rng(1).permutation(len(query))
    np.testing.assert_allclose(
        measure.transform(query[order]), found[order], rtol=1e-5, err_msg="order of queries matters"
    )
    np.testing.assert_array_equal(make(name).fit(train, labels).transform(query), found, "not deterministic")


@pytest.mark.parametrize("name", MEASURES)
def test_state_survives_a_round_trip_without_pickle(name):
    train, labels, query = random_vectors()
    measure = make(name).fit(train, labels)
    arrays, facts = measure.state()
    again = clone(measure).restore(load(save(arrays)), json.loads(json.dumps(facts)))
    np.testing.assert_array_equal(again.transform(query), measure.transform(query))
    np.testing.assert_array_equal(again.transform_train(), measure.transform_train())
    assert again.columns == measure.columns


@pytest.mark.parametrize("name", MEASURES)
def test_clone_keeps_settings_and_forgets_what_was_learned(name):
    measure = make(name).fit(*random_vectors()[:2])
    fresh = clone(measure)
    assert fresh.get_params() == measure.get_params()
    assert not hasattr(fresh, "train_")


@pytest.mark.parametrize("name", MEASURES)
def test_bad_rows_are_refused(name):
    train, labels, query = random_vectors()
    broken = train.copy()
    broken[7, 2] = np.nan
    with pytest.raises(FeatureError, match="row 7"):
        make(name).fit(broken, labels)
    with pytest.raises(StudyError, match="at least 2"):
        make(name).fit(train[:1], labels[:1])
    with pytest.raises(ShapeError):
        make(name).fit(train, labels[:-1])
    with pytest.raises(FeatureError):
        make(name).fit(train, labels).transform(np.full_like(query, np.inf))


@pytest.mark.parametrize("name", NEEDS_LABELS)
def test_measures_that_need_labels_say_so(name):
    with pytest.raises(StudyError, match="needs labels"):
        make(name).fit(random_vectors()[0], None)


@pytest.mark.parametrize("name", MEASURES)
def test_duplicates_and_constant_columns_stay_finite(name):
    train, labels, query = random_vectors(60)
    train = np.repeat(train[:30], 2, axis=0)
    train[:, 3] = query[:, 3] = 1.0
    measure = make(name).fit(train, labels[:60])
    assert np.isfinite(measure.transform(query)).all()
    assert np.isfinite(measure.transform_train()).all()


def brute_leave_one_out(name, train, labels):
    """Each train clip against the others, row by row, with SciPy and scikit-learn."""
    rows = []
    for k in range(len(train)):
        others = np.delete(train, k, axis=0)
        if name == "fractional_mean":
            rows.append([np.mean((np.abs(train[k] - others) ** 0.5).sum(1) ** 2)])
        elif name == "cosine_mean":
            rows.append([np.mean(1 - cdist(train[k : k + 1], others, "cosine"))])
        elif name == "cosine_threshold":
            cosine = 1 - cdist(train[k : k + 1], others, "cosine")[0]
            rows.append([np.mean(cosine > t) for t in (0.4, 0.5, 0.7)])
        elif name == "kde":
            rows.append(-KernelDensity(bandwidth=0.5).fit(others).score_samples(train[k : k + 1]))
        else:
            borne = np.delete(labels, k, axis=0)
            rows.append(
                [
                    -KernelDensity(bandwidth=0.5).fit(others[borne[:, j]]).score_samples(train[k : k + 1])[0]
                    for j in range(3)
                ]
            )
    return np.array(rows)


@pytest.mark.parametrize("name", MEASURES)
def test_a_fit_sees_no_query_and_a_query_no_other(name):
    """A query's row is the same alone as in company, and the train split's rows don't change by asking."""
    train, labels, query = random_vectors()
    measure = make(name).fit(train, labels)
    before = measure.transform_train()
    found = measure.transform(query)
    alone = np.concatenate([measure.transform(row[None]) for row in query])
    np.testing.assert_allclose(alone, found, rtol=1e-6, atol=1e-7)
    np.testing.assert_array_equal(measure.transform_train(), before)


@pytest.mark.parametrize("name", MEASURES)
def test_blocks_change_nothing(name, monkeypatch):
    train, labels, query = random_vectors()
    measure = make(name).fit(train, labels)
    whole = measure.transform(query), measure.transform_train()
    monkeypatch.setattr(pairwise, "CACHED_NUMBERS", 700)
    parts = measure.transform(query), measure.transform_train()
    for found, expected in zip(parts, whole, strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("name", ["fractional_mean", "cosine_mean", "cosine_threshold", "kde", "kde_labels"])
def test_leave_one_out_equals_brute_force(name):
    train, labels, _ = random_vectors(60)
    found = make(name).fit(train, labels).transform_train()
    np.testing.assert_allclose(found, brute_leave_one_out(name, train, labels), rtol=1e-6)


# Towards common clips: distances and surprise fall, cosine similarities rise.
@pytest.mark.parametrize(
    ("name", "sign"), [("fractional_mean", 1), ("cosine_mean", -1), ("cosine_threshold", -1), ("kde", 1)]
)
def test_measures_rank_planted_clusters_by_how_common_they_are(name, sign):
    rows, cluster, sizes = planted_clusters()
    measure = make(name).fit(rows)
    mean = np.array([measure.transform_train()[cluster == k, 0].mean() for k in range(5)])
    order = np.argsort(sizes)[::-1]
    assert (np.diff(sign * mean[order]) > 0).all(), "the rarer the cluster, the more unlike the rest"


@pytest.mark.parametrize("name", ["fractional_prototypes", "euclidean_prototypes", "kde_labels", "kde_kmeans"])
def test_measures_with_a_column_a_group_find_each_row_s_own(name):
    """Planted clusters are the labels too: a row is nearest to its own prototype, likeliest under its own density."""
    rows, cluster, _ = planted_clusters()
    labels = cluster[:, None] == np.arange(5)
    settings = {"kde_labels": {"fewest": 2, "bandwidth": 1.0}, "kde_kmeans": {"clusters": 5, "bandwidth": 1.0}}
    found = MEASURES[name](**settings.get(name, {})).fit(rows, labels).transform(rows)
    assert adjusted_rand_score(cluster, found.argmin(axis=1)) >= 0.9
