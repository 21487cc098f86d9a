"""Near duplicates among vectors, against a brute-force reference of all pairs."""

import numpy as np
import pytest
from scipy.sparse.csgraph import connected_components

from m3ray.similarity import close_vectors
from m3ray.similarity.close_vectors import find_close_vectors


def draw_clips(clips, width, copies, seed=0, noise=0.05):
    """Vectors of which the first `copies` rows are the next ones again, with noise; far from the origin."""
    generator = np.random.default_rng(seed)
    rows = generator.normal(size=(clips, 30)) @ generator.normal(size=(30, width)) + 100
    rows[:copies] = rows[copies : 2 * copies] + noise * generator.normal(size=(copies, width))
    return rows.astype(np.float32)


def cosines_of(rows):
    standard = rows.astype(np.float64) - rows.astype(np.float64).mean(axis=0)
    standard /= standard.std(axis=0)
    unit = standard / np.linalg.norm(standard, axis=1, keepdims=True)
    cosines = unit @ unit.T
    np.fill_diagonal(cosines, -1)
    return cosines


def same_partition(one, other):
    return (
        len(set(zip(one.tolist(), other.tolist(), strict=True))) == len(set(one.tolist())) == len(set(other.tolist()))
    )


@pytest.mark.parametrize("threshold", [0.3, 0.9, 0.99])
@pytest.mark.parametrize(("few", "block"), [(4096, 2048), (50, 64)])
def test_groups_and_closest_rows_are_those_of_all_pairs(monkeypatch, threshold, few, block):
    monkeypatch.setattr(close_vectors, "_FEW", few)  # 50: by the leading directions, and their bound
    monkeypatch.setattr(close_vectors, "_BLOCK", block)
    monkeypatch.setattr(close_vectors, "_LARGE", 10**6)  # at 0.3 chains join most clips, and stay
    rows, further = draw_clips(300, 200, 30), draw_clips(300, 90, 30)
    first, second = cosines_of(rows), cosines_of(further)
    close = (first >= threshold) & (second >= 0.5)
    found = find_close_vectors([rows, further], threshold, 0.5)
    assert same_partition(found.groups, connected_components(close)[1])
    best = np.where(close, first, -1)
    has_close = close.any(axis=1)
    assert has_close.sum() >= 40
    assert np.allclose(found.similarity[has_close], best.max(axis=1)[has_close], atol=1e-5)
    assert (found.nearest[has_close] == best.argmax(axis=1)[has_close]).mean() > 0.99  # rounding may swap equals
    assert (found.nearest[~has_close] == -1).all()


@pytest.mark.parametrize("dense", [0.0, 1.0])
def test_products_of_blocks_and_single_pairs_find_the_same(monkeypatch, dense):
    monkeypatch.setattr(close_vectors, "_DENSE", dense)
    rows = draw_clips(200, 40, 60)
    found = find_close_vectors([rows, rows[:, :20]], 0.9)
    both = (cosines_of(rows) >= 0.9) & (cosines_of(rows[:, :20]) >= 0.9)
    assert same_partition(found.groups, connected_components(both)[1])


def test_a_chain_does_not_join_a_catalogue():
    """400 clips on a circle, each within reach of the next and none of most others, beside 3 copies of one."""
    angles = np.linspace(0, 2 * np.pi, 400, endpoint=False)
    circle = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    rows = np.concatenate([circle, 1.5 * circle[:1], 1.6 * circle[:1]]).astype(np.float32)
    step = np.cos(2 * np.pi / 400)
    found = find_close_vectors([rows], step - 1e-4)
    assert found.cut == 1
    assert np.bincount(found.groups).max() < 0.5 * len(rows)
    assert found.groups[0] == found.groups[400] == found.groups[401]  # the copies are still together


def test_many_copies_of_one_clip_are_no_chain():
    rows = draw_clips(300, 50, 0)
    rows[:100] = rows[0] + 1e-3 * np.random.default_rng(1).normal(size=(100, 50))
    found = find_close_vectors([rows], 0.95)
    assert (found.cut, np.bincount(found.groups).max()) == (0, 100)


def test_vectors_that_all_point_one_way_are_not_all_duplicates():
    """As those of an untrained network: their plain cosines are above 0.999."""
    rows = 1000 + np.random.default_rng(0).normal(size=(50, 30)).astype(np.float32)
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    assert (unit @ unit.T).min() > 0.999
    assert len(np.unique(find_close_vectors([rows], 0.95).groups)) == 50


@pytest.mark.parametrize("rows", [np.zeros((0, 5)), np.ones((1, 5)), np.ones((2, 5)), np.ones((4, 5))])
def test_too_few_clips_and_equal_vectors_have_no_direction_to_compare(rows):
    found = find_close_vectors([rows.astype(np.float32)], 0.9)
    assert found.groups.tolist() == list(range(len(rows)))
    assert (found.nearest == -1).all()
    assert len(find_close_vectors([], 0.9).groups) == 0


@pytest.mark.parametrize("away", [20, 100])
@pytest.mark.parametrize("rows", [3, 4, 5, 6, 7, 8, 9, 12, 16, 30])
def test_one_far_outlier_does_not_make_the_others_duplicates(rows, away):
    """14 random columns, and one clip far away in each: about the mean, the others would point one way."""
    for seed in range(20):
        values = np.random.default_rng([rows, seed]).standard_normal((rows, 14))
        values[0] += away
        found = find_close_vectors([values.astype(np.float32)], 0.95)
        assert found.groups.tolist() == list(range(rows))
        assert (found.nearest == -1).all()


def test_copies_among_few_clips_are_found_beside_an_outlier():
    for seed in range(20):
        values = np.random.default_rng(seed).standard_normal((10, 14))
        values[0] += 20
        values[9] = values[8] + 0.02
        found = find_close_vectors([values.astype(np.float32)], 0.95)
        assert found.groups.tolist() == [*range(9), 8]


def test_ten_thousand_clips_take_little_memory():
    """Blocks of pairs, and the leading directions of each clip."""
    import tracemalloc

    rows = np.random.default_rng(0).normal(size=(10_000, 256)).astype(np.float32)
    rows[:5] = rows[5:10]
    tracemalloc.start()
    found = find_close_vectors([rows], 0.95)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(np.unique(found.groups)) == 9_995
    assert peak < 200e6  # all pairs at once would be 400 MB
