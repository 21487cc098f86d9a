"""Settings of training the model on features."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from m3ray.config.serialization import added_setting


@dataclass(frozen=True)
class TrainConfig:
    """Settings of one training, the parameters of the paper's Table 5."""

    hidden: tuple[int, ...] = (512, 64)
    """Widths of the hidden layers."""
    loss: Literal["mse", "mse_tails", "spearman", "mse_to_spearman"] = "mse"
    """Loss function; the paper's ablations use mse, its best Memento10k model mse_tails."""
    epochs: int = 20
    """Passes over the train split."""
    batch: int = 32
    """Clips a step."""
    learning_rate: float = 1e-3
    """Adam's learning rate of the first epochs."""
    weight_decay: float = 1e-5
    """Adam's weight decay (L2)."""
    step_size: int = 5
    """Epochs after which the learning rate is reduced."""
    gamma: float = 0.2
    """Factor of each reduction of the learning rate."""
    tails_gain: float = 2.0
    """Gain of mse_tails: how much more scores far from the mean weigh."""
    tails_power: float = 4.0
    """Power of mse_tails: of a score's distance to the mean."""
    tails_centre: Literal["data", "batch"] = field(default="batch", metadata=added_setting())
    """The mean that mse_tails measures distances to: of the train split's scores, as every preset has it, or of each
    batch of them, which moves from step to step; files that do not say so are older, and mean the batch."""
    strength: float = 0.01
    """Regularisation strength of the soft ranks; at 1.0 the ranks of scores in [0, 1] are linear, as in Pearson's r."""
    spearman_scale: float = 0.01
    """Factor of the Spearman loss."""
    report: Literal["last", "best"] = field(default="last", metadata=added_setting())
    """Epoch whose model is kept and reported: the last, or the one whose Spearman correlation on val was best, run by
    run; chosen on the clips that it is then measured on, the best is optimistic."""
    start: Literal["random", "mean"] = field(default="random", metadata=added_setting())
    """Where training starts: random: at PyTorch's weights in all layers, as in the paper; mean: with an output layer of
    zeros at the train split's mean score, which weight decay then pulls to, as a ridge does: for few clips, or strong
    decay."""
