"""What extraction may use and what one clip may cost; none of it changes the features of an accepted clip."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Precision = Literal["auto", "float32", "bfloat16"]


DecoderName = Literal["auto", "pyav", "decord"]


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
