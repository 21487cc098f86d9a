"""DBSCAN in the t-SNE plane, its eps and its predictor of clusters."""

import subprocess
import sys
import warnings

import numpy as np
import pytest
from planted_clusters import planted_clusters, random_vectors
from sklearn.cluster import DBSCAN
from sklearn.metrics import adjusted_rand_score

from m3ray.errors import FeatureError, StudyError
from m3ray.similarity import MEASURES
from m3ray.similarity.clustering import NOISE, Dbscan, choose_eps, cluster_rows, embed_tsne, k_distances, knee_distance


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


@pytest.mark.parametrize("width", [1, 2, 3, 10])
def test_the_plane_has_three_dimensions_or_as_many_as_there_are(width):
    rows = np.random.default_rng(1).standard_normal((24, width))
    plane = embed_tsne(rows, perplexity=5, seed=0)
    assert plane.shape == (24, min(3, width))
    assert plane.dtype == np.float32
    assert np.isfinite(plane).all()


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


def test_too_few_different_rows_are_refused_in_words():
    rows = np.arange(40.0)[:, None] % 3 * np.ones(10)
    with pytest.raises(StudyError, match="needs 4 different train clips for t-SNE to place, got 3 among 40: add clips"):
        Dbscan().fit(rows)


# In a process of its own, which each of these once ended by a segmentation fault, or would where scikit-learn's t-SNE
# got it as it is: rows without deviation, and rows whose squares leave the range of float32.
HARD_ROWS = """
import warnings, numpy as np
from m3ray.similarity.clustering import Dbscan
warnings.simplefilter("ignore")
x = np.random.default_rng(0).standard_normal((24, 6))
kinds = {"equal": x[:1].repeat(24, 0), "two columns": np.ones((24, 2)), "duplicates": x[np.arange(24) % 4]}
kinds |= {"rounded": x[:1] * (1 + 1e-7 * x), "1e-30": x * 1e-30, "1e-39": x * 1e-39, "1e30": x * 1e30}
for kind, rows in kinds.items():
    print(kind, flush=True)
    measure = Dbscan().fit(rows)
    assert np.isfinite(measure.transform(rows)).all() and np.isfinite(measure.plane_).all()
"""


def test_rows_that_t_sne_dies_of_are_clustered():
    done = subprocess.run([sys.executable, "-c", HARD_ROWS], capture_output=True, text=True, check=False)
    assert done.returncode == 0, (done.returncode, done.stdout, done.stderr[-500:])


def test_size_decides_nothing():
    """2^-100 times the rows: the same plane and the same clusters of new clips, as a power of two rounds nothing."""
    rows, query = np.ldexp(two_blobs(12), -6), np.random.default_rng(2).random((50, 3))
    plain, scaled = Dbscan().fit(rows), Dbscan().fit(np.ldexp(rows, -100))
    np.testing.assert_array_equal(scaled.plane_, plain.plane_)
    np.testing.assert_array_equal(scaled.predict(np.ldexp(query, -100)), plain.predict(query))


def test_noise_without_a_column_is_zero_in_all(fitted):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("m3ray.similarity.clustering.embed_tsne", lambda train, *_: train[:, :3])
        measure = Dbscan(noise_column=False).fit(two_blobs())
        assert measure.columns == ("dbscan_cluster_0", "dbscan_cluster_1")
        np.testing.assert_array_equal(measure.transform_train(), fitted.transform_train()[:, :2])
        with pytest.raises(StudyError, match="found no cluster at eps 1e-06, and noise has no column"):
            Dbscan(eps=1e-6, noise_column=False).fit(two_blobs())


def test_one_cluster_with_nearly_all_clips_is_said():
    """97 of 100 clips in one cluster; two clusters, so the number of them says nothing."""
    rng = np.random.default_rng(0)
    rows = np.concatenate([rng.standard_normal((195, 3)), rng.standard_normal((5, 3)) * 0.1 + 50])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("m3ray.similarity.clustering.embed_tsne", lambda train, *_: train[:, :3])
        with pytest.warns(UserWarning, match="DBSCAN found 2 cluster.s. and 0% noise .* 98% of the clips alike"):
            measure = Dbscan(eps=5.0).fit(rows)
    assert measure.largest_share_ == pytest.approx(195 / 200)


def test_a_clip_beyond_all_numbers_is_named(fitted):
    with pytest.raises(FeatureError, match="the first is row 1"):
        fitted.predict(np.array([[0, 0, 0], [1e308, 1e308, -1e308]]))


def test_rows_are_clustered_for_a_figure_as_the_measure_clusters_them():
    rows = 6 * np.eye(5)[np.arange(30) % 3] + np.random.default_rng(0).normal(size=(30, 5))
    plane, clusters = cluster_rows(rows, seed=0)
    measure = Dbscan(seed=0).fit(rows)
    assert plane == pytest.approx(measure.plane_, abs=1e-4)
    assert (clusters == measure.clusters_).all()
