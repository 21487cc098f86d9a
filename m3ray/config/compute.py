"""Settings of resources, per-clip limits and sliding windows; none changes the features of an accepted clip."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from m3ray.config.serialization import added_setting, json_key

Precision = Literal["auto", "float32", "tf32", "bfloat16"]


DecoderName = Literal["auto", "pyav", "decord"]


@dataclass(frozen=True)
class SlidingWindowConfig:
    """Sliding windows of a score over time."""

    window: float = 3.0
    """Length of a window, seconds; Memento10k's and VideoMem's clips last 3 and 7."""
    step: float = 1.0
    """Time from the start of a window to the start of the next one, seconds."""
    by: Literal["windows", "shots"] = field(default="windows", metadata=added_setting())
    """What a video is cut into: windows of one length, or its shots, from cut to cut, each scored as a clip."""
    detector: Literal["content", "transnet"] = field(default="content", metadata=added_setting())
    """How cuts are found: content: PySceneDetect, by the change of colours from a frame to the next one; transnet: the
    network TransNetV2, which finds gradual transitions too, and takes longer."""
    threshold: float | None = field(default=None, metadata=added_setting())
    """How large a change is a cut: for content the mean change of hue, saturation and brightness, 0 to 255, and at
    least three times that of the frames around it; for transnet a probability; none: 15 and 0.5."""
    shortest: float = field(default=0.5, metadata=added_setting())
    """Shortest shot, seconds: one that is shorter is joined to the shot before it, the first one to the next."""


@dataclass(frozen=True)
class LimitsConfig:
    """Per-clip resource limits; they never change the features of accepted clips."""

    max_bytes: int = 2 * 1024**3
    """Largest file, bytes."""
    max_pixels: int = 4096 * 2304
    """Largest frame of a video, pixels."""
    max_image_pixels: int = field(default=120_000_000, metadata=added_setting())
    """Largest image, pixels: those of cameras have 12 to 102 million."""
    max_seconds: float = 3600.0
    """Longest video, seconds."""
    decode_seconds: float = 60.0
    """Longest wait for one window of frames, seconds."""
    memory_mb: int = 4096
    """Address space of the child process that decodes, MiB."""
    crash_count: int = field(default=3, metadata=json_key("strikes"))
    """Crashes of the process that decodes or computes a clip after which the clip is rejected."""
    storage_seconds: float = 300.0
    """Time that the job waits for a storage that answers for no clip (rights, keys, network) before it stops,
    seconds; nothing is rejected meanwhile."""


@dataclass(frozen=True)
class DeviceConfig:
    """Which processors the work is given."""

    device: Literal["auto", "cpu", "gpu"] = "auto"
    """Device that tiers and models run on; auto: GPUs where the cluster has some, or its autoscaler says that it can
    get some; gpu: wait for one. What is given a GPU never falls back to a CPU."""


@dataclass(frozen=True)
class ComputeConfig(DeviceConfig):
    """How the work is distributed over processors; it changes numbers by rounding at most."""

    actors: int | None = None
    """Number of tier actors at most; none: as many as the GPUs hold; without GPUs one a core, as far as memory goes."""
    actors_per_gpu: int | None = None
    """Tier actors that share a GPU; none: 2 where each GPU has 40 GiB or more, else 1."""
    threads: int | None = None
    """Torch threads of a CPU actor; none: the cores shared out among the actors."""
    clips_per_batch: int | None = None
    """Clips that an actor computes at once; none: 1 on CPU; on GPU 8, or fewer where its memory holds no more."""
    raw_device: Literal["auto", "cpu", "cuda"] = "auto"
    """Device that the raw tier runs on; auto: on the GPU with the networks where there is one."""
    decoder: DecoderName = "auto"
    """Library that reads videos; auto and pyav: PyAV; decord: decord where it is proven to give the same frames."""
    compile: bool = False
    """Compile the networks with torch.compile, on GPUs only: an actor starts minutes later. Needs a C compiler on every
    GPU node."""
    deterministic: bool = False
    """Take algorithms that give the same bits each time where PyTorch has one, and fail nowhere else; slower on GPUs.
    CPUs give the same bits in any case."""
    shard_clips: int | None = None
    """Clips of a Parquet shard while the job runs (shards are merged at its end); none: 4 to 256, by the work."""
