"""What the workers of a finetuning are given, and what they measure."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np
import torch

from m3ray.config import SimilarityConfig, TrainConfig
from m3ray.config.finetuning import FinetuneConfig
from m3ray.model import MLP
from m3ray.model.metrics import METRICS
from m3ray.tiers.backbones import fill_untrained_, load_weights
from m3ray.tiers.finetuned import build_networks
from m3ray.tiers.network import WeightSource
from m3ray.training.finetuning.model import FinetuneModel
from m3ray.training.finetuning.sampler import ClipSampler, StepLayout

T = TypeVar("T")

PROGRESS, OUTCOME = "progress.json", "outcome.safetensors"
# Files of a similarity tier that was fitted anew: the measure (two files), and the rows and scaling of all clips.
REFIT, REFIT_TEXT, REFIT_ROWS = "refit.safetensors", "refit.json", "refit-rows.safetensors"


@dataclass(frozen=True)
class RefitSpec:
    """A similarity tier that is fitted anew on the networks' vectors after each epoch.

    Args:
        config: settings of the measure.
        columns: positions of its numbers among the matrix' columns, (d,), int64.
        labels: labels of each train clip, for measures that need them.
    """

    config: SimilarityConfig
    columns: np.ndarray
    labels: Sequence[Sequence[str]]


@dataclass(frozen=True)
class FinetuneSpec:
    """What every worker of a finetuning needs to know.

    N clips, F columns of the matrix of all tiers.

    Args:
        training: Settings that name the loss and its numbers.
        config: Settings of the finetuning, its precision resolved.
        sources: Network, `scene` or `event`, to the weights that it starts from.
        network: CSN variant of the event tier, 'ip' or 'ir'.
        head: State of the MLP that the training starts from.
        hidden: Widths of the MLP's hidden layers.
        columns: Network to the positions of its vector among the matrix' columns.
        matrix: All clips as the frozen model sees them, (N, F), float32.
        scores: Scores in [0, 1], (N,).
        train: Rows of the train split.
        evaluated: Rows that are evaluated: val, then test.
        val: Number of val clips, the first of `evaluated`.
        sampler: Sampler of the train clips.
        layout: Layout of a step over workers and micro-batches.
        refit: Similarity tier that is fitted anew after each epoch; None: it stays.
    """

    training: TrainConfig
    config: FinetuneConfig
    sources: Mapping[str, WeightSource]
    network: str
    head: Mapping[str, np.ndarray]
    hidden: tuple[int, ...]
    columns: Mapping[str, np.ndarray]
    matrix: np.ndarray
    scores: np.ndarray
    train: np.ndarray
    evaluated: np.ndarray
    val: int
    sampler: ClipSampler
    layout: StepLayout
    refit: RefitSpec | None = None

    @property
    def steps(self) -> int:
        """Steps of all epochs."""
        return self.config.epochs * self.sampler.steps


@dataclass
class TrainingHistory:
    """What a training has measured so far; its fields are the keys of a checkpoint's `progress.json`.

    Args:
        train_loss: Mean loss of each epoch's steps.
        metrics: Metric to its value on val after each epoch.
        stopped: Why the training ended early; empty: it did not.
        waiting: Share of the steps' time spent waiting for frames, 0 to 1.
        seconds_a_step: Median time of a step, seconds.
        running: Losses of the steps of an epoch that has not ended.
    """

    train_loss: list[float] = field(default_factory=list)
    metrics: dict[str, list[float]] = field(default_factory=lambda: {name: [] for name in METRICS})
    stopped: str = ""
    waiting: float = 0.0
    seconds_a_step: float = float("nan")
    running: list[float] = field(default_factory=list)

    def close_epoch(self, metrics: Mapping[str, float]) -> None:
        """End an epoch, whose steps' losses stand in `running`.

        Args:
            metrics: Metric to its value on val.
        """
        self.train_loss.append(float(np.mean(self.running)) if self.running else float("nan"))
        for name, value in metrics.items():
            self.metrics[name].append(value)
        self.running = []


def build_model(spec: FinetuneSpec) -> FinetuneModel:
    """Build the model that a training starts from.

    Args:
        spec: The training.
    Returns:
        The model on the CPU.
    """
    modules = build_networks(list(spec.columns), spec.network)
    for name, module in modules.items():
        source = spec.sources[name]
        if source.location is None:
            fill_untrained_(module, source.seed)
        else:
            load_weights(module, source.location, source.sha256)
    head = MLP(spec.matrix.shape[1], spec.hidden)
    head.load_state_dict({name: torch.from_numpy(np.array(value)) for name, value in spec.head.items()})
    return FinetuneModel(modules, head, spec.columns, spec.config)


class StepClock:
    """Times of a training: of each step, of waiting for its frames, and since the last checkpoint.

    Attributes:
        waits: Time that each step waited for its frames, seconds.
        step_seconds: Time of each step, waiting included, seconds.
    """

    def __init__(self) -> None:
        self._checkpoint = time.monotonic()
        self.waits: list[float] = []
        self.step_seconds: list[float] = []

    def time_steps(self, steps: Iterable[T]) -> Iterator[T]:
        """Pass steps on and note their times; the first step is left out, as it waits for the stream to start.

        Args:
            steps: What each step is made on.
        Yields:
            The same.
        """
        stream, first = iter(steps), True
        while True:
            start = time.monotonic()
            try:
                step = next(stream)
            except StopIteration:
                return
            wait = time.monotonic() - start
            yield step
            if not first:
                self.waits.append(wait)
                self.step_seconds.append(time.monotonic() - start)
            first = False

    def waiting_share(self) -> float:
        """Share of the steps' time spent waiting for frames, 0 to 1."""
        return sum(self.waits) / max(1e-9, sum(self.step_seconds))

    def seconds_since_checkpoint(self) -> float:
        """Time since the last checkpoint, or since the clock was made, seconds."""
        return time.monotonic() - self._checkpoint

    def mark_checkpoint(self) -> None:
        """Note that a checkpoint is made now."""
        self._checkpoint = time.monotonic()
