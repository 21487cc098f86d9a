"""Losses over predictions and targets in [0, 1]. The last dimension is the batch; leading ones are stacked runs.

Weights are those of clips, as that of a clip whose score many viewers gave: not negative, of mean 1 over the train
split (not over the batch, so that a batch of heavy clips counts for more).
"""

from __future__ import annotations

import torch
from torch import Tensor

from m3ray.errors import ShapeError


def _check_shapes(prediction: Tensor, target: Tensor) -> None:
    if prediction.shape != target.shape or prediction.ndim < 1:
        raise ShapeError(f"prediction {tuple(prediction.shape)} and target {tuple(target.shape)} must agree")


def mse(prediction: Tensor, target: Tensor, weights: Tensor | None = None) -> Tensor:
    """Mean squared error.

    Args:
        prediction: predicted scores, (..., B).
        target: true scores, (..., B).
        weights: weight of each clip, (B,) or (..., B); None: all 1.
    Returns:
        A loss a run, (...).
    Raises:
        ShapeError: If the shapes differ.
    """
    _check_shapes(prediction, target)
    return _mean((prediction - target).square(), weights)


def _mean(values: Tensor, weights: Tensor | None) -> Tensor:
    return (values if weights is None else weights * values).mean(dim=-1)


def mse_tails(
    prediction: Tensor,
    target: Tensor,
    gain: float | Tensor = 2.0,
    power: float | Tensor = 4.0,
    centre: float | Tensor | None = None,
    weights: Tensor | None = None,
) -> Tensor:
    """Mean squared error whose weights grow towards the tails of the scores.

    Args:
        prediction: predicted scores, (..., B).
        target: true scores, (..., B).
        gain: weight, beyond 1, of a target at distance 1 from the centre; one number, or one a run, (...).
        power: exponent of the distance; one number, or one a run, (...).
        centre: score that the tails are far from, as the train split's mean; one number, or one a run, (...). None: the
            mean of the batch, weighted.
        weights: weight of each clip, (B,) or (..., B), as if it stood so often in the batch; None: all 1.
    Returns:
        A loss a run, (...).
    Raises:
        ShapeError: If the shapes differ.
    """
    _check_shapes(prediction, target)
    centre = _weighted_mean(target, weights) if centre is None else centre
    weight = tail_weights(target, gain, power, centre, weights)
    return _mean(weight * (prediction - target).square(), weights)


def tail_weights(
    target: Tensor,
    gain: float | Tensor,
    power: float | Tensor,
    centre: float | Tensor,
    weights: Tensor | None = None,
) -> Tensor:
    """Weights of `mse_tails`, of mean 1 over the batch.

    Args:
        target: true scores, (..., B).
        gain: weight, beyond 1, of a target at distance 1 from the centre; one number, or one a run, (...).
        power: exponent of the distance; one number, or one a run, (...).
        centre: score that the tails are far from; one number, or one a run, (...).
        weights: weight of each clip in that mean, (B,) or (..., B); None: all 1.
    Returns:
        Weights, (..., B).
    """
    # w = 1 + gain |y - centre|^power, scaled to mean 1 over the batch
    distance = (target - _column(centre)).abs()
    weight = 1 + _column(gain) * distance ** _column(power)
    return weight / _weighted_mean(weight, weights)[..., None]


def _weighted_mean(values: Tensor, weights: Tensor | None) -> Tensor:
    if weights is None:
        return values.mean(dim=-1)
    # Clips that all weigh nothing are averaged as if they weighed alike.
    weights = weights.clamp_min(torch.finfo(weights.dtype).tiny)
    return (weights * values).sum(dim=-1) / weights.sum(dim=-1)


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


def _pearson(a: Tensor, b: Tensor, weights: Tensor | None = None) -> Tensor:
    # r = sum w (a - mean a)(b - mean b) / sqrt(sum w (a - mean a)^2 sum w (b - mean b)^2), w = 1 if None
    a, b = _centre(a, weights), _centre(b, weights)
    # Constant ranks have no correlation: 0, with a finite gradient.
    scale = (_sum(a.square(), weights) * _sum(b.square(), weights)).clamp_min(1e-12).sqrt()
    return _sum(a * b, weights) / scale


def _centre(values: Tensor, weights: Tensor | None) -> Tensor:
    if weights is None:
        return values - values.mean(dim=-1, keepdim=True)
    # A batch of clips that all weigh nothing has no mean, and no loss.
    mean = _sum(values, weights) / weights.sum(dim=-1).clamp_min(1e-12)
    return values - mean[..., None]


def _sum(values: Tensor, weights: Tensor | None) -> Tensor:
    return (values if weights is None else weights * values).sum(dim=-1)


def spearman(
    prediction: Tensor,
    target: Tensor,
    strength: float | Tensor = 0.01,
    scale: float | Tensor = 0.01,
    weights: Tensor | None = None,
) -> Tensor:
    """Soft Spearman loss: -scale x Pearson's correlation of the soft ranks of both (Blondel et al. 2020).

    Args:
        prediction: predicted scores, (..., B).
        target: true scores, (..., B).
        strength: strength of the soft ranks' regularisation, above 0; one number, or one a run, (...).
        scale: factor of the loss, one number, or one a run, (...); 0.01 gives it the size of the MSE it is mixed with.
        weights: weight of each clip in the correlation, (B,) or (..., B); None: all 1.
    Returns:
        A loss a run, (...).
    Raises:
        ShapeError: If the shapes differ.
    """
    _check_shapes(prediction, target)
    return -scale * _pearson(soft_rank(prediction, strength), soft_rank(target, strength), weights)


def mse_to_spearman(
    prediction: Tensor,
    target: Tensor,
    progress: float | Tensor,
    strength: float | Tensor = 0.01,
    scale: float | Tensor = 0.01,
    weights: Tensor | None = None,
) -> Tensor:
    """Mixture of both losses, (1 - a) mse + a spearman.

    Args:
        prediction: predicted scores, (..., B).
        target: true scores, (..., B).
        progress: share a of the Spearman loss, 0 at the first epoch and 1 at the last; a tensor, (), may be float64.
        strength: strength of the soft ranks' regularisation, above 0; one number, or one a run, (...).
        scale: factor of the Spearman loss, one number, or one a run, (...).
        weights: weight of each clip in both, (B,) or (..., B); None: all 1.
    Returns:
        A loss a run, (...).
    Raises:
        ShapeError: If the shapes differ.
    """
    rank_loss = spearman(prediction, target, strength, scale, weights)
    return (1 - progress) * mse(prediction, target, weights) + progress * rank_loss
