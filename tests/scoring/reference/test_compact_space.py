"""Compact vectors: distances against those of the full vectors in plain NumPy."""

import numpy as np
import pytest
from scipy.spatial.distance import cdist

from m3ray.errors import ShapeError
from m3ray.scoring.reference.compact_space import MOST_NUMBERS, MOST_WHOLE, fit_compact_space, is_small, keep_whole


def draw(rows, columns, seed=0, rank=6, noise=0.05):
    rng = np.random.default_rng(seed)
    signal = rng.standard_normal((rows, rank)) @ np.random.default_rng(99).standard_normal((rank, columns))
    return (3 + signal + noise * rng.standard_normal((rows, columns))).astype(np.float32)


def distances(space, a, b):
    return cdist(space(a).astype(float), space(b).astype(float))


def test_few_clips_keep_their_distances_whatever_the_width():
    """40 clips span 39 directions, so that nothing is left out; the bound is float16's, 2^-11 a number."""
    train = draw(40, 300, noise=1.0)
    space = fit_compact_space(train)
    spread = np.sqrt(((train - train.mean(0)) ** 2).sum(1).mean())
    np.testing.assert_allclose(distances(space, train, train), cdist(train, train) / spread, atol=2e-3)
    new = draw(30, 300, seed=1, noise=1.0)
    np.testing.assert_allclose(distances(space, new, train), cdist(new, train) / spread, atol=3e-3)


def test_of_many_clips_no_distance_is_longer_than_it_was_and_most_of_it_stays():
    train = draw(500, 200)
    space = fit_compact_space(train)
    full = cdist(train, train) / space.scale
    compact = distances(space, train, train)
    assert space(train).shape == (500, MOST_NUMBERS)
    assert (compact <= full + 3e-3).all()
    some = ~np.eye(500, dtype=bool)
    assert (compact[some] / full[some]).min() > 0.9


def test_a_clip_that_differs_where_no_train_clip_does_is_far():
    train = draw(500, 200, noise=0)
    space = fit_compact_space(train)
    odd = train[:5].copy()
    away = np.random.default_rng(3).standard_normal(200)
    odd += (space.scale * away / np.linalg.norm(away)).astype(np.float32)
    assert distances(space, odd, train).min(axis=1) == pytest.approx(np.ones(5), abs=0.05)


def test_a_clip_is_at_no_distance_from_its_copy_and_clips_that_are_all_alike_are_at_none():
    train = draw(100, 50)
    space = fit_compact_space(train)
    assert np.diag(distances(space, train.copy(), train)).max() < 1e-6
    same = np.full((30, 4), 0.1, np.float32)
    space = fit_compact_space(same)
    assert space.scale == 1
    assert np.abs(space(same)).max() == 0
    assert distances(space, same + 1, same) == pytest.approx(np.full((30, 30), 2.0), abs=1e-3)


def test_whole_vectors_keep_all_distances_within_rounding():
    train, new = draw(300, 200, noise=1.0), draw(30, 200, seed=1, noise=1.0)
    space = keep_whole(train)
    spread = np.sqrt(((train - train.mean(0)) ** 2).sum(1).mean())
    assert space.scale == pytest.approx(spread, rel=1e-5)
    np.testing.assert_allclose(distances(space, new, train), cdist(new, train) / spread, atol=2e-3)
    assert np.isfinite(space(np.full((1, 200), 1e9, np.float32))).all()
    with pytest.raises(ShapeError, match="fitted on 200 columns, got 6"):
        space(np.zeros((1, 6), np.float32))


@pytest.mark.parametrize(
    ("rows", "columns", "small"),
    [(10**9, MOST_NUMBERS, True), (MOST_WHOLE // 128, 128, True), (MOST_WHOLE // 128 + 1, 128, False)],
)
def test_few_or_short_vectors_are_small(rows, columns, small):
    assert is_small(np.broadcast_to(np.float32(0), (rows, columns))) == small


def test_numbers_beyond_half_precision_stay_finite_and_another_width_is_an_error():
    space = fit_compact_space(draw(50, 5))
    assert np.isfinite(space(np.full((1, 5), 1e9, np.float32))).all()
    with pytest.raises(ShapeError, match="fitted on 5 columns, got 6"):
        space(np.zeros((1, 6), np.float32))
