"""The settings of finetuning: backbones and the MLP over the tiers trained together, from frames."""

from __future__ import annotations

from dataclasses import dataclass, field, fields, make_dataclass, replace
from typing import TYPE_CHECKING, Literal, TypeVar, get_type_hints

from m3ray.config.compute import Precision

T = TypeVar("T")


def _layout(default: T, in_key: T) -> T:
    """Declare a setting that does not change the outcome: keys of cached results hold `in_key` in its place."""
    return field(default=default, metadata={"in_key": in_key})


@dataclass(frozen=True)
class FinetuneSettings:
    """Finetuning settings that a preset gives and an option may override."""

    epochs: int = 5
    """Passes over the train split."""
    batch: int = 32
    """Clips a step, over all workers."""
    micro_batch: int = _layout(4, in_key=1)
    """Clips that a worker has on its device at once, at most; lower it where memory runs out: a step then accumulates
    the gradients of more micro-batches."""
    size: int = 256
    """Height and width of the frames that the networks see, pixels; at most the decoder's."""
    frames: int = 128
    """Consecutive sampled frames of a clip that a step sees, at most; of a longer clip a random temporal crop, another
    one each epoch."""
    backbone_learning_rate: float = 1e-5
    """Adam's learning rate of the networks after warm-up; it falls to 0 along a cosine."""
    head_learning_rate: float = 1e-4
    """Adam's learning rate of the MLP over the tiers after warm-up; it falls to 0 along a cosine."""
    precision: Precision = "auto"
    """bfloat16 (autocast), float32, tf32 (float32 whose products a GPU rounds to 10 bits), or auto: bfloat16 where all
    devices have units for it. On CPUs only float32 comes out the same each time."""
    ema: float = 0.0
    """Decay of an exponential moving average of the weights, which is then what is evaluated and kept; 0: none."""
    workers: int | None = _layout(None, in_key=None)
    """Training workers; none: one a GPU, but no more than a batch has clips, or a single one on CPUs. Any number goes
    with any batch and gives the same but for rounding."""
    cache: Literal["disk", "memory", "none"] = _layout("disk", in_key="none")
    """Where decoded frames are kept after their first epoch: the node's disk, its memory (/dev/shm), or nowhere."""
    cache_gb: float = _layout(100.0, in_key=0.0)
    """Most that the kept frames may take, GiB; where they would take more, each epoch decodes anew."""
    checkpoint_minutes: float = _layout(15.0, in_key=0.0)
    """Longest time between checkpoints, minutes; each epoch ends with one."""
    refit_similarity: bool = False
    """Fit the similarity measure anew on the networks' vectors after each epoch; else it stays as it was fitted on
    those of the frozen networks."""


@dataclass(frozen=True)
class FinetuneConfig(FinetuneSettings):
    """All settings of finetuning; those of its own come from the preset alone."""

    weight_decay: float = 1e-5
    """Adam's weight decay (L2)."""
    warm_up: float = 0.05
    """Share of all steps over which learning rates rise."""
    clip_norm: float = 1.0
    """Largest norm of a step's gradient."""
    batch_norm: Literal["frozen", "trained"] = "frozen"
    """frozen: batch norms keep the published statistics, as batches are small."""
    checkpointing: bool | Literal["auto"] = _layout("auto", in_key=True)
    """Recompute each block's activations in the backward pass: a third more time for several times less memory. auto:
    where the GPU's memory would not hold them, or is not known."""
    keep: int = _layout(2, in_key=1)
    """Checkpoints kept: the best by val Spearman, and the latest in any case."""

    @property
    def recomputes(self) -> bool:
        """Whether blocks are recomputed; they are where nobody has decided."""
        return self.checkpointing is not False

    def outcome_settings(self) -> FinetuneConfig:
        """Settings that decide the outcome, for the keys of cached results; the others have one value for all."""
        return replace(self, **{f.name: f.metadata["in_key"] for f in fields(self) if "in_key" in f.metadata})


@dataclass(frozen=True)
class _Overrides:
    """What `FinetuneOverrides` has beside the settings."""

    runs: int = 1
    """Runs, one after the other, with the study's first seeds; the bundle has the first one's networks."""

    def apply_to(self, preset: FinetuneConfig) -> FinetuneConfig:
        """Replace the settings of a preset that are set here.

        Args:
            preset: All settings.
        Returns:
            The preset with every override that is not None.
        """
        overrides = {f.name: getattr(self, f.name) for f in fields(FinetuneSettings)}
        return replace(preset, **{name: value for name, value in overrides.items() if value is not None})


# A type checker sees the settings as they are; at run time each may also be None, as it is by default.
if TYPE_CHECKING:

    @dataclass(frozen=True)
    class FinetuneOverrides(_Overrides, FinetuneSettings):
        """Settings in place of the preset's; None: the preset's."""

else:
    FinetuneOverrides = make_dataclass(
        "FinetuneOverrides",
        [(name, kind | None, None) for name, kind in get_type_hints(FinetuneSettings).items()],
        bases=(_Overrides, FinetuneSettings),
        namespace={"__module__": __name__, "__doc__": "Settings in place of the preset's; None: the preset's."},
        frozen=True,
    )
