"""One common test over every measure, parity with SciPy and scikit-learn (golden/similarity.npz), planted clusters."""

import json
import warnings

import numpy as np
import pytest
from recipes import golden
from safetensors.numpy import load, save
from scipy.spatial.distance import cdist
from scipy.special import logsumexp
from sklearn.base import clone
from sklearn.cluster import DBSCAN
from sklearn.metrics import adjusted_rand_score
from sklearn.neighbors import KernelDensity, NearestNeighbors

from m3ray.errors import FeatureError, ShapeError, StudyError
from m3ray.similarity import MEASURES, Projection, pairwise
from m3ray.similarity.clustering import auto_eps, knee_distance

SETTINGS = {
    "kde": {"bandwidth": 0.5},
    "kde_labels": {"bandwidth": 0.5, "fewest": 2},
    "kde_kmeans": {"bandwidth": 0.5, "clusters": 4},
}
NEEDS_LABELS = [name for name, kind in MEASURES.items() if kind.needs_labels]
TOLERANCE = {np.float64: 1e-5, np.float32: 1e-4}


def make(name):
    return MEASURES[name](**SETTINGS.get(name, {}))


def data(rows=120, seed=0, dtype=np.float64):
    rng = np.random.default_rng(seed)
    train = rng.standard_normal((rows, 10)).astype(dtype)
    labels = np.arange(rows)[:, None] % 3 == np.arange(3)
    return train, labels, rng.standard_normal((25, 10)).astype(dtype)


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
    train, labels, query = data(dtype=dtype)
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
    train, labels, query = data()
    measure = make(name).fit(train, labels)
    arrays, facts = measure.state()
    again = clone(measure).restore(load(save(arrays)), json.loads(json.dumps(facts)))
    np.testing.assert_array_equal(again.transform(query), measure.transform(query))
    np.testing.assert_array_equal(again.transform_train(), measure.transform_train())
    assert again.columns == measure.columns


@pytest.mark.parametrize("name", MEASURES)
def test_clone_keeps_settings_and_forgets_what_was_learned(name):
    measure = make(name).fit(*data()[:2])
    fresh = clone(measure)
    assert fresh.get_params() == measure.get_params()
    assert not hasattr(fresh, "train_")


@pytest.mark.parametrize("name", MEASURES)
def test_bad_rows_are_refused(name):
    train, labels, query = data()
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
        make(name).fit(data()[0], None)


@pytest.mark.parametrize("name", MEASURES)
def test_duplicates_and_constant_columns_stay_finite(name):
    train, labels, query = data(60)
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


def test_the_tenth_measure_equals_scikit_learn_s_neighbours():
    train, _, query = data(60)
    measure = MEASURES["knn_density"](k=7).fit(train)
    index = NearestNeighbors(n_neighbors=7).fit(train)
    np.testing.assert_allclose(measure.transform(query)[:, 0], index.kneighbors(query)[0].mean(1), rtol=1e-9)
    # Without rows, scikit-learn leaves each fitted row out itself.
    np.testing.assert_allclose(measure.transform_train()[:, 0], index.kneighbors()[0].mean(1), rtol=1e-9)


@pytest.mark.parametrize("name", MEASURES)
def test_a_fit_sees_no_query_and_a_query_no_other(name):
    """A query's row is the same alone as in company, and the train split's rows don't change by asking."""
    train, labels, query = data()
    measure = make(name).fit(train, labels)
    before = measure.transform_train()
    found = measure.transform(query)
    alone = np.concatenate([measure.transform(row[None]) for row in query])
    np.testing.assert_allclose(alone, found, rtol=1e-6, atol=1e-7)
    np.testing.assert_array_equal(measure.transform_train(), before)


@pytest.mark.parametrize("name", MEASURES)
def test_blocks_change_nothing(name, monkeypatch):
    train, labels, query = data()
    measure = make(name).fit(train, labels)
    whole = measure.transform(query), measure.transform_train()
    monkeypatch.setattr(pairwise, "CACHED_NUMBERS", 700)
    parts = measure.transform(query), measure.transform_train()
    for found, expected in zip(parts, whole, strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-7)


def test_densities_far_from_every_kernel_stay_finite_and_exact():
    """Reference: SciPy's logsumexp over the exponents of every pair."""
    train, labels, _ = data(60)
    far = np.full((2, 10), 40.0)
    found = MEASURES["kde_labels"](bandwidth=0.3, fewest=2).fit(train, labels).transform(far)
    for group in range(3):
        exponents = -cdist(far, train[labels[:, group]], "sqeuclidean") / (2 * 0.3**2)
        expected = np.log(labels[:, group].sum()) - logsumexp(exponents, axis=1) + 5 * np.log(2 * np.pi * 0.3**2)
        np.testing.assert_allclose(found[:, group], expected, rtol=1e-7)


def test_few_clips_in_an_even_plane_still_get_clusters():
    """77 points of no structure: the curve has no knee, and its eps would join them all."""
    plane = np.random.default_rng(0).random((77, 3)) * 100
    clusters = DBSCAN(eps=auto_eps(plane, 5), min_samples=5).fit_predict(plane)
    assert len(set(clusters.tolist()) - {-1}) > 1
    assert np.mean(clusters == -1) <= 0.5


