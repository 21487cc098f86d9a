"""Soft ranks against golden/softrank.npz (scikit-learn's isotonic regression); losses against their equations."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from recipes import golden
from scipy.stats import rankdata

from m3ray.errors import ShapeError
from m3ray.model.losses import mse, mse_tails, mse_to_spearman, soft_rank, spearman, tail_weights

STRENGTHS = ("1.0", "0.1", "0.01", "0.001")
ALL = [mse, mse_tails, spearman, lambda p, y, weights=None: mse_to_spearman(p, y, 0.4, weights=weights)]


@pytest.mark.parametrize("strength", STRENGTHS)
def test_soft_ranks_equal_the_reference(strength):
    figures = golden("softrank")
    found = soft_rank(torch.from_numpy(figures["x"]), float(strength)).numpy()
    assert np.abs(found - figures[f"soft_rank_{strength}"]).max() < 1e-6


@pytest.mark.parametrize("strength", STRENGTHS)
def test_soft_spearman_equals_the_reference(strength):
    figures = golden("softrank")
    x, y = (torch.from_numpy(figures[name]) for name in "xy")
    assert -spearman(x, y, float(strength), scale=1.0).item() == pytest.approx(
        float(figures[f"soft_spearman_{strength}"]), abs=1e-6
    )


def test_small_strength_gives_ranks():
    x = torch.rand(40, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    np.testing.assert_allclose(soft_rank(x, 1e-6).numpy(), rankdata(x.numpy()), atol=1e-6)


def test_strength_one_is_linear_in_scores_within_0_1():
    """What the reference shows: the ranks are then linear in the values, and the loss is Pearson's correlation."""
    x, y = torch.rand(2, 32, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    pearson = np.corrcoef(x.numpy(), y.numpy())[0, 1]
    assert -spearman(x, y, 1.0, 1.0).item() == pytest.approx(pearson, abs=1e-9)


@settings(max_examples=30, deadline=None)
@given(st.integers(2, 40), st.floats(0.001, 2), st.integers(0, 1000))
def test_soft_ranks_keep_sum_and_order(n, strength, seed):
    x = torch.rand(3, n, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    ranks = soft_rank(x, strength)
    torch.testing.assert_close(ranks.sum(-1), torch.full((3,), n * (n + 1) / 2, dtype=torch.float64))
    order = x.argsort(-1)
    assert (ranks.gather(-1, order).diff(dim=-1) >= -1e-9).all()


@pytest.mark.parametrize("loss", ALL)
def test_gradients(loss):
    generator = torch.Generator().manual_seed(2)
    p = torch.rand(2, 9, generator=generator, dtype=torch.float64, requires_grad=True)
    y = torch.rand(2, 9, generator=generator, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda p: loss(p, y), (p,))


@pytest.mark.parametrize("loss", ALL)
def test_runs_are_independent(loss):
    p, y = torch.rand(2, 5, 32, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    apart = torch.stack([loss(p[k], y[k]) for k in range(5)])
    torch.testing.assert_close(loss(p, y), apart)


def test_mse_is_the_mean_of_squares():
    assert mse(torch.tensor([0.0, 1.0]), torch.tensor([0.5, 0.0])).item() == pytest.approx((0.25 + 1) / 2)


def test_tails_weigh_more_and_the_weights_have_mean_one():
    y = torch.tensor([0.5, 0.5, 0.5, 1.0], dtype=torch.float64)
    error = torch.full_like(y, 0.1)
    assert mse_tails(y + error, y).item() == pytest.approx(0.01), "equal errors: the weights average out"
    at_tail, at_middle = torch.zeros_like(y), torch.zeros_like(y)
    at_tail[3], at_middle[0] = 0.1, 0.1
    assert mse_tails(y + at_tail, y, gain=50.0) > mse_tails(y + at_middle, y, gain=50.0)
    # By hand: mean 0.625, distances 0.125 (three) and 0.375; w = 1 + 2 d^4.
    weights = 1 + 2 * np.array([0.125**4] * 3 + [0.375**4])
    assert mse_tails(y + at_tail, y).item() == pytest.approx(0.01 * (weights / weights.mean())[3] / 4)


def test_the_mixture_begins_with_mse_and_ends_with_spearman():
    p, y = torch.rand(2, 32, generator=torch.Generator().manual_seed(4))
    assert mse_to_spearman(p, y, 0.0) == mse(p, y)
    assert mse_to_spearman(p, y, 1.0) == spearman(p, y)


def test_constant_predictions_have_a_finite_loss_and_gradient():
    p = torch.full((8,), 0.5, requires_grad=True)
    spearman(p, torch.rand(8)).backward()
    assert torch.isfinite(p.grad).all()


@pytest.mark.parametrize("loss", ALL)
def test_shapes_must_agree(loss):
    with pytest.raises(ShapeError):
        loss(torch.zeros(3), torch.zeros(4))


def test_tails_may_be_far_from_a_mean_that_is_no_batch_s():
    """By hand: distances to 0.8 are 0.3 (three) and 0.2; w = 1 + 2 d^4, scaled to mean 1."""
    y = torch.tensor([0.5, 0.5, 0.5, 1.0], dtype=torch.float64)
    weights = 1 + 2 * np.array([0.3**4] * 3 + [0.2**4])
    weights /= weights.mean()
    np.testing.assert_allclose(tail_weights(y, 2.0, 4.0, 0.8).numpy(), weights)
    error = torch.tensor([0.1, 0.2, 0.0, 0.3], dtype=torch.float64)
    assert mse_tails(y + error, y, centre=0.8).item() == pytest.approx((weights * error.numpy() ** 2).mean())
    # Two runs, each with its own centre; without one it is the batch's mean, as it was.
    runs = mse_tails((y + error).expand(2, 4), y.expand(2, 4), centre=torch.tensor([0.8, 0.625], dtype=torch.float64))
    assert runs[0] == mse_tails(y + error, y, centre=0.8)
    assert runs[1].item() == pytest.approx(mse_tails(y + error, y).item(), rel=1e-12)


@pytest.mark.parametrize("loss", ALL)
def test_weights_of_one_are_none(loss):
    p, y = torch.rand(2, 3, 20, generator=torch.Generator().manual_seed(6), dtype=torch.float64)
    torch.testing.assert_close(loss(p, y, weights=torch.ones(20, dtype=torch.float64)), loss(p, y))


@pytest.mark.parametrize("loss", ALL)
def test_a_clip_of_no_weight_moves_nothing(loss):
    generator = torch.Generator().manual_seed(7)
    p = torch.rand(12, generator=generator, dtype=torch.float64, requires_grad=True)
    y = torch.rand(12, generator=generator, dtype=torch.float64)
    weights = torch.tensor([0.0, *[1.0] * 11], dtype=torch.float64)
    (gradient,) = torch.autograd.grad(loss(p, y, weights=weights), p)
    if loss in (mse, mse_tails):
        assert gradient[0] == 0
    assert gradient.abs().max() > 0
    assert (torch.autograd.grad(loss(p, y, weights=torch.zeros(12, dtype=torch.float64)), p)[0] == 0).all()


def test_a_weighted_error_is_its_weight_times_it():
    p, y = torch.tensor([0.5, 0.5]), torch.tensor([0.1, 0.7])
    assert mse(p, y, torch.tensor([3.0, 0.5])).item() == pytest.approx((3 * 0.16 + 0.5 * 0.04) / 2)
    tails = tail_weights(y, 2.0, 4.0, 0.4, torch.tensor([3.0, 0.5]))
    expected = (tails * torch.tensor([3 * 0.16, 0.5 * 0.04])).mean().item()
    assert mse_tails(p, y, centre=0.4, weights=torch.tensor([3.0, 0.5])).item() == pytest.approx(expected)


def test_weighted_soft_spearman_is_weighted_pearson_of_the_soft_ranks():
    """Reference: NumPy's weighted covariance of the ranks."""
    p, y, weights = torch.rand(3, 16, generator=torch.Generator().manual_seed(8), dtype=torch.float64)
    ranks = np.stack([soft_rank(values, 0.05).numpy() for values in (p, y)])
    covariance = np.cov(ranks, aweights=weights.numpy())
    expected = covariance[0, 1] / np.sqrt(covariance[0, 0] * covariance[1, 1])
    assert -spearman(p, y, 0.05, 1.0, weights).item() == pytest.approx(expected, rel=1e-12)
    assert -spearman(p, y, 0.05, 1.0, 7 * weights).item() == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("loss", ALL)
def test_weights_of_each_run_are_its_own(loss):
    p, y, weights = torch.rand(3, 5, 32, generator=torch.Generator().manual_seed(9), dtype=torch.float64)
    apart = torch.stack([loss(p[k], y[k], weights=weights[k]) for k in range(5)])
    torch.testing.assert_close(loss(p, y, weights=weights), apart)


@pytest.mark.parametrize("loss", [mse, lambda p, y, weights=None: mse_tails(p, y, 40.0, 2.0, weights=weights)])
def test_a_weight_is_a_clip_repeated(loss):
    """Weights of mean 1 over the batch, against a batch in which each clip stands as often as it weighs."""
    generator = torch.Generator().manual_seed(10)
    p, y = torch.rand(2, 3, 12, generator=generator, dtype=torch.float64)
    counts = torch.tensor([0, 1, 2, 3, 4, 1, 1, 0, 5, 2, 1, 4])
    rows = torch.repeat_interleave(torch.arange(12), counts)
    weights = counts.double() / counts.double().mean()
    torch.testing.assert_close(loss(p, y, weights=weights), loss(p[:, rows], y[:, rows]))
