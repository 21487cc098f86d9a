"""Settings that decide the numbers of the tiers; their JSON is part of the tiers' fingerprints."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, TypeVar

from m3ray.config.compute import Precision
from m3ray.config.serialization import added_setting, json_key

T = TypeVar("T")


def later(default: T) -> T:
    """Field of a setting that came after features were written: at its default, fingerprints are what they were.

    Args:
        default: value that gives the numbers of the versions without the setting.
    """
    return field(default=default, metadata=added_setting())


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
    blur_logarithm: Literal["common", "natural"] = later("common")
    """Logarithm of blurriness: 20 log10, decibels, or 20 ln, which is 2.303 times that."""
    flow_fps: float | None = later(None)
    """Sampling rate that optical flow is scaled to: a clip that was sampled at fewer frames a second moves further from
    one to the next, and its flow is multiplied by its rate / this one; none: pixels a sampled frame as they are."""


@dataclass(frozen=True)
class SceneConfig:
    """Settings of the scene tier."""

    precision: Precision = "auto"
    """Precision of the network; auto: bfloat16 where all devices that compute it have units for it, else float32."""
    size: int | None = later(None)
    """Height and width of the frame that the network sees, pixels, no more than the decoder's; none: the decoder's."""


@dataclass(frozen=True)
class EventConfig:
    """Settings of the event tier."""

    network: Literal["ip", "ir"] = "ip"
    """CSN-152 variant: interactions preserved (ip) or reduced (ir)."""
    precision: Precision = "auto"
    """Precision of the network; auto: bfloat16 where all devices that compute it have units for it, else float32."""
    size: int | None = later(None)
    """Height and width of the frames that the network sees, pixels, no more than the decoder's; none: the decoder's."""


@dataclass(frozen=True)
class VisionConfig:
    """Settings of every torchvision tier."""

    precision: Precision = "auto"
    """Precision of the network; auto: bfloat16 where all devices that compute it have units for it, else float32."""


@dataclass(frozen=True)
class ImageNetworkConfig:
    """Settings of networks of images: pretrained scorers, and those of timm and open_clip."""

    precision: Precision = "auto"
    """Precision of the network; auto: bfloat16 where all devices that compute it have units for it, else float32."""
    frames: Literal["mean", "first"] = "mean"
    """Frames that it looks at: the mean over about one a second, or a clip's first frame alone."""


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
    fractional_of: Literal["clips", "mean"] = later("clips")
    """Measure 1.a is the mean of the distances to all train clips, or the distance to their mean vector."""
    cosine_of: Literal["clips", "mean"] = later("clips")
    """Measure 3.a is the mean of the cosine similarities to all train clips, or the similarity to their mean vector."""
    leave_one_out: bool = later(default=True)
    """Whether a train clip is compared with the other train clips alone; else it is among those that it is compared
    with, in 1 to 4."""
    kde_kernel: Literal["gaussian", "epanechnikov"] = later("gaussian")
    """Kernel of the densities."""
    kde_clusters: int = later(10)
    """Clusters of k-means that kde_kmeans fits a density to each of."""
    dbscan_noise_column: bool = later(default=True)
    """Whether DBSCAN's noise has a column; else a clip in no cluster has 0 in all of them."""


@dataclass(frozen=True)
class CaptionsConfig:
    """Settings of the captions tier, at most: a small train split has fewer."""

    components: int = 300
    """Numbers that a clip's captions become."""
    terms: int = 20_000
    """Words and pairs of neighbouring words that are told apart, the most frequent ones."""


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
    image: ImageNetworkConfig = field(default_factory=ImageNetworkConfig, metadata=added_setting())
    finetuned: FinetunedConfig = field(default_factory=FinetunedConfig, metadata=json_key("tuned"))
    similarity: SimilarityConfig = field(default_factory=SimilarityConfig)
    captions: CaptionsConfig = field(default_factory=CaptionsConfig, metadata=added_setting())