@pytest.mark.parametrize("name", ["fractional_mean", "cosine_mean", "cosine_threshold", "kde", "kde_labels"])
def test_leave_one_out_equals_brute_force(name):
    train, labels, _ = data(60)
    found = make(name).fit(train, labels).transform_train()
    np.testing.assert_allclose(found, brute_leave_one_out(name, train, labels), rtol=1e-6)


def test_a_label_with_one_clip_leaves_its_own_density_finite():
    train, labels, _ = data(60)
    labels = np.column_stack([labels, np.arange(60) == 5])
    measure = MEASURES["kde_labels"](bandwidth=0.5, fewest=1).fit(train, labels)
    assert len(measure.columns) == 3, "one clip is no density"


def planted(seed=0):
    """2,000 rows in five clusters of falling size; the scores fall with the size of the cluster."""
    rng = np.random.default_rng(seed)
    sizes = (900, 500, 350, 170, 80)
    # As far from each other each: what tells them apart is their size.
    centres = 12 * np.eye(5, 10)
    cluster = np.repeat(np.arange(5), sizes)
    rows = centres[cluster] + rng.standard_normal((2000, 10))
    return rows, cluster, np.asarray(sizes)


@pytest.mark.integration  # t-SNE of 1,600 rows
def test_dbscan_recovers_planted_clusters():
    rows, cluster, _ = planted()
    order = np.random.default_rng(0).permutation(2000)
    train, held = order[:1600], order[1600:]
    measure = MEASURES["dbscan"](eps="auto").fit(rows[train])
    assert adjusted_rand_score(cluster[train], measure.clusters_) >= 0.9
    assert adjusted_rand_score(cluster[held], measure.predict(rows[held])) >= 0.9
    assert measure.predictor_accuracy_ > 0.9


# Towards common clips: distances and surprise fall, cosine similarities rise.
@pytest.mark.parametrize(
    ("name", "sign"), [("fractional_mean", 1), ("cosine_mean", -1), ("cosine_threshold", -1), ("kde", 1)]
)
def test_measures_rank_planted_clusters_by_how_common_they_are(name, sign):
    rows, cluster, sizes = planted()
    measure = make(name).fit(rows)
    mean = np.array([measure.transform_train()[cluster == k, 0].mean() for k in range(5)])
    order = np.argsort(sizes)[::-1]
    assert (np.diff(sign * mean[order]) > 0).all(), "the rarer the cluster, the more unlike the rest"


@pytest.mark.parametrize("name", ["fractional_prototypes", "euclidean_prototypes", "kde_labels", "kde_kmeans"])
def test_measures_with_a_column_a_group_find_each_row_s_own(name):
    """Planted clusters are the labels too: a row is nearest to its own prototype, likeliest under its own density."""
    rows, cluster, _ = planted()
    labels = cluster[:, None] == np.arange(5)
    settings = {"kde_labels": {"fewest": 2, "bandwidth": 1.0}, "kde_kmeans": {"clusters": 5, "bandwidth": 1.0}}
    found = MEASURES[name](**settings.get(name, {})).fit(rows, labels).transform(rows)
    assert adjusted_rand_score(cluster, found.argmin(axis=1)) >= 0.9


def test_near_neighbours_are_further_in_sparser_places():
    rows, cluster, _ = planted()
    rows[cluster == 4] += 3 * (rows[cluster == 4] - rows[cluster == 4].mean(0))
    found = MEASURES["knn_density"]().fit(rows).transform_train()[:, 0]
    assert found[cluster == 4].mean() > 2 * found[cluster == 0].mean()


def test_the_paper_s_eps_that_does_not_suit_warns():
    with pytest.warns(UserWarning, match="cluster"):
        MEASURES["dbscan"](eps=1e-6).fit(data(60)[0])


def test_perplexity_is_lowered_on_small_data_and_recorded():
    assert MEASURES["dbscan"]().fit(data(31)[0]).perplexity_ == 10.0


def test_the_knee_of_two_distances():
    """40 points a unit apart and one far away: the knee lies at the unit."""
    plane = np.column_stack([np.append(np.arange(40.0), 500.0), np.zeros(41)])
    assert knee_distance(plane, 1) == pytest.approx(1.0)


def test_projection_needs_more_clips_than_components():
    with pytest.raises(StudyError, match="10 components need more than 10"):
        Projection(10).fit(np.random.default_rng(0).random((10, 40)))


def test_projection_whitens_and_ignores_constant_columns():
    rows = np.random.default_rng(0).standard_normal((200, 12))
    rows[:, 5] = 3.0
    z = Projection(10).fit(rows).transform(rows)
    np.testing.assert_allclose(z.std(axis=0, ddof=1), 1, rtol=1e-6)
    with pytest.raises(ShapeError):
        Projection(10).fit(rows).transform(rows[:, :5])
