"""Settings that decide the numbers of the tiers; their JSON is part of the tiers' fingerprints."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from m3ray.config.compute import Precision
from m3ray.config.serialization import json_key


@dataclass(frozen=True)
class DecodeConfig:
    """Sampling of videos into frames."""

    fps: float = 15.0
    """Frames sampled a second; never above the video's own rate."""
    size: int = 256
    """Height and width of a frame, pixels; the aspect ratio is not kept."""
    window_frames: int = 128
    """Frames of a window; a longer clip is taken in consecutive windows, and its vectors are averaged."""


@dataclass(frozen=True)
class RawConfig:
    """Settings of the raw tier."""

    blur_half_width: int = 30
    """Half width of the low-frequency square that blurriness leaves out, in frequency bins."""


@dataclass(frozen=True)
class SceneConfig:
    """Settings of the scene tier."""

    precision: Precision = "auto"
    """Precision of the network; auto: bfloat16 where all devices that compute it have units for it, else float32."""


@dataclass(frozen=True)
class EventConfig:
    """Settings of the event tier."""

    network: Literal["ip", "ir"] = "ip"
    """CSN-152 variant: interactions preserved (ip) or reduced (ir)."""
    precision: Precision = "auto"
    """Precision of the network; auto: bfloat16 where all devices that compute it have units for it, else float32."""


@dataclass(frozen=True)
class VisionConfig:
    """Settings of every torchvision tier."""

    precision: Precision = "auto"
    """Precision of the network; auto: bfloat16 where all devices that compute it have units for it, else float32."""


@dataclass(frozen=True)
class SimilarityConfig:
    """Settings of the similarity tier."""

    measure: str = "dbscan"
    """Measure that M3-S uses, a name of m3ray.similarity.MEASURES."""
    sources: tuple[str, ...] = ("scene", "event")
    """Tiers whose vectors are compared, of those that a root has; where it has none of them, all its other vectors."""
    components: int = 10
    """PCA components of each vector before the measure."""
    eps_scene: float | Literal["auto"] = "auto"
    """DBSCAN's eps of the scene vectors, in the t-SNE plane; the paper's is 1.25, for 7,000 clips; auto: knee of the
    k-distance curve."""
    eps_event: float | Literal["auto"] = "auto"
    """DBSCAN's eps of the event vectors; the paper's is 0.9; auto: knee of the k-distance curve."""
    kde_fewest: int = 150
    """Fewest train clips of a label that kde_labels fits a density to; the paper's 150 leaves 31 labels."""
    seed: int = 0
    """Seed of PCA, t-SNE, k-means and the classifier that predicts clusters."""


@dataclass(frozen=True)
class FinetunedConfig:
    """Settings of a tier whose network was finetuned."""

    precision: Precision = "auto"
    """Precision that the network was trained in."""
    size: int = 256
    """Height and width of the frames that the network sees, pixels."""
    network: Literal["ip", "ir"] = "ip"
    """CSN-152 variant of the event tier: interactions preserved (ip) or reduced (ir)."""
    untrained: bool = False
    """Whether the training started from random weights."""


@dataclass(frozen=True)
class TierConfigs:
    """Settings of all computed tiers."""

    decode: DecodeConfig = field(default_factory=DecodeConfig)
    raw: RawConfig = field(default_factory=RawConfig)
    scene: SceneConfig = field(default_factory=SceneConfig)
    event: EventConfig = field(default_factory=EventConfig)
    vision: VisionConfig = field(default_factory=VisionConfig)
    finetuned: FinetunedConfig = field(default_factory=FinetunedConfig, metadata=json_key("tuned"))
    similarity: SimilarityConfig = field(default_factory=SimilarityConfig)
