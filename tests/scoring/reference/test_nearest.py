"""Nearest train clips against SciPy's distances, who is left out, and what happens at the edges."""

import numpy as np
import pytest
from scipy.spatial.distance import cdist

from m3ray.scoring.reference import nearest
from m3ray.scoring.reference.nearest import MOST_COPIES, WHOLE, find_nearest

TIERS = ("raw", "scene")


def draw(rows, seed):
    rng = np.random.default_rng(seed)
    return {"raw": rng.standard_normal((rows, 3)), "scene": rng.standard_normal((rows, 8))}


def expect(clips, train, k):
    """Rows and distances by brute force; the whole is the root of the mean of the tiers' squares."""
    each = {name: cdist(clips[name], train[name]) for name in TIERS}
    each[WHOLE] = np.sqrt((each["raw"] ** 2 + each["scene"] ** 2) / 2)
    return {name: (np.argsort(d, 1)[:, :k], np.sort(d, 1)[:, :k]) for name, d in each.items()}


@pytest.mark.parametrize("block", [nearest._BLOCK, 100])
def test_neighbours_are_those_of_brute_force_however_they_are_cut(block, monkeypatch):
    monkeypatch.setattr(nearest, "_BLOCK", block)
    clips, train = draw(37, 0), draw(90, 1)
    found = find_nearest(clips, train, TIERS, [*TIERS, WHOLE], 10)
    for name, (rows, distances) in expect(clips, train, 10).items():
        np.testing.assert_array_equal(found.spaces[name].rows, rows)
        np.testing.assert_allclose(found.spaces[name].distances, distances, rtol=1e-5)
    assert (found.same == -1).all()


def test_mean_distance_counts_the_last_neighbour_in_part():
    clips, train = draw(5, 0), draw(30, 1)
    near = find_nearest(clips, train, TIERS, ["raw"], 4).spaces["raw"]
    d = expect(clips, train, 4)["raw"][1]
    np.testing.assert_allclose(near.mean(2.5), (d[:, 0] + d[:, 1] + d[:, 2] / 2) / 2.5, rtol=1e-5)


def test_a_train_clip_and_its_copies_are_no_neighbours_of_it():
    train = draw(60, 1)
    train = {name: np.concatenate([x, x[:1], x[:1]]) for name, x in train.items()}  # clip 0 stands there three times
    clips = {name: x[[0, 5]] for name, x in train.items()}
    found = find_nearest(clips, train, TIERS, ["raw"], 5, np.array([-1, 5]))
    assert found.same.tolist() == [0, 5]
    assert not set(found.spaces["raw"].rows[0]) & {0, 60, 61}
    assert 5 not in found.spaces["raw"].rows[1]


def test_where_many_train_clips_are_alike_they_count_and_the_clip_itself_does_not():
    """Six clips without any detection: their features say nothing of which is which, their ids do."""
    train = draw(60, 1)
    for x in train.values():
        x[: MOST_COPIES + 2] = 0
    clips = {name: np.zeros((2, x.shape[1])) for name, x in train.items()}
    found = find_nearest(clips, train, TIERS, ["raw"], 5, np.array([-1, 2]))
    assert found.same.tolist() == [-1, 2]
    assert (found.spaces["raw"].distances[0] == 0).all()
    assert 2 not in found.spaces["raw"].rows[1]


def test_the_same_id_with_other_features_is_another_clip():
    clips, train = draw(1, 0), draw(20, 1)
    assert find_nearest(clips, train, TIERS, ["raw"], 3, np.array([4])).same.tolist() == [-1]


def test_fewer_train_clips_than_neighbours_no_clips_and_a_lone_copy():
    train = draw(3, 1)
    near = find_nearest(draw(2, 0), train, TIERS, ["raw"], 10).spaces["raw"]
    assert near.rows.shape == (2, 3)
    alone = {name: x[:1] for name, x in train.items()}
    found = find_nearest(alone, alone, TIERS, ["raw"], 10)
    assert (found.same.tolist(), found.spaces["raw"].rows.tolist()) == ([0], [[-1]])
    assert found.spaces["raw"].mean(10).tolist() == [0]
    assert find_nearest(draw(0, 0), train, TIERS, ["raw"], 10).spaces["raw"].rows.shape == (0, 10)


def test_a_clip_that_stands_in_train_as_often_as_copies_may_be_is_compared_with_none_of_them():
    train = draw(60, 1)
    for x in train.values():
        x[:MOST_COPIES] = 0
    clips = {name: np.zeros((1, x.shape[1])) for name, x in train.items()}
    found = find_nearest(clips, train, TIERS, ["raw"], 5)
    assert found.same[0] in range(MOST_COPIES)
    assert not set(found.spaces["raw"].rows[0].tolist()) & set(range(MOST_COPIES))
