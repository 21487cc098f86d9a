"""The settings of training from frames."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Literal

from m3ray.config.compute import Precision


@dataclass(frozen=True)
class UnfrozenConfig:
    """Backbones and aggregation trained together, from frames."""

    epochs: int = 5
    """Passes over the train split."""
    batch: int = 32
    """Clips a step, over all workers."""
    micro_batch: int = 4
    """Clips that a worker has on its device at once, at most; a step takes as many rounds as it needs."""
    size: int = 256
    """Height and width of the frames that the networks see, at most the decoder's."""
    frames: int = 128
    """Consecutive sampled frames of a clip that a step sees, at most: of a longer clip another stretch each epoch."""
    backbone_learning_rate: float = 1e-5
    """Adam's learning rate of the networks, after warm-up; falls to 0 along a cosine."""
    head_learning_rate: float = 1e-4
    """Likewise of the MLP over the tiers."""
    weight_decay: float = 1e-5
    """Adam's weight decay (L2)."""
    warm_up: float = 0.05
    """Share of all steps over which learning rates rise."""
    clip_norm: float = 1.0
    """Largest norm of a step's gradient."""
    ema: float = 0.0
    """Decay of an exponential moving average of the weights, which is then what is judged and kept; 0: none."""
    batch_norm: Literal["frozen", "trained"] = "frozen"
    """frozen: batch norms keep the published statistics, as batches are small."""
    checkpointing: bool = True
    """Recompute each block's activations in the backward pass: a third more time for several times less memory."""
    precision: Precision = "auto"
    """bfloat16 (autocast), float32, or auto: bfloat16 where the device computes in it."""
    workers: int | None = None
    """Training workers; none: one a GPU, or a single one on CPUs."""
    cache: Literal["disk", "memory", "none"] = "disk"
    """Where decoded frames are kept after their first epoch: the node's disk, its memory (/dev/shm), or nowhere."""
    cache_gb: float = 100.0
    """Most that the frames may take; where they would take more, each epoch decodes anew."""
    checkpoint_minutes: float = 15.0
    """Longest time between checkpoints; each epoch ends with one."""
    keep: int = 2
    """Checkpoints kept: the best by val Spearman, and the latest in any case."""
    refit_similarity: bool = False
    """Fit the similarity measure anew on the networks' vectors after each epoch; else it stays as it was fitted on
    those of the frozen networks."""

    def deciding(self) -> UnfrozenConfig:
        """What decides the outcome: not how the work is laid over devices, nor what is kept meanwhile."""
        same = {"micro_batch": 1, "checkpointing": True, "workers": None, "cache": "none", "cache_gb": 0.0}
        return replace(self, **same, checkpoint_minutes=0.0, keep=1)  # type: ignore[arg-type]


@dataclass(frozen=True)
class UnfrozenOverrides:
    """Settings of a preset that a user may set otherwise; none: as the preset has them."""

    epochs: int | None = None
    """Passes over the train split."""
    batch: int | None = None
    """Clips a step, over all workers."""
    micro_batch: int | None = None
    """Clips that a worker has on its device at once; lower it where memory runs out."""
    size: int | None = None
    """Height and width of the frames that the networks see."""
    frames: int | None = None
    """Consecutive sampled frames of a clip that a step sees, at most."""
    backbone_learning_rate: float | None = None
    """Adam's learning rate of the networks."""
    head_learning_rate: float | None = None
    """Adam's learning rate of the MLP over the tiers."""
    precision: Precision | None = None
    """bfloat16 or float32; on CPUs only float32 comes out the same each time."""
    ema: float | None = None
    """Decay of a moving average of the weights; 0: none."""
    workers: int | None = None
    """Training workers."""
    cache: Literal["disk", "memory", "none"] | None = None
    """Where decoded frames are kept."""
    cache_gb: float | None = None
    """Most that they may take."""
    checkpoint_minutes: float | None = None
    """Longest time between checkpoints."""
    refit_similarity: bool | None = None
    """Fit the similarity measure anew on the networks' vectors after each epoch."""
    runs: int = 1
    """Runs, one after the other, with the study's first seeds; the bundle has the first one's networks."""

    def over(self, preset: UnfrozenConfig) -> UnfrozenConfig:
        """`preset` with what is set here."""
        given = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "runs"}
        return replace(preset, **{name: value for name, value in given.items() if value is not None})
