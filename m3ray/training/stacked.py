"""Training R runs of a variant at once, as one batched model. R stacked runs equal R separate ones."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from m3ray.config import TrainConfig
from m3ray.errors import ConfigError
from m3ray.model import StackedMLP, losses, parameter_count
from m3ray.model.calibrated_error import calibrated_mse
from m3ray.model.metrics import METRICS
from m3ray.tiers.precision import float32_precision
from m3ray.training.captured import capture_step
from m3ray.training.optimiser import Optimiser, make_optimiser
from m3ray.training.parallel import train_side_by_side
from m3ray.training.reported import ReportedEpochs

# Called with the epoch, from 0, and each metric of the stack's runs, `calibrated_mse` among them, (R,).
OnEpoch = Callable[[int, Mapping[str, np.ndarray]], None]

# Features (N, F), scores (N,) and, where clips weigh unlike, weights (N,) of a split.
Split = tuple[Tensor, Tensor] | tuple[Tensor, Tensor, Tensor | None]

# On a CPU more weights and moments than this fall out of cache, and stacking then costs more than it saves.
_CACHED_PARAMETERS = 400_000
# More threads than this have too little to do in one step of one large model.
_THREADS_A_RUN = 4


class Loss(Protocol):
    """A loss with its numbers."""

    def __call__(self, prediction: Tensor, target: Tensor, weights: Tensor | None = None) -> Tensor:
        """From predictions, targets and weights of clips, (..., B), to the loss of each run, (...)."""


@dataclass(frozen=True)
class TrainedRuns:
    """R trained runs of one variant.

    Args:
        model: Stacked model with the weights after each run's reported epoch.
        seeds: Seed of each run.
        train_loss: Mean training loss of each epoch, (R, epochs).
        metrics: Metric to its value on val after each epoch, (R, epochs).
        val: Predictions on val after each run's reported epoch, (R, V).
        reported: The epoch of each run that `model` and `val` are of, from 1, (R,); None: the last.
    """

    model: StackedMLP
    seeds: tuple[int, ...]
    train_loss: np.ndarray
    metrics: dict[str, np.ndarray]
    val: np.ndarray
    reported: np.ndarray | None = None

    @property
    def reported_epochs(self) -> np.ndarray:
        """The epoch of each run that is reported, from 1, (R,)."""
        runs, epochs = self.train_loss.shape
        return np.full(runs, epochs) if self.reported is None else self.reported


def train_runs(
    train: Split,
    val: Split,
    config: TrainConfig | Sequence[TrainConfig],
    seeds: Sequence[int],
    *,
    stack: int | None = None,
    on_epoch: OnEpoch | None = None,
    cores: int | None = None,
) -> TrainedRuns:
    """Train one model a seed.

    How many cores there are changes no run's numbers beyond the rounding of products that more threads share.

    Args:
        train: Features (N, F) and scores (N,) of the train split, on the device to train on, and perhaps the clips'
            weights (N,), of any scale: the loss takes them scaled to mean 1.
        val: Features (V, F) and scores (V,) of the val split, on that device, and perhaps weights (V,) of the metrics.
        config: Settings of all runs, or of each run; these must be alike in what `stacking_key` gives.
        seeds: Seed of each run, for its initialisation and shuffling.
        stack: Number of runs trained at once; None: as many as suit the device.
        on_epoch: Function called after each epoch of each group of stacked runs, never twice at once.
        cores: Cores of a CPU to train groups of runs on side by side; None: one after the other.
    Returns:
        The trained runs, in the order of the seeds.
    Raises:
        ConfigError: If the settings of the runs cannot be trained as one model, or weights are no weights.
    """
    configs = [config] * len(seeds) if isinstance(config, TrainConfig) else list(config)
    _check_stackable(configs, seeds)
    for name, split in (("train", train), ("val", val)):
        _check_weights(name, split)
    size = stack or stack_size(train[0].shape[1], configs[0], train[0].device, len(seeds))
    groups = [slice(k, k + size) for k in range(0, len(seeds), size)]
    told = None if on_epoch is None else _call_singly(on_epoch)
    with float32_precision():
        return _merge_groups(
            train_side_by_side(lambda g: _train_group(train, val, configs[g], seeds[g], told), groups, cores)
        )


def _call_singly(on_epoch: OnEpoch) -> OnEpoch:
    """The function, so that one group at a time calls it."""
    lock = threading.Lock()

    def call(epoch: int, metrics: Mapping[str, np.ndarray]) -> None:
        with lock:
            on_epoch(epoch, metrics)

    return call


def stacking_key(config: TrainConfig) -> tuple[object, ...]:
    """Settings that runs must share to be trained as one model; learning rates and losses' numbers may differ.

    Args:
        config: Settings of a run.
    Returns:
        Values that are equal for runs that can be stacked.
    """
    return config.hidden, config.loss, config.epochs, config.batch, config.tails_centre, config.report, config.start


def weights_of(split: Split) -> Tensor | None:
    """Weights of a split's clips.

    Args:
        split: Features, scores and perhaps weights.
    Returns:
        Weights, (N,); None: all clips weigh the same.
    """
    return split[2] if len(split) == 3 else None


def _check_weights(name: str, split: Split) -> None:
    weights = weights_of(split)
    if weights is None:
        return
    if weights.shape != split[1].shape:
        raise ConfigError(f"{tuple(weights.shape)} weights for {len(split[1])} {name} clips: give one a clip")
    if not bool((torch.isfinite(weights) & (weights >= 0)).all()) or not float(weights.sum()) > 0:
        raise ConfigError(f"{name}: weights must be finite and not negative, and some above 0")


def _check_stackable(configs: Sequence[TrainConfig], seeds: Sequence[int]) -> None:
    if len(configs) != len(seeds):
        raise ConfigError(f"{len(configs)} settings for {len(seeds)} seeds: give one a run")
    if len({stacking_key(config) for config in configs}) > 1:
        raise ConfigError(
            "runs of one stack share hidden, loss, epochs and batch, tails_centre and report, and start: "
            "train others apart"
        )


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


def count_useful_cores(inputs: int, config: TrainConfig, runs: int) -> int:
    """Number of a CPU's cores that can train a variant's runs at once.

    Args:
        inputs: Number of features.
        config: Settings of the runs.
        runs: Number of runs.
    Returns:
        One a group of stacked runs; for models out of cache some more, as their products are shared by threads.
    """
    groups = -(-runs // stack_size(inputs, config, torch.device("cpu"), runs))
    return groups * (_THREADS_A_RUN if parameter_count(inputs, config.hidden) > _CACHED_PARAMETERS else 1)


def _train_group(
    train: Split,
    val: Split,
    configs: Sequence[TrainConfig],
    seeds: Sequence[int],
    on_epoch: OnEpoch | None,
) -> TrainedRuns:
    features, config = train[0], configs[0]
    model = StackedMLP(features.shape[1], config.hidden, seeds).to(features)
    if config.start == "mean":
        model.start_at(mean_score(train))
    optimiser = make_optimiser(model, configs)
    epochs = TrainingEpochs(model, optimiser, train, configs, shuffle_epochs(seeds, len(features), config.epochs))
    truth, weights = val[1].cpu().numpy(), weights_of(val)
    val_weights = None if weights is None else weights.cpu().numpy()
    kept = ReportedEpochs(model, config.report)
    history: list[np.ndarray] = []
    metrics: dict[str, list[np.ndarray]] = {name: [] for name in METRICS}
    for epoch in range(config.epochs):
        history.append(epochs.train(epoch / max(1, config.epochs - 1)))
        optimiser.end_epoch(epoch)
        predictions = predict(model, val[0])
        for name, metric in METRICS.items():
            metrics[name].append(metric(predictions, truth, val_weights))
        kept.keep(epoch, predictions, metrics["spearman"][-1])
        if on_epoch is not None:
            calibrated = calibrated_mse(predictions, truth, val_weights)
            on_epoch(epoch, {name: values[-1] for name, values in metrics.items()} | {"calibrated_mse": calibrated})
    optimiser.close()
    trained = kept.load_weights()
    trained.end_at_bias()
    stacked = {name: np.stack(values, axis=1) for name, values in metrics.items()}
    return TrainedRuns(trained, tuple(seeds), np.stack(history, axis=1), stacked, kept.predictions, kept.epochs)


def shuffle_epochs(seeds: Sequence[int], clips: int, epochs: int) -> Tensor:
    """Draw the order of the clips in each epoch of each run.

    Args:
        seeds: Seed of each run.
        clips: Number of clips.
        epochs: Number of epochs.
    Returns:
        Positions of clips, int64, (R, epochs x clips).
    """
    generators = [torch.Generator().manual_seed(seed) for seed in seeds]
    return torch.stack([torch.cat([torch.randperm(clips, generator=g) for _ in range(epochs)]) for g in generators])


class TrainingEpochs:
    """The epochs of a stack of runs. All that changes from step to step lies on the device, so a GPU replays a step.

    Args:
        model: Stacked model.
        optimiser: Optimiser of its parameters.
        train: Features (N, F), scores (N,) and perhaps weights (N,) of the train split, on the model's device.
        configs: Settings of each run.
        order: Each run's order of the clips in all epochs, (R, epochs x N); it is uploaded here, once.
    """

    def __init__(
        self,
        model: StackedMLP,
        optimiser: Optimiser,
        train: Split,
        configs: Sequence[TrainConfig],
        order: Tensor,
    ) -> None:
        self._model = model
        self._optimiser = optimiser
        self._features, self._scores = train[0], train[1]
        self._weights = _scale_weights(weights_of(train), self._features)
        device = self._features.device
        self._order = order.to(device)
        self._clips = len(self._features)
        self._batch = min(configs[0].batch, self._clips)
        self._span = torch.arange(self._batch, device=device)
        self._start = torch.zeros(1, dtype=torch.long, device=device)
        self._total = torch.zeros(len(order), dtype=self._features.dtype, device=device)
        self._progress = torch.zeros((), dtype=torch.float64, device=device)
        self._loss = make_loss(configs, self._progress, self._features, self._mean_score())
        self._train_full_batch = capture_step(lambda: self.train_batch(self._span), device)

    def _mean_score(self) -> Tensor:
        return self._scores.mean() if self._weights is None else (self._weights * self._scores).mean()

    def train(self, progress: float) -> np.ndarray:
        """Train for one epoch, each run in its own order of the clips.

        Args:
            progress: Progress of the training, 0 at the first epoch to 1 at the last.
        Returns:
            Mean loss of each run, (R,).
        """
        self._progress.fill_(progress)
        self._total.zero_()
        batches, rest = divmod(self._clips, self._batch)
        for _ in range(batches):
            self._train_full_batch()
        if rest:
            self.train_batch(self._span[:rest])
        return (self._total / self._clips).cpu().numpy()

    def train_batch(self, span: Tensor) -> None:
        """Train one step on the next clips of the order: nothing is uploaded, nothing waited for.

        Args:
            span: 0 to the number of clips in the batch, less one, on the device.
        """
        self._optimiser.zero_grad()
        rows = self._order.index_select(1, self._start + span)
        weights = None if self._weights is None else self._weights[rows]
        per_run = self._loss(self._model(self._features[rows]), self._scores[rows], weights)
        # Runs share no weight, so the gradient of the sum is each run's own.
        per_run.sum().backward()
        self._optimiser.step()
        self._total += per_run.detach() * len(span)
        self._start += len(span)


def mean_score(train: Split) -> float:
    """Mean score of a split, each clip as much as it weighs.

    Args:
        train: Features, scores in [0, 1] and perhaps weights.
    Returns:
        The mean, kept a thousandth away from 0 and 1, where no finite bias predicts it.
    """
    scores, weights = train[1].double(), weights_of(train)
    mean = scores.mean() if weights is None else (weights.double() * scores).sum() / weights.double().sum()
    return min(max(float(mean), 1e-3), 1 - 1e-3)


def _scale_weights(weights: Tensor | None, like: Tensor) -> Tensor | None:
    """Weights of mean 1 over the train split, so that a weighted loss has the size of a plain one."""
    return None if weights is None else (weights.double() / weights.double().mean()).to(like)


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


def make_loss(
    configs: Sequence[TrainConfig], progress: float | Tensor, like: Tensor, mean: float | Tensor | None = None
) -> Loss:
    """Make the loss that settings name.

    Args:
        configs: Settings of each run, of one loss; its numbers may differ from run to run.
        progress: Progress of the training, 0 at the first epoch to 1 at the last; as a tensor it may change later.
        like: Tensor whose type and device the loss' numbers take where they differ from run to run.
        mean: Mean of the train split's scores, which mse_tails centres on where the settings say so; None: unknown,
            and it centres on the batch's.
    Returns:
        From predictions, targets and perhaps weights, (..., B), to the loss of each run.
    """

    def _setting_of_runs(name: str) -> float | Tensor:
        """A setting: one number where all runs share it, else one a run, (R,)."""
        values = [getattr(c, name) for c in configs]
        return values[0] if len(set(values)) == 1 else torch.tensor(values, dtype=like.dtype, device=like.device)

    gain, power, strength, scale = map(_setting_of_runs, ("tails_gain", "tails_power", "strength", "spearman_scale"))
    centre = mean if configs[0].tails_centre == "data" else None
    makers: dict[str, Loss] = {
        "mse": losses.mse,
        "mse_tails": lambda prediction, target, weights=None: losses.mse_tails(
            prediction, target, gain, power, centre, weights
        ),
        "spearman": lambda prediction, target, weights=None: losses.spearman(
            prediction, target, strength, scale, weights
        ),
        "mse_to_spearman": lambda prediction, target, weights=None: losses.mse_to_spearman(
            prediction, target, progress, strength, scale, weights
        ),
    }
    return makers[configs[0].loss]


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
        np.concatenate([g.reported_epochs for g in groups]),
    )
