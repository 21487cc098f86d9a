"""Every setting, as frozen dataclasses. Command lines are made from them and results carry them resolved."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from dataclasses import dataclass, field
from typing import Any, Literal

Precision = Literal["auto", "float32", "bfloat16"]
DecoderName = Literal["auto", "pyav", "decord"]


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
class ReadConfig:
    """How a published data set is read."""

    score: Literal["normalized", "raw"] = "normalized"
    """Memento10k as MediaEval gives it: which of its two scores."""
    target: Literal["short", "long"] = "short"
    """VideoMem: short-term or long-term memorability."""
    videos: str | None = None
    """Folder of the videos; none: below the data set's own."""
    splits: str | None = None
    """VideoMem: file or folder that says who is in which split; none: drawn."""
    identity: Literal["fast", "hash"] = "fast"
    """By what a video is known: where it lies, its size and time of change; or its bytes, all read at a job's start."""


@dataclass(frozen=True)
class MomentConfig:
    """The sliding windows of a score over time."""

    window: float = 3.0
    """Length of a window, seconds; Memento10k's and VideoMem's clips last 3 and 7."""
    step: float = 1.0
    """From the start of a window to the next one's, seconds."""


@dataclass(frozen=True)
class LimitsConfig:
    """What one clip may cost before it is rejected. Changes no number of a clip that passes."""

    max_bytes: int = 2 * 1024**3
    """Largest file, bytes."""
    max_pixels: int = 4096 * 2304
    """Largest frame, pixels."""
    max_seconds: float = 3600.0
    """Longest video, seconds."""
    decode_seconds: float = 60.0
    """Longest wait for one window of frames, seconds."""
    memory_mb: int = 4096
    """Address space of the decoding child, MiB."""
    strikes: int = 3
    """How often a clip may kill the process that decodes or computes it before it is rejected."""
    storage_seconds: float = 300.0
    """How long the job waits for a storage that answers for no clip (rights, keys, network) before it stops, seconds;
    nothing is rejected meanwhile."""


@dataclass(frozen=True)
class StorageConfig:
    """Buckets of videos that are not read as the root's is."""

    anonymous: tuple[str, ...] = ()
    """Public buckets, read without credentials."""
    requester_pays: tuple[str, ...] = ()
    """Buckets whose owner lets whoever reads them pay."""


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
class ComputeConfig:
    """How the work is laid over processors. Changes numbers by rounding at most."""

    device: Literal["auto", "cpu", "gpu"] = "auto"
    """What tiers run on; auto: on GPUs where the cluster has some, or its autoscaler says that it can get some; gpu:
    wait for one."""
    actors: int | None = None
    """Tier actors at most; none: one a GPU, or one for every two cores on machines without."""
    threads: int | None = None
    """Torch threads of a CPU actor; none: the cores shared out among the actors."""
    clips_per_batch: int | None = None
    """Clips an actor computes at once; none: 1 on CPU, 8 on GPU."""
    raw_device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where the raw tier runs; auto: on the GPU with the networks where there is one."""
    decoder: DecoderName = "auto"
    """Reads videos; auto and pyav: PyAV, in order; decord: decord where it is proven to give the same frames."""
    compile: bool = False
    """torch.compile with CUDA graphs for the networks, GPU only: minutes of an actor's start, one graph a shape."""
    shard_clips: int | None = None
    """Clips a Parquet shard is committed with while the job runs, merged at its end; none: 4 to 256, by the work."""


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


def as_json(config: Any) -> Any:
    """A dataclass (or a structure of them) as plain JSON values."""
    if dataclasses.is_dataclass(config) and not isinstance(config, type):
        return {f.name: as_json(getattr(config, f.name)) for f in dataclasses.fields(config)}
    if isinstance(config, dict):
        return {str(key): as_json(value) for key, value in config.items()}
    if isinstance(config, list | tuple):
        return [as_json(value) for value in config]
    return config


def fingerprint(*parts: Any) -> str:
    """Ten hexadecimal digits that change when any of `parts` does."""
    text = json.dumps([as_json(part) for part in parts], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:10]
