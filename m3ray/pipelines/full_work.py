"""What the workers of an unfrozen training are given, and what they note."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import torch

from m3ray.config import TrainConfig
from m3ray.model import MLP
from m3ray.model.metrics import METRICS
from m3ray.tiers.backbones import load_weights, untrained_
from m3ray.tiers.network import WeightSource
from m3ray.tiers.tuned import networks
from m3ray.training.full import FullModel
from m3ray.training.order import Layout, Order
from m3ray.unfrozen import UnfrozenConfig

STATE, PROGRESS, OUTCOME = "state.pt", "progress.json", "outcome.safetensors"


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
