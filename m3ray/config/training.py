"""How the model is trained."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class TrainConfig:
    """One training, Table 5 of the paper."""

    hidden: tuple[int, ...] = (512, 64)
    """Widths of the hidden layers."""
    loss: Literal["mse", "mse_tails", "spearman", "mse_to_spearman"] = "mse"
    """Loss; the paper's ablations use mse, its best Memento10k model mse_tails."""
    epochs: int = 20
    """Passes over the train split."""
    batch: int = 32
    """Clips a step."""
    learning_rate: float = 1e-3
    """Adam's learning rate at the start."""
    weight_decay: float = 1e-5
    """Adam's weight decay (L2)."""
    step_size: int = 5
    """Epochs between reductions of the learning rate."""
    gamma: float = 0.2
    """Factor of each reduction."""
    tails_gain: float = 2.0
    """mse_tails: gain of the tails' weights."""
    tails_power: float = 4.0
    """mse_tails: power of the distance to the mean."""
    strength: float = 0.01
    """Soft ranks' regularisation; at 1.0 scores in [0, 1] get linear ranks (Pearson)."""
    spearman_scale: float = 0.01
    """Factor of the Spearman loss."""
