"""Every setting, as frozen dataclasses. Command lines are made from them and results carry them resolved."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from m3ray.config.compute import Precision


@dataclass(frozen=True)
class DecodeConfig:
    """How videos become frames."""

    fps: float = 15.0
    """Frames a second to sample; never above the video's own rate."""
    size: int = 256
    """Height and width of a frame, the aspect ratio not kept."""
    window_frames: int = 128
    """A longer clip is taken in consecutive windows of this many frames, and its vectors averaged."""


@dataclass(frozen=True)
class RawConfig:
    """The raw tier."""

    blur_half_width: int = 30
    """Half width of the low-frequency square that blurriness leaves out."""


@dataclass(frozen=True)
class SceneConfig:
    """The scene tier."""

    precision: Precision = "auto"
    """auto: bfloat16 where the processor or GPU computes in it, else float32."""


@dataclass(frozen=True)
class EventConfig:
    """The event tier."""

    network: Literal["ip", "ir"] = "ip"
    """CSN-152, interaction preserved (ip) or reduced (ir)."""
    precision: Precision = "auto"
    """auto: bfloat16 where the processor or GPU computes in it, else float32."""


@dataclass(frozen=True)
class VisionConfig:
    """Every torchvision tier."""

    precision: Precision = "auto"
    """auto: bfloat16 where the processor or GPU computes in it, else float32."""


@dataclass(frozen=True)
class SimilarityConfig:
    """The similarity tier."""

    measure: str = "dbscan"
    """Which measure M3-S uses; a name of m3ray.similarity.MEASURES."""
    sources: tuple[str, ...] = ("scene", "event")
    """Tiers whose vectors are compared; those that a root has, and where it has none of them, every other vector."""
    components: int = 10
    """PCA components of each vector before the measure."""
    eps_scene: float | Literal["auto"] = "auto"
    """DBSCAN's eps in the t-SNE plane; the paper's is 1.25 (on 7,000 clips); auto: knee of the k-distance curve."""
    eps_event: float | Literal["auto"] = "auto"
    """As eps_scene; the paper's is 0.9."""
    kde_fewest: int = 150
    """kde_labels: the fewest train clips of a label that gets a density; the paper's 150 leaves 31 labels."""
    seed: int = 0
    """Seed of PCA, t-SNE, k-means and the cluster predictor."""


@dataclass(frozen=True)
class TunedConfig:
    """A network that was trained unfrozen, as a tier."""

    precision: Precision = "auto"
    """As it was trained."""
    size: int = 256
    """Height and width of the frames that it sees."""
    network: Literal["ip", "ir"] = "ip"
    """Of the event network."""
    untrained: bool = False
    """Whether it began from random weights."""


@dataclass(frozen=True)
class TierConfigs:
    """The settings that decide the numbers of the computed tiers."""

    decode: DecodeConfig = field(default_factory=DecodeConfig)
    raw: RawConfig = field(default_factory=RawConfig)
    scene: SceneConfig = field(default_factory=SceneConfig)
    event: EventConfig = field(default_factory=EventConfig)
    vision: VisionConfig = field(default_factory=VisionConfig)
    tuned: TunedConfig = field(default_factory=TunedConfig)
    similarity: SimilarityConfig = field(default_factory=SimilarityConfig)
