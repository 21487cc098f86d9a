"""Streams of frames that the workers of a finetuning read."""

from __future__ import annotations

import logging
import math
import tempfile
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import ray.data

from m3ray.config import DecodeConfig, EventConfig, LimitsConfig, fingerprint
from m3ray.config.serialization import from_json
from m3ray.datasets.catalogue import metadata_column
from m3ray.datasets.clip_contents import clip_stamps
from m3ray.pipelines.finetuning.checkpoints import read_completed_steps
from m3ray.pipelines.finetuning.frame_stage import FramesStage
from m3ray.storage.catalogue_file import read_catalogue
from m3ray.storage.root import Root
from m3ray.storage.tier_index import read_tier_index
from m3ray.study.finetuned_trial import NETWORKS
from m3ray.study.study import Study
from m3ray.training.finetuning.sampler import ClipSampler
from m3ray.training.finetuning.spec import FinetuneSpec
from m3ray.video.frame_cache import FrameCache

logger = logging.getLogger(__name__)

# A block is what one step takes of one worker; Ray must not cut it.
_MAX_BLOCK_BYTES = 8 << 30


def read_frame_settings(root: Root, tiers: tuple[str, ...]) -> tuple[DecodeConfig, EventConfig]:
    """Read how a root's frames were sampled, and which event network it has.

    Args:
        root: Root with the features.
        tiers: Names of the tiers that the model sees, scene or event among them.
    Returns:
        Settings of decoding and of the event tier.
    """
    index = read_tier_index(root)
    first = next(tier for tier in NETWORKS if tier in tiers)
    decode = root.read_shard_metadata(*index[first].path)["decode"]
    event = index["event"].config if "event" in index else {}
    return from_json(DecodeConfig, decode), from_json(EventConfig, event)


def read_uris(study: Study) -> list[str]:
    """Read where the study's videos are.

    Args:
        study: The study.
    Returns:
        Address of each clip, in the order of the study's matrix.
    """
    frame = read_catalogue(study.root).select(["clip_id", "uri"]).to_pandas().set_index("clip_id")["uri"]
    return frame.loc[list(study.data.features.clip_ids)].tolist()


def read_longest_clip(root: Root, decode: DecodeConfig) -> int:
    """Read how many frames a root's longest clip has.

    Args:
        root: Root with the catalogue.
        decode: Settings of decoding.
    Returns:
        Number of sampled frames, at most those of a window; that many where the catalogue does not say.
    """
    sampled = metadata_column(read_catalogue(root), "sampled")
    longest = None if sampled is None else sampled.to_pandas().max()
    return decode.window_frames if longest is None or pd.isna(longest) else min(int(longest), decode.window_frames)


def make_frame_cache(spec: FinetuneSpec, decode: DecodeConfig, root: Root) -> FrameCache:
    """Make the cache of decoded frames: none where they do not fit, so that each epoch decodes them.

    Args:
        spec: What the workers are given.
        decode: Settings of decoding.
        root: Root with the catalogue.
    Returns:
        The cache.
    """
    config = spec.config
    catalogue = read_catalogue(root)
    sampled = metadata_column(catalogue, "sampled")
    length = decode.window_frames if sampled is None else sampled.to_pandas().clip(upper=decode.window_frames).mean()
    clips = len(spec.train) + len(spec.evaluated)
    size_gb = clips * float(length) * config.size**2 * 3 / 2**30
    fits = config.cache != "none" and size_gb <= config.cache_gb
    folder = {"disk": Path(tempfile.gettempdir()), "memory": Path("/dev/shm"), "none": None}[config.cache]
    logger.info(
        f"unfrozen: the frames of {clips} clips take {size_gb:.1f} GiB: "
        + (
            f"kept in {config.cache} after the first epoch"
            if fits
            else f"decoded each epoch (cache_gb {config.cache_gb:g})"
        )
    )
    cache = str(folder / f"m3ray-frames-{fingerprint(root.uri)}") if fits and folder else None
    contents = dict(zip(catalogue["uri"].to_pylist(), clip_stamps(root, catalogue).to_pylist(), strict=True))
    return FrameCache(decode, config.size, cache, contents)


def make_streams(
    spec: FinetuneSpec, uris: list[str], cache: FrameCache, limits: LimitsConfig, run: Root
) -> dict[str, Callable[[], ray.data.Dataset]]:
    """Make the streams: `train` over all epochs, `means` over the train split, `evaluated` over val and test.

    Args:
        spec: What the workers are given.
        uris: Address of each clip of the study's matrix.
        cache: Keeps decoded frames.
        limits: Per-clip resource limits.
        run: Folder of the run's checkpoints.
    Returns:
        Name of each stream to what makes it; called whenever workers start, it begins at the latest checkpoint.
    """
    layout, rows = spec.layout, {"train": spec.train, "means": spec.train, "evaluated": spec.evaluated}

    def make_stage(name: str, sampler: ClipSampler, start: int = 0) -> FramesStage:
        return FramesStage(sampler, rows[name], uris, cache, limits, spec.config.frames, start)

    def make_train() -> ray.data.Dataset:
        done = min(read_completed_steps(run), spec.steps - 1)
        left = (spec.steps - done) * layout.capacity
        return _make_stream(make_stage("train", spec.sampler, done * layout.capacity), left, layout.micro_batch)

    def make_ordered(name: str) -> Callable[[], ray.data.Dataset]:
        clips, turn = len(rows[name]), layout.workers * layout.micro_batch
        # One step of all clips, with places left empty so that all workers have as many.
        sampler = ClipSampler(clips, clips, capacity=math.ceil(clips / turn) * turn)
        return lambda: _make_stream(make_stage(name, sampler), sampler.places, layout.micro_batch)

    return {"train": make_train, "evaluated": make_ordered("evaluated"), "means": make_ordered("means")}


def _make_stream(stage: FramesStage, indices: int, micro_batch: int) -> ray.data.Dataset:
    """A block for each micro-batch: numbers alone until a task reads the clips behind them."""
    context = ray.data.DataContext.get_current()
    context.target_max_block_size, context.enable_progress_bars = _MAX_BLOCK_BYTES, False
    numbers = ray.data.range(indices, override_num_blocks=indices // micro_batch)
    return numbers.map_batches(stage, batch_size=None, batch_format="pyarrow")
