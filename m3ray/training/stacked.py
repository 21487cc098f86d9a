"""Training R runs of a variant at once, as one batched model. R stacked runs equal R separate ones."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from m3ray.config import TrainConfig
from m3ray.model import StackedMLP, losses, parameter_count
from m3ray.model.metrics import METRICS

# On a CPU more weights and moments than this fall out of cache, and stacking then costs more than it saves.
_CACHED_PARAMETERS = 400_000


@dataclass(frozen=True)
class Trained:
    """R runs of one variant.

    Args:
        model: weights after the last epoch.
        seeds: (R,).
        train_loss: (R, epochs).
        metrics: name to (R, epochs), on val.
        val: predictions on val after the last epoch, (R, V).
    """

    model: StackedMLP
    seeds: tuple[int, ...]
    train_loss: np.ndarray
    metrics: dict[str, np.ndarray]
    val: np.ndarray


def train_runs(
    train: tuple[Tensor, Tensor],
    val: tuple[Tensor, Tensor],
    config: TrainConfig,
    seeds: Sequence[int],
    *,
    stack: int | None = None,
    on_epoch: Callable[[int], None] | None = None,
) -> Trained:
    """Trains one model a seed.

    Args:
        train: features (N, F) and scores (N,), on the device to train on.
        val: likewise.
        config: Table 5.
        seeds: of initialisation and shuffling, one a run.
        stack: runs trained at once; None: as many as suit the device.
        on_epoch: called after each epoch of each group of stacked runs.
    """
    together = stack or stack_size(train[0].shape[1], config, train[0].device, len(seeds))
    groups = [seeds[k : k + together] for k in range(0, len(seeds), together)]
    return _merged([_train_group(train, val, config, group, on_epoch) for group in groups])


def stack_size(inputs: int, config: TrainConfig, device: torch.device, runs: int) -> int:
    """Runs to train at once: all on a GPU; on a CPU as many as stay in cache."""
    if device.type != "cpu":
        return runs
    return max(1, min(runs, _CACHED_PARAMETERS // parameter_count(inputs, config.hidden)))


def _train_group(
    train: tuple[Tensor, Tensor],
    val: tuple[Tensor, Tensor],
    config: TrainConfig,
    seeds: Sequence[int],
    on_epoch: Callable[[int], None] | None,
) -> Trained:
    features, scores = train
    model = StackedMLP(features.shape[1], config.hidden, seeds).to(features)
    optimiser = torch.optim.Adam(
        model.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay, fused=True
    )
    scheduler = torch.optim.lr_scheduler.StepLR(optimiser, config.step_size, config.gamma)
    shuffles = [torch.Generator().manual_seed(seed) for seed in seeds]
    history: list[np.ndarray] = []
    metrics: dict[str, list[np.ndarray]] = {name: [] for name in METRICS}
    predictions = np.empty(0)
    for epoch in range(config.epochs):
        loss = _loss(config, epoch)
        order = torch.stack([torch.randperm(len(scores), generator=g) for g in shuffles]).to(features.device)
        history.append(_epoch(model, optimiser, features, scores, order, config.batch, loss))
        scheduler.step()
        predictions = predict(model, val[0])
        for name, metric in METRICS.items():
            metrics[name].append(metric(predictions, val[1].cpu().numpy()))
        if on_epoch is not None:
            on_epoch(epoch)
    stacked = {name: np.stack(values, axis=1) for name, values in metrics.items()}
    return Trained(model, tuple(seeds), np.stack(history, axis=1), stacked, predictions)


def _epoch(
    model: StackedMLP,
    optimiser: torch.optim.Optimizer,
    features: Tensor,
    scores: Tensor,
    order: Tensor,
    batch: int,
    loss: Callable[[Tensor, Tensor], Tensor],
) -> np.ndarray:
    """One pass over the train split, each run in its own order: the mean loss of each run, (R,)."""
    total = torch.zeros(len(order), device=features.device, dtype=features.dtype)
    for rows in order.split(batch, dim=1):
        optimiser.zero_grad(set_to_none=True)
        per_run = loss(model(features[rows]), scores[rows])
        # Runs share no weight, so the gradient of the sum is each run's own.
        per_run.sum().backward()
        optimiser.step()
        total += per_run.detach() * rows.shape[1]
    return (total / order.shape[1]).cpu().numpy()


@torch.inference_mode()
def predict(model: StackedMLP, features: Tensor) -> np.ndarray:
    """Predictions of every run: (N, F) to (R, N), float64."""
    return model(features).double().cpu().numpy()


def _loss(config: TrainConfig, epoch: int) -> Callable[[Tensor, Tensor], Tensor]:
    progress = epoch / max(1, config.epochs - 1)
    return {
        "mse": losses.mse,
        "mse_tails": lambda p, y: losses.mse_tails(p, y, config.tails_gain, config.tails_power),
        "spearman": lambda p, y: losses.spearman(p, y, config.strength, config.spearman_scale),
        "mse_to_spearman": lambda p, y: losses.mse_to_spearman(p, y, progress, config.strength, config.spearman_scale),
    }[config.loss]


def _merged(groups: Sequence[Trained]) -> Trained:
    if len(groups) == 1:
        return groups[0]
    first = groups[0].model
    inputs, hidden = first.weights[0].shape[-1], [w.shape[1] for w in first.weights[:-1]]
    model = StackedMLP(inputs, hidden, [seed for group in groups for seed in group.seeds]).to(first.weights[0])
    with torch.no_grad():
        for index in range(len(first.weights)):
            model.weights[index].copy_(torch.cat([g.model.weights[index] for g in groups]))
            model.biases[index].copy_(torch.cat([g.model.biases[index] for g in groups]))
    return Trained(
        model,
        tuple(seed for group in groups for seed in group.seeds),
        np.concatenate([g.train_loss for g in groups]),
        {name: np.concatenate([g.metrics[name] for g in groups]) for name in METRICS},
        np.concatenate([g.val for g in groups]),
    )
