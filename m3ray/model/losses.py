"""Losses over predictions and targets in [0, 1]. The last dimension is the batch; leading ones are stacked runs."""

from __future__ import annotations

import torch
from torch import Tensor

from m3ray.errors import ShapeError


def _check_shapes(prediction: Tensor, target: Tensor) -> None:
    if prediction.shape != target.shape or prediction.ndim < 1:
        raise ShapeError(f"prediction {tuple(prediction.shape)} and target {tuple(target.shape)} must agree")


def mse(prediction: Tensor, target: Tensor) -> Tensor:
    """Mean squared error.

    Args:
        prediction: predicted scores, (..., B).
        target: true scores, (..., B).
    Returns:
        A loss a run, (...).
    Raises:
        ShapeError: If the shapes differ.
    """
    _check_shapes(prediction, target)
    return (prediction - target).square().mean(dim=-1)


def mse_tails(prediction: Tensor, target: Tensor, gain: float | Tensor = 2.0, power: float | Tensor = 4.0) -> Tensor:
    """Mean squared error whose weights grow towards the tails of the batch.

    Args:
        prediction: predicted scores, (..., B).
        target: true scores, (..., B).
        gain: weight, beyond 1, of a target at distance 1 from the mean; one number, or one a run, (...).
        power: exponent of the distance; one number, or one a run, (...).
    Returns:
        A loss a run, (...).
    Raises:
        ShapeError: If the shapes differ.
    """
    _check_shapes(prediction, target)
    # w = 1 + gain |y - mean(y)|^power, scaled to mean 1 over the batch
    distance = (target - target.mean(dim=-1, keepdim=True)).abs()
    weight = 1 + _column(gain) * distance ** _column(power)
    weight = weight / weight.mean(dim=-1, keepdim=True)
    return (weight * (prediction - target).square()).mean(dim=-1)


def _column(value: float | Tensor) -> float | Tensor:
    """One number a run, (...), with a batch dimension, (..., 1)."""
    return value[..., None] if isinstance(value, Tensor) else value


def soft_rank(values: Tensor, strength: float | Tensor = 0.01) -> Tensor:
    """Differentiable ascending ranks, 1 to B (Blondel et al. 2020, quadratic regularisation).

    The projection of values / strength onto the permutahedron of (1, ..., B). As strength falls they become ranks; at
    1.0, values within [0, 1] get ranks that are linear in the values, so correlating them is Pearson's correlation.

    Args:
        values: numbers to rank, (..., B).
        strength: strength of the regularisation, above 0; one number, or one a run, (...).
    Returns:
        Soft ranks, of the type of `values`, (..., B).
    """
    # In float64: the sums below grow as B / strength and their differences matter.
    scaled = values.double() / _column(strength)
    ordered, order = scaled.sort(dim=-1, descending=True)
    ranks = torch.arange(values.shape[-1], 0, -1, dtype=ordered.dtype, device=values.device)
    # Proposition 3: sorted projection = ordered - isotonic(ordered - ranks), isotonic non-increasing
    projected = ordered - _isotonic(ordered - ranks)
    return torch.empty_like(projected).scatter(-1, order, projected).to(values.dtype)


def _isotonic(u: Tensor) -> Tensor:
    """Exact non-increasing isotonic regression by the min-max formula, batched: (..., B) to (..., B).

    v_i = min over j <= i of max over k >= i of mean(u_j .. u_k)
    """
    n = u.shape[-1]
    sums = torch.cat([torch.zeros_like(u[..., :1]), u.cumsum(dim=-1)], dim=-1)
    position = torch.arange(n, device=u.device)
    length = (position[None, :] - position[:, None] + 1).clamp_min(1)
    means = (sums[..., None, 1:] - sums[..., :-1, None]) / length  # [j, k]
    valid = position[:, None] <= position[None, :]
    means = means.masked_fill(~valid, -torch.inf)
    best = means.flip(-1).cummax(dim=-1).values.flip(-1)  # [j, i]: max over k >= i
    best = best.masked_fill(~valid, torch.inf)
    return best.cummin(dim=-2).values.diagonal(dim1=-2, dim2=-1)


def _pearson(a: Tensor, b: Tensor) -> Tensor:
    # r = sum (a - mean a)(b - mean b) / sqrt(sum (a - mean a)^2 sum (b - mean b)^2)
    a = a - a.mean(dim=-1, keepdim=True)
    b = b - b.mean(dim=-1, keepdim=True)
    # Constant ranks have no correlation: 0, with a finite gradient.
    scale = (a.square().sum(dim=-1) * b.square().sum(dim=-1)).clamp_min(1e-12).sqrt()
    return (a * b).sum(dim=-1) / scale


def spearman(
    prediction: Tensor, target: Tensor, strength: float | Tensor = 0.01, scale: float | Tensor = 0.01
) -> Tensor:
    """Soft Spearman loss: -scale x Pearson's correlation of the soft ranks of both (Blondel et al. 2020).

    Args:
        prediction: predicted scores, (..., B).
        target: true scores, (..., B).
        strength: strength of the soft ranks' regularisation, above 0; one number, or one a run, (...).
        scale: factor of the loss, one number, or one a run, (...); 0.01 gives it the size of the MSE it is mixed with.
    Returns:
        A loss a run, (...).
    Raises:
        ShapeError: If the shapes differ.
    """
    _check_shapes(prediction, target)
    return -scale * _pearson(soft_rank(prediction, strength), soft_rank(target, strength))


def mse_to_spearman(
    prediction: Tensor,
    target: Tensor,
    progress: float | Tensor,
    strength: float | Tensor = 0.01,
    scale: float | Tensor = 0.01,
) -> Tensor:
    """Mixture of both losses, (1 - a) mse + a spearman.

    Args:
        prediction: predicted scores, (..., B).
        target: true scores, (..., B).
        progress: share a of the Spearman loss, 0 at the first epoch and 1 at the last; a tensor, (), may be float64.
        strength: strength of the soft ranks' regularisation, above 0; one number, or one a run, (...).
        scale: factor of the Spearman loss, one number, or one a run, (...).
    Returns:
        A loss a run, (...).
    Raises:
        ShapeError: If the shapes differ.
    """
    rank_loss = spearman(prediction, target, strength, scale)
    return (1 - progress) * mse(prediction, target) + progress * rank_loss
