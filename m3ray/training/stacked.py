"""Training R runs of a variant at once, as one batched model. R stacked runs equal R separate ones."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from m3ray.config import TrainConfig
from m3ray.errors import ConfigError
from m3ray.model import StackedMLP, losses, parameter_count
from m3ray.model.metrics import METRICS
from m3ray.training.optimiser import Optimiser, make_optimiser

# Called with the epoch, from 0, and each metric of the stack's runs, (R,).
OnEpoch = Callable[[int, Mapping[str, np.ndarray]], None]

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
    config: TrainConfig | Sequence[TrainConfig],
    seeds: Sequence[int],
    *,
    stack: int | None = None,
    on_epoch: OnEpoch | None = None,
) -> Trained:
    """Trains one model a seed.

    Args:
        train: features (N, F) and scores (N,), on the device to train on.
        val: likewise.
        config: Table 5; or one a run, alike in what shapes the model and its loop (`stackable`).
        seeds: of initialisation and shuffling, one a run.
        stack: runs trained at once; None: as many as suit the device.
        on_epoch: called after each epoch of each group of stacked runs.
    Raises:
        ConfigError: runs whose settings cannot be trained as one model.
    """
    configs = [config] * len(seeds) if isinstance(config, TrainConfig) else list(config)
    _check_stackable(configs, seeds)
    together = stack or stack_size(train[0].shape[1], configs[0], train[0].device, len(seeds))
    groups = [slice(k, k + together) for k in range(0, len(seeds), together)]
    return _merged([_train_group(train, val, configs[group], seeds[group], on_epoch) for group in groups])


def stackable(config: TrainConfig) -> tuple[object, ...]:
    """What runs must share to be trained as one model; learning rates and losses' numbers may differ."""
    return config.hidden, config.loss, config.epochs, config.batch


def _check_stackable(configs: Sequence[TrainConfig], seeds: Sequence[int]) -> None:
    if len(configs) != len(seeds):
        raise ConfigError(f"{len(configs)} settings for {len(seeds)} seeds: give one a run")
    if len({stackable(config) for config in configs}) > 1:
        raise ConfigError("runs of one stack share hidden, loss, epochs and batch: train others apart")


def stack_size(inputs: int, config: TrainConfig, device: torch.device, runs: int) -> int:
    """Runs to train at once: all on a GPU; on a CPU as many as stay in cache."""
    if device.type != "cpu":
        return runs
    return max(1, min(runs, _CACHED_PARAMETERS // parameter_count(inputs, config.hidden)))


def _train_group(
    train: tuple[Tensor, Tensor],
    val: tuple[Tensor, Tensor],
    configs: Sequence[TrainConfig],
    seeds: Sequence[int],
    on_epoch: OnEpoch | None,
) -> Trained:
    features, scores = train
    config = configs[0]
    model = StackedMLP(features.shape[1], config.hidden, seeds).to(features)
    optimiser = make_optimiser(model, configs)
    shuffles = [torch.Generator().manual_seed(seed) for seed in seeds]
    truth = val[1].cpu().numpy()
    history: list[np.ndarray] = []
    metrics: dict[str, list[np.ndarray]] = {name: [] for name in METRICS}
    predictions = np.empty(0)
    for epoch in range(config.epochs):
        loss = _loss(configs, epoch, features)
        order = torch.stack([torch.randperm(len(scores), generator=g) for g in shuffles]).to(features.device)
        history.append(_epoch(model, optimiser, features, scores, order, config.batch, loss))
        optimiser.end_epoch(epoch)
        predictions = predict(model, val[0])
        for name, metric in METRICS.items():
            metrics[name].append(metric(predictions, truth))
        if on_epoch is not None:
            on_epoch(epoch, {name: values[-1] for name, values in metrics.items()})
    optimiser.close()
    stacked = {name: np.stack(values, axis=1) for name, values in metrics.items()}
    return Trained(model, tuple(seeds), np.stack(history, axis=1), stacked, predictions)


def _epoch(
    model: StackedMLP,
    optimiser: Optimiser,
    features: Tensor,
    scores: Tensor,
    order: Tensor,
    batch: int,
    loss: Callable[[Tensor, Tensor], Tensor],
) -> np.ndarray:
    """One pass over the train split, each run in its own order: the mean loss of each run, (R,)."""
    total = torch.zeros(len(order), device=features.device, dtype=features.dtype)
    for rows in order.split(batch, dim=1):
        optimiser.zero_grad()
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


def _loss(configs: Sequence[TrainConfig], epoch: int, like: Tensor) -> Callable[[Tensor, Tensor], Tensor]:
    config = configs[0]
    progress = epoch / max(1, config.epochs - 1)

    def own(name: str) -> float | Tensor:
        """A setting: one number where all runs share it, else one a run."""
        values = [getattr(c, name) for c in configs]
        return values[0] if len(set(values)) == 1 else torch.tensor(values, dtype=like.dtype, device=like.device)

    gain, power, strength, scale = map(own, ("tails_gain", "tails_power", "strength", "spearman_scale"))
    return {
        "mse": losses.mse,
        "mse_tails": lambda p, y: losses.mse_tails(p, y, gain, power),
        "spearman": lambda p, y: losses.spearman(p, y, strength, scale),
        "mse_to_spearman": lambda p, y: losses.mse_to_spearman(p, y, progress, strength, scale),
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
