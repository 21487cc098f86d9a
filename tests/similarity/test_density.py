"""Kernel density estimates."""

import numpy as np
import pytest
from planted_clusters import random_vectors
from scipy.spatial.distance import cdist
from scipy.special import logsumexp
from scipy.stats import norm
from sklearn.neighbors import KernelDensity

from m3ray.errors import StudyError
from m3ray.similarity import MEASURES
from m3ray.similarity.bandwidth import search_bandwidth
from m3ray.similarity.density import Kde, KdeKmeans, KdeLabels


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


def spread_groups():
    """Two labels of 60 clips: one dense, of deviation 0.1, one of deviation 1."""
    rng = np.random.default_rng(0)
    rows = np.concatenate([0.1 * rng.standard_normal((60, 2)), 1 + rng.standard_normal((60, 2))])
    return rows, np.repeat([[True, False], [False, True]], 60, axis=0)


def test_each_label_has_the_bandwidth_of_its_own_clips():
    """They once had that of all clips together, though a label's clips may lie ten times as close."""
    rows, labels = spread_groups()
    measure = KdeLabels(fewest=2).fit(rows, labels)
    expected = [search_bandwidth(rows[:60], 0), search_bandwidth(rows[60:], 0)]
    assert measure.bandwidths_.tolist() == expected
    assert expected[0] < expected[1] / 3
    for k, inside in enumerate(labels.T):
        density = KernelDensity(bandwidth=expected[k]).fit(rows[inside])
        np.testing.assert_allclose(measure.transform(rows + 0.1)[:, k], -density.score_samples(rows + 0.1), rtol=1e-5)


def test_each_cluster_has_the_bandwidth_of_its_own_clips():
    rows, _ = spread_groups()
    measure = KdeKmeans(clusters=3).fit(rows)
    expected = [search_bandwidth(rows[inside], 0) for inside in measure.members_.T]
    assert measure.bandwidths_.tolist() == expected


def test_one_bandwidth_of_an_older_version_is_that_of_all_groups():
    rows, labels = spread_groups()
    now = KdeLabels(bandwidth=0.5, fewest=2).fit(rows, labels)
    arrays, values = now.state()
    del arrays["bandwidths_"]
    then = KdeLabels(fewest=2).restore(arrays, {**values, "bandwidth_": 0.5})
    np.testing.assert_array_equal(then.transform(rows + 1), now.transform(rows + 1))
    np.testing.assert_array_equal(then.transform_train(), now.transform_train())


@pytest.mark.parametrize("name", ["kde", "kde_labels"])
def test_epanechnikov_s_densities_are_scikit_learn_s_up_to_the_ceiling(name):
    train, labels, query = random_vectors(60)
    settings = {"bandwidth": 4.0, "kernel": "epanechnikov"} | ({"fewest": 2} if name == "kde_labels" else {})
    measure = MEASURES[name](**settings).fit(train, labels)
    groups = labels.T if name == "kde_labels" else [np.ones(60, bool)]
    found = measure.transform(query)
    for column, ceiling, inside in zip(found.T, measure.ceilings_, groups, strict=True):
        expected = -KernelDensity(bandwidth=4.0, kernel="epanechnikov").fit(train[inside]).score_samples(query)
        np.testing.assert_allclose(column, np.minimum(expected, ceiling), rtol=1e-7)
    assert (found < measure.ceilings_).mean() > 0.5, "most are under it"


def test_a_clip_that_no_kernel_reaches_is_as_unlike_as_the_most_unlike_train_clip():
    train, _, _ = random_vectors(60)
    measure = Kde(bandwidth=4.0, kernel="epanechnikov").fit(train)
    own = measure.transform_train()
    assert measure.transform(np.full((1, 10), 50.0)).item() == own.max() == measure.ceilings_.item()
    assert np.isfinite(own).all()


def test_the_ceiling_of_clips_that_reach_no_other_is_that_of_a_kernel_s_centre():
    """Two kernels of width 1 in one dimension: at a centre p = 1/2 * 3/4."""
    measure = Kde(bandwidth=1.0, kernel="epanechnikov").fit(np.array([[0.0], [9.0]]))
    assert measure.ceilings_.item() == pytest.approx(-np.log(0.5 * 0.75))
    assert measure.transform_train()[:, 0] == pytest.approx([-np.log(0.5 * 0.75)] * 2)


def test_without_leaving_one_out_a_train_clip_is_measured_as_a_new_one():
    """Reference: scikit-learn's density of all 60 clips at each of them."""
    train, labels, _ = random_vectors(60)
    for kernel in ("gaussian", "epanechnikov"):
        measure = Kde(bandwidth=2.0, kernel=kernel, leave_one_out=False).fit(train, labels)
        expected = -KernelDensity(bandwidth=2.0, kernel=kernel).fit(train).score_samples(train)
        np.testing.assert_allclose(measure.transform_train()[:, 0], expected, rtol=1e-6)


def test_far_away_the_negative_log_likelihood_grows_as_the_square_of_the_distance():
    """It was 0 at 1e30: the exponents were infinite in float32."""
    train, labels, _ = random_vectors(60)
    labels = np.column_stack([labels, np.arange(60) == 5])
    for name, settings in (("kde", {}), ("kde_labels", {"fewest": 2}), ("kde_kmeans", {})):
        measure = MEASURES[name](bandwidth=0.5, **settings).fit(train, labels)
        far = np.zeros((1, 10))
        far[0, 0] = 1e30
        np.testing.assert_allclose(measure.transform(far), 1e60 / (2 * 0.5**2), rtol=1e-9)


def test_clips_far_apart_keep_the_digits_of_their_small_distances():
    """Two pairs a million apart, and half a bandwidth within: reference by hand, one kernel at 1/2, one at 0."""
    train = np.array([[-1e6], [-1e6 + 0.5], [1e6], [1e6 + 0.5]])
    found = Kde(bandwidth=1.0).fit(train).transform(train[:1] + 1e-4)
    density = (norm.pdf(1e-4) + norm.pdf(0.5 - 1e-4)) / 4
    assert found.item() == pytest.approx(-np.log(density), rel=1e-6)


def test_a_lone_clip_of_a_cluster_is_said():
    rows = np.concatenate([np.zeros((5, 2)) + 0.01 * np.arange(5)[:, None], [[90.0, 0.0]]])
    with pytest.warns(UserWarning, match="1 of 2 groups have one train clip"):
        measure = KdeKmeans(bandwidth=1.0, clusters=2).fit(rows)
    own = measure.transform_train()
    lone = int(np.flatnonzero(measure.members_.sum(axis=0) == 1)[0])
    assert own[5, lone] == own[:5, lone].max() > 1000
