"""Kernel density estimates."""

import numpy as np
import pytest
from planted_clusters import random_vectors
from scipy.spatial.distance import cdist
from scipy.special import logsumexp
from scipy.stats import norm

from m3ray.errors import StudyError
from m3ray.similarity import MEASURES
from m3ray.similarity.density import Kde, KdeKmeans, KdeLabels, search_bandwidth


def test_densities_far_from_every_kernel_stay_finite_and_exact():
    """Reference: SciPy's logsumexp over the exponents of every pair."""
    train, labels, _ = random_vectors(60)
    far = np.full((2, 10), 40.0)
    found = MEASURES["kde_labels"](bandwidth=0.3, fewest=2).fit(train, labels).transform(far)
    for group in range(3):
        exponents = -cdist(far, train[labels[:, group]], "sqeuclidean") / (2 * 0.3**2)
        expected = np.log(labels[:, group].sum()) - logsumexp(exponents, axis=1) + 5 * np.log(2 * np.pi * 0.3**2)
        np.testing.assert_allclose(found[:, group], expected, rtol=1e-7)


def test_a_label_with_one_clip_leaves_its_own_density_finite():
    train, labels, _ = random_vectors(60)
    labels = np.column_stack([labels, np.arange(60) == 5])
    measure = MEASURES["kde_labels"](bandwidth=0.5, fewest=1).fit(train, labels)
    assert len(measure.columns) == 3, "one clip is no density"


def test_a_density_of_two_kernels_by_hand():
    """At 0 between kernels at -1 and 1 of deviation 1 the density is the normal one at 1; leaving one out, at 2."""
    measure = Kde(bandwidth=1.0).fit(np.array([[-1.0], [1.0]]))
    assert measure.transform(np.array([[0.0]])).item() == pytest.approx(-norm.logpdf(1))
    np.testing.assert_allclose(measure.transform_train(), [[-norm.logpdf(2)]] * 2, rtol=1e-6)


def test_rare_labels_have_no_density_and_columns_bear_the_names_of_the_others():
    train, labels, _ = random_vectors(30)
    labels = np.column_stack([labels, np.arange(30) < 3])
    measure = KdeLabels(bandwidth=1.0, fewest=4).fit(train, labels, ["sky", "sea", "dog", "rare"])
    assert measure.columns == ("kde_label_sky", "kde_label_sea", "kde_label_dog")
    with pytest.raises(StudyError, match="no label has 11 train clips, the most frequent has 10: lower `fewest`"):
        KdeLabels(bandwidth=1.0, fewest=11).fit(train, labels)


def test_a_clip_alone_in_its_group_gets_the_largest_value_of_the_others():
    train = np.array([[0.0], [0.1], [9.0]])
    measure = KdeLabels(bandwidth=1.0, fewest=2).fit(train, np.ones((3, 1), bool))
    measure.members_ = np.array([[True], [False], [False]])
    values = measure.transform_train()[:, 0]
    assert values[0] == values.max() == pytest.approx(-norm.logpdf(9))


def test_k_means_has_no_more_clusters_than_different_clips():
    measure = KdeKmeans(bandwidth=1.0, clusters=10).fit(np.repeat([[0.0], [5.0], [9.0]], 4, axis=0))
    assert measure.columns == ("kde_cluster_0", "kde_cluster_1", "kde_cluster_2")
    assert sorted(measure.members_.sum(0)) == [4, 4, 4]


def test_the_bandwidth_is_that_of_the_highest_held_out_likelihood():
    """Reference: SciPy's logsumexp over kernels of the other four fifths, for every bandwidth that is tried."""
    rows = np.random.default_rng(0).standard_normal((50, 2))

    def held_out_likelihood(h):
        folds = [(rows[k : k + 10], np.delete(rows, range(k, k + 10), axis=0)) for k in range(0, 50, 10)]
        exponents = [-cdist(held, others, "sqeuclidean") / (2 * h**2) for held, others in folds]
        return sum(logsumexp(e, axis=1).sum() - 10 * np.log(2 * np.pi * h**2) for e in exponents)

    best = max(np.geomspace(0.05, 2.0, 16), key=held_out_likelihood)
    assert search_bandwidth(rows, seed=0) == pytest.approx(best)


def test_a_search_draws_from_many_rows_with_its_seed(monkeypatch):
    monkeypatch.setattr("m3ray.similarity.density._SEARCH_ROWS", 40)
    rows = np.random.default_rng(1).standard_normal((400, 2))
    assert search_bandwidth(rows, seed=3) == search_bandwidth(rows, seed=3)
