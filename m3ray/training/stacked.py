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
from m3ray.tiers.precision import float32_precision
from m3ray.training.optimiser import Optimiser, make_optimiser

# Called with the epoch, from 0, and each metric of the stack's runs, (R,).
OnEpoch = Callable[[int, Mapping[str, np.ndarray]], None]

# On a CPU more weights and moments than this fall out of cache, and stacking then costs more than it saves.
_CACHED_PARAMETERS = 400_000


@dataclass(frozen=True)
class TrainedRuns:
    """R trained runs of one variant.

    Args:
        model: Stacked model with the weights after the last epoch.
        seeds: Seed of each run.
        train_loss: Mean training loss of each epoch, (R, epochs).
        metrics: Metric to its value on val after each epoch, (R, epochs).
        val: Predictions on val after the last epoch, (R, V).
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
) -> TrainedRuns:
    """Train one model a seed.

    Args:
        train: Features (N, F) and scores (N,) of the train split, on the device to train on.
        val: Features (V, F) and scores (V,) of the val split, on that device.
        config: Settings of all runs, or of each run; these must be alike in what `stacking_key` gives.
        seeds: Seed of each run, for its initialisation and shuffling.
        stack: Number of runs trained at once; None: as many as suit the device.
        on_epoch: Function called after each epoch of each group of stacked runs.
    Returns:
        The trained runs, in the order of the seeds.
    Raises:
        ConfigError: If the settings of the runs cannot be trained as one model.
    """
    configs = [config] * len(seeds) if isinstance(config, TrainConfig) else list(config)
    _check_stackable(configs, seeds)
    size = stack or stack_size(train[0].shape[1], configs[0], train[0].device, len(seeds))
    groups = [slice(k, k + size) for k in range(0, len(seeds), size)]
    with float32_precision():
        return _merge_groups([_train_group(train, val, configs[group], seeds[group], on_epoch) for group in groups])


def stacking_key(config: TrainConfig) -> tuple[object, ...]:
    """Settings that runs must share to be trained as one model; learning rates and losses' numbers may differ.

    Args:
        config: Settings of a run.
    Returns:
        Values that are equal for runs that can be stacked.
    """
    return config.hidden, config.loss, config.epochs, config.batch


def _check_stackable(configs: Sequence[TrainConfig], seeds: Sequence[int]) -> None:
    if len(configs) != len(seeds):
        raise ConfigError(f"{len(configs)} settings for {len(seeds)} seeds: give one a run")
    if len({stacking_key(config) for config in configs}) > 1:
        raise ConfigError("runs of one stack share hidden, loss, epochs and batch: train others apart")


def stack_size(inputs: int, config: TrainConfig, device: torch.device, runs: int) -> int:
    """Number of runs to train at once: all on a GPU; on a CPU as many as stay in its cache.

    Args:
        inputs: Number of features.
        config: Settings of the runs.
        device: Device to train on.
        runs: Number of runs.
    Returns:
        1 to `runs`.
    """
    if device.type != "cpu":
        return runs
    return max(1, min(runs, _CACHED_PARAMETERS // parameter_count(inputs, config.hidden)))


def _train_group(
    train: tuple[Tensor, Tensor],
    val: tuple[Tensor, Tensor],
    configs: Sequence[TrainConfig],
    seeds: Sequence[int],
    on_epoch: OnEpoch | None,
) -> TrainedRuns:
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
        loss = make_loss(configs, epoch / max(1, config.epochs - 1), features)
        order = torch.stack([torch.randperm(len(scores), generator=g) for g in shuffles]).to(features.device)
        history.append(_train_epoch(model, optimiser, features, scores, order, config.batch, loss))
        optimiser.end_epoch(epoch)
        predictions = predict(model, val[0])
        for name, metric in METRICS.items():
            metrics[name].append(metric(predictions, truth))
        if on_epoch is not None:
            on_epoch(epoch, {name: values[-1] for name, values in metrics.items()})
    optimiser.close()
    stacked = {name: np.stack(values, axis=1) for name, values in metrics.items()}
    return TrainedRuns(model, tuple(seeds), np.stack(history, axis=1), stacked, predictions)


def _train_epoch(
    model: StackedMLP,
    optimiser: Optimiser,
    features: Tensor,
    scores: Tensor,
    order: Tensor,
    batch: int,
    loss: Callable[[Tensor, Tensor], Tensor],
) -> np.ndarray:
    """Train for one epoch, each run in its own order of the clips; return the mean loss of each run, (R,)."""
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
    """Predictions of every run.

    Args:
        model: Stacked model of R runs.
        features: Features of N clips, (N, F), on the model's device.
    Returns:
        Scores, (R, N), float64.
    """
    with float32_precision():
        return model(features).double().cpu().numpy()


def make_loss(configs: Sequence[TrainConfig], progress: float, like: Tensor) -> Callable[[Tensor, Tensor], Tensor]:
    """Make the loss that settings name.

    Args:
        configs: Settings of each run, of one loss; its numbers may differ from run to run.
        progress: Progress of the training, 0 at the first epoch to 1 at the last.
        like: Tensor whose type and device the loss' numbers take where they differ from run to run.
    Returns:
        From predictions and targets, (..., B), to the loss of each run.
    """

    def _setting_of_runs(name: str) -> float | Tensor:
        """A setting: one number where all runs share it, else one a run, (R,)."""
        values = [getattr(c, name) for c in configs]
        return values[0] if len(set(values)) == 1 else torch.tensor(values, dtype=like.dtype, device=like.device)

    gain, power, strength, scale = map(_setting_of_runs, ("tails_gain", "tails_power", "strength", "spearman_scale"))
    return {
        "mse": losses.mse,
        "mse_tails": lambda p, y: losses.mse_tails(p, y, gain, power),
        "spearman": lambda p, y: losses.spearman(p, y, strength, scale),
        "mse_to_spearman": lambda p, y: losses.mse_to_spearman(p, y, progress, strength, scale),
    }[configs[0].loss]


def _merge_groups(groups: Sequence[TrainedRuns]) -> TrainedRuns:
    if len(groups) == 1:
        return groups[0]
    states = [group.model.state_dict() for group in groups]
    model = StackedMLP.from_state({name: torch.cat([state[name] for state in states]) for name in states[0]})
    return TrainedRuns(
        model,
        tuple(seed for group in groups for seed in group.seeds),
        np.concatenate([g.train_loss for g in groups]),
        {name: np.concatenate([g.metrics[name] for g in groups]) for name in METRICS},
        np.concatenate([g.val for g in groups]),
    )
