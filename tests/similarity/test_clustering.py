"""DBSCAN in the t-SNE plane, its eps and its predictor of clusters."""

import warnings

import numpy as np
import pytest
from planted_clusters import planted_clusters, random_vectors
from sklearn.cluster import DBSCAN
from sklearn.metrics import adjusted_rand_score

from m3ray.similarity import MEASURES
from m3ray.similarity.clustering import NOISE, Dbscan, choose_eps, embed_tsne, k_distances, knee_distance


def test_few_clips_in_an_even_plane_still_get_clusters():
    """77 points of no structure: the curve has no knee, and its eps would join them all."""
    plane = np.random.default_rng(0).random((77, 3)) * 100
    clusters = DBSCAN(eps=choose_eps(plane, 5), min_samples=5).fit_predict(plane)
    assert len(set(clusters.tolist()) - {-1}) > 1
    assert np.mean(clusters == -1) <= 0.5


@pytest.mark.integration  # t-SNE of 1,600 rows
def test_dbscan_recovers_planted_clusters():
    rows, cluster, _ = planted_clusters()
    order = np.random.default_rng(0).permutation(2000)
    train, held = order[:1600], order[1600:]
    measure = MEASURES["dbscan"](eps="auto").fit(rows[train])
    assert adjusted_rand_score(cluster[train], measure.clusters_) >= 0.9
    assert adjusted_rand_score(cluster[held], measure.predict(rows[held])) >= 0.9
    assert measure.predictor_accuracy_ > 0.9


def test_the_paper_s_eps_that_does_not_suit_warns():
    with pytest.warns(UserWarning, match="cluster"):
        MEASURES["dbscan"](eps=1e-6).fit(random_vectors(60)[0])


@pytest.mark.filterwarnings("ignore:DBSCAN found")
def test_perplexity_is_lowered_on_small_data_and_recorded():
    assert MEASURES["dbscan"]().fit(random_vectors(31)[0]).perplexity_ == 10.0


def test_the_knee_of_two_distances():
    """40 points a unit apart and one far away: the knee lies at the unit."""
    plane = np.column_stack([np.append(np.arange(40.0), 500.0), np.zeros(41)])
    assert knee_distance(plane, 1) == pytest.approx(1.0)


def two_blobs(count=30):
    """Two clusters far apart, and one point between them."""
    rng = np.random.default_rng(0)
    blobs = np.concatenate([rng.standard_normal((count, 3)), rng.standard_normal((count, 3)) + 50])
    return np.concatenate([blobs, [[25, 25, 25]]])


def test_distances_to_the_kth_neighbour_by_hand():
    plane = np.array([[0.0], [1.0], [3.0], [7.0]])
    assert k_distances(plane, 1).tolist() == [1, 1, 2, 4]
    assert k_distances(plane, 2).tolist() == [2, 3, 3, 6]
    assert k_distances(plane, 9).tolist() == [4, 6, 7, 7], "the furthest point where there are fewer"


def test_eps_tells_two_blobs_apart():
    clusters = DBSCAN(eps=choose_eps(two_blobs(), 5), min_samples=5).fit_predict(two_blobs())
    assert set(clusters[:30]) == {0}
    assert set(clusters[30:60]) == {1}
    assert clusters[60] == NOISE


def test_equal_points_have_an_eps_above_zero():
    assert knee_distance(np.zeros((8, 3)), 2) > 0
    assert choose_eps(np.zeros((8, 3)), 2) > 0


@pytest.mark.parametrize(("count", "width"), [(3, 10), (24, 1), (24, 10)])
def test_the_plane_has_three_dimensions(count, width):
    rows = np.random.default_rng(1).standard_normal((count, width))
    plane = embed_tsne(rows, perplexity=min(5, (count - 1) / 3), seed=0)
    assert plane.shape == (count, 3)
    assert plane.dtype == np.float32


def test_equal_rows_stay_where_they_are():
    assert np.array_equal(embed_tsne(np.ones((9, 5)), 2, 0), np.ones((9, 3)))


@pytest.fixture(scope="module")
def fitted():
    """Fitted on two clusters, its plane being their own first three dimensions."""
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        patch.setattr("m3ray.similarity.clustering.embed_tsne", lambda train, *_: train[:, :3])
        return Dbscan().fit(two_blobs())


def test_clusters_have_a_column_each_and_noise_the_last(fitted):
    assert fitted.columns == ("dbscan_cluster_0", "dbscan_cluster_1", "dbscan_noise")
    rows = fitted.transform_train()
    assert rows[0].tolist() == [1, 0, 0]
    assert rows[30].tolist() == [0, 1, 0]
    assert rows[60].tolist() == [0, 0, 1]
    assert fitted.noise_share_ == pytest.approx(1 / 61)


def test_new_clips_get_the_cluster_that_they_lie_in(fitted):
    assert fitted.predict(np.array([[0.5, 0, 0], [50, 50, 50.5]])).tolist() == [0, 1]


def test_the_stored_weights_predict_as_scikit_learn_s_classifier(fitted):
    query = np.random.default_rng(2).uniform(-5, 55, (200, 3))
    classifier = fitted._make_predictor().fit(fitted.train_, fitted.clusters_)
    np.testing.assert_array_equal(fitted.predict(query), classifier.predict(query))


@pytest.mark.parametrize("clusters", [np.repeat([0, NOISE], 20), np.zeros(40, int)], ids=["two classes", "one class"])
def test_one_and_two_classes_are_predicted_too(clusters):
    """scikit-learn gives two classes a single output, and rejects one class."""
    measure = Dbscan()
    measure.train_ = np.concatenate([np.zeros((20, 3)), np.ones((20, 3))]) + 0.01 * np.arange(40)[:, None] / 40
    measure.clusters_ = clusters
    measure._fit_predictor(measure.train_)
    np.testing.assert_array_equal(measure.predict(measure.train_), clusters)


def test_accuracy_is_unknown_where_a_fifth_says_nothing():
    measure = Dbscan()
    measure.clusters_ = np.arange(20) % 2
    assert measure._evaluate_predictor(np.zeros((20, 3))) is None
