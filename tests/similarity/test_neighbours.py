"""Distance to the nearest train clips."""

import numpy as np
from planted_clusters import planted_clusters, random_vectors
from sklearn.neighbors import NearestNeighbors

from m3ray.similarity import MEASURES
from m3ray.similarity.neighbours import KnnDensity


def test_the_tenth_measure_equals_scikit_learn_s_neighbours():
    train, _, query = random_vectors(60)
    measure = MEASURES["knn_density"](k=7).fit(train)
    index = NearestNeighbors(n_neighbors=7).fit(train)
    np.testing.assert_allclose(measure.transform(query)[:, 0], index.kneighbors(query)[0].mean(1), rtol=1e-9)
    # Without rows, scikit-learn leaves each fitted row out itself.
    np.testing.assert_allclose(measure.transform_train()[:, 0], index.kneighbors()[0].mean(1), rtol=1e-9)


def test_near_neighbours_are_further_in_sparser_places():
    rows, cluster, _ = planted_clusters()
    rows[cluster == 4] += 3 * (rows[cluster == 4] - rows[cluster == 4].mean(0))
    found = MEASURES["knn_density"]().fit(rows).transform_train()[:, 0]
    assert found[cluster == 4].mean() > 2 * found[cluster == 0].mean()


def test_mean_distances_by_hand():
    measure = KnnDensity(k=2).fit(np.array([[0.0], [1.0], [3.0], [7.0]]))
    assert measure.columns == ("knn_2_distance",)
    assert measure.transform(np.array([[1.0]])).tolist() == [[0.5]], "a new clip may equal a train clip"
    assert measure.transform_train().tolist() == [[2], [1.5], [2.5], [5]], "a train clip is not its own neighbour"


def test_fewer_train_clips_than_neighbours_are_all_taken():
    measure = KnnDensity(k=10).fit(np.array([[0.0], [2.0], [6.0]]))
    assert measure.columns == ("knn_2_distance",)
    assert measure.transform_train()[:, 0].tolist() == [4, 3, 5]
