"""What the workers of an unfrozen training are given, and what they note."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from m3ray.config import SimilarityConfig, TrainConfig
from m3ray.config.finetuning import UnfrozenConfig
from m3ray.model import MLP
from m3ray.model.metrics import METRICS
from m3ray.tiers.backbones import load_weights, untrained_
from m3ray.tiers.finetuned import networks
from m3ray.tiers.network import WeightSource
from m3ray.training.finetuning.model import FullModel
from m3ray.training.finetuning.sampler import Layout, Order

PROGRESS, OUTCOME = "progress.json", "outcome.safetensors"
# Of a similarity tier that was fitted anew: the measure, and the rows and scaling of all clips.
REFIT, REFIT_TEXT, REFIT_ROWS = "refit.safetensors", "refit.json", "refit-rows.safetensors"


@dataclass(frozen=True)
class Work:
    """What every worker needs to know.

    Args:
        training: names the loss.
        config: of the unfrozen training, precision resolved.
        sources: of the weights that each network starts from.
        network: of the event tier.
        head: the state of the MLP that it starts from.
        hidden: its widths.
        columns: network to the positions of its vector in the matrix.
        matrix: all clips as the frozen model sees them, (N, F), float32.
        scores: (N,).
        train: rows of the matrix.
        judged: rows of val, then of test.
        val: how many of them are val.
        order: of the train clips.
        layout: of a step.
        similarity: of the tier that is fitted anew each epoch; None: it stays.
        similarity_columns: its positions in the matrix.
        labels: of each train clip, for measures that need them.
    """

    training: TrainConfig
    config: UnfrozenConfig
    sources: Mapping[str, WeightSource]
    network: str
    head: Mapping[str, np.ndarray]
    hidden: tuple[int, ...]
    columns: Mapping[str, np.ndarray]
    matrix: np.ndarray
    scores: np.ndarray
    train: np.ndarray
    judged: np.ndarray
    val: int
    order: Order
    layout: Layout
    similarity: SimilarityConfig | None = None
    similarity_columns: np.ndarray = field(default_factory=lambda: np.empty(0, np.int64))
    labels: Sequence[Sequence[str]] = ()

    @property
    def steps(self) -> int:
        """Of all epochs."""
        return self.config.epochs * self.order.steps


@dataclass
class History:
    """What the epochs brought.

    Args:
        train_loss: mean over an epoch's steps.
        metrics: on val after each epoch.
        stopped: why it ended early; empty: it did not.
        waiting: share of the steps' time spent waiting for frames.
        seconds_a_step: their median.
        running: losses of the steps of an epoch that has not ended.
    """

    train_loss: list[float] = field(default_factory=list)
    metrics: dict[str, list[float]] = field(default_factory=lambda: {name: [] for name in METRICS})
    stopped: str = ""
    waiting: float = 0.0
    seconds_a_step: float = float("nan")
    running: list[float] = field(default_factory=list)

    def close_epoch(self, found: Mapping[str, float]) -> None:
        """Ends an epoch whose steps' losses stand in `running`."""
        self.train_loss.append(float(np.mean(self.running)) if self.running else float("nan"))
        for name, value in found.items():
            self.metrics[name].append(value)
        self.running = []


def built(work: Work) -> FullModel:
    """The model that a training starts from, on the CPU."""
    modules = networks(list(work.columns), work.network)
    for name, module in modules.items():
        source = work.sources[name]
        if source.location is None:
            untrained_(module, source.seed)
        else:
            load_weights(module, source.location, source.sha256)
    head = MLP(work.matrix.shape[1], work.hidden)
    head.load_state_dict({name: torch.from_numpy(np.array(value)) for name, value in work.head.items()})
    return FullModel(modules, head, work.columns, work.config)


class Clock:
    """Time spent waiting for frames, a step's time, and the time since the last checkpoint."""

    def __init__(self) -> None:
        self._kept = time.monotonic()
        self.waits: list[float] = []
        self.laps: list[float] = []

    def waiting(self, steps: Any) -> Iterator[Any]:
        """`steps`, the time to each and the time of each noted; the first wait is the stream's start, and left out."""
        stream, lap = iter(steps), 0.0
        while True:
            start = time.monotonic()
            step = next(stream, None)
            waited = time.monotonic() - start
            if step is None:
                return
            yield step
            if lap:
                self.waits.append(waited)
                self.laps.append(time.monotonic() - start)
            lap = time.monotonic()

    def share(self) -> float:
        """Of the steps' time, that spent waiting."""
        return sum(self.waits) / max(1e-9, sum(self.laps))

    def since_kept(self) -> float:
        return time.monotonic() - self._kept

    def kept(self) -> None:
        self._kept = time.monotonic()
