"""The streams of frames that the workers of an unfrozen training read."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable
from pathlib import Path

import ray.data

from m3ray.config import DecodeConfig, EventConfig, LimitsConfig, fingerprint
from m3ray.config.serialization import from_json
from m3ray.console import say
from m3ray.datasets.catalogue import learned, read_catalogue
from m3ray.datasets.clip_contents import stamps_of
from m3ray.pipelines.finetuning.frame_stage import FramesStage
from m3ray.storage.root import Root
from m3ray.storage.tier_index import current_tiers
from m3ray.study.finetuned_trial import NETWORKS
from m3ray.study.study import Study
from m3ray.training.finetuning.sampler import Order
from m3ray.training.finetuning.spec import Work
from m3ray.video.frame_cache import FrameStore

SNAPSHOT = "checkpoint_manager_snapshot.json"
# A block is what one step takes of one worker; Ray must not cut it.
_MOST_BLOCK = 8 << 30


def frame_settings(root: Root, tiers: tuple[str, ...]) -> tuple[DecodeConfig, EventConfig]:
    """How the root's frames were sampled, and its event network."""
    current = current_tiers(root)
    first = next(tier for tier in NETWORKS if tier in tiers)
    decode = root.shard_metadata("features", current[first]["folder"])["decode"]
    event = current["event"]["identity"]["config"] if "event" in current else {}
    return from_json(DecodeConfig, decode), from_json(EventConfig, event)


def uris_of(study: Study) -> list[str]:
    frame = read_catalogue(study.root).select(["clip_id", "uri"]).to_pandas().set_index("clip_id")["uri"]
    return frame.loc[list(study.data.features.clip_ids)].tolist()


def frame_store(work: Work, decode: DecodeConfig, root: Root) -> FrameStore:
    """Frames are kept where they fit; else each epoch decodes."""
    config = work.config
    catalogue = read_catalogue(root)
    sampled = learned(catalogue, "sampled")
    length = decode.window_frames if sampled is None else sampled.to_pandas().clip(upper=decode.window_frames).mean()
    clips = len(work.train) + len(work.judged)
    need = clips * float(length) * config.size**2 * 3 / 2**30
    fits = config.cache != "none" and need <= config.cache_gb
    folder = {"disk": Path(tempfile.gettempdir()), "memory": Path("/dev/shm"), "none": None}[config.cache]
    say(
        f"unfrozen: the frames of {clips} clips take {need:.1f} GiB: "
        + (
            f"kept in {config.cache} after the first epoch"
            if fits
            else f"decoded each epoch (cache_gb {config.cache_gb:g})"
        )
    )
    kept = str(folder / f"m3ray-frames-{fingerprint(root.uri)}") if fits and folder else None
    contents = dict(zip(catalogue["uri"].to_pylist(), stamps_of(root, catalogue).to_pylist(), strict=True))
    return FrameStore(decode, config.size, kept, contents)


def streams(
    work: Work, uris: list[str], store: FrameStore, limits: LimitsConfig, run: str
) -> dict[str, Callable[[], ray.data.Dataset]]:
    """Stream to what makes it, called anew whenever workers start, and then from where the last checkpoint was."""
    batch, rows = work.order.batch, {"train": work.train, "means": work.train, "judged": work.judged}

    def stage(name: str, order: Order, start: int = 0) -> FramesStage:
        return FramesStage(order, rows[name], uris, store, limits, work.config.frames, start)

    def train() -> ray.data.Dataset:
        done = min(steps_done(run), work.steps - 1)
        return _stream(stage("train", work.order, done * batch), (work.steps - done) * batch, work.layout.micro)

    def in_order(name: str) -> Callable[[], ray.data.Dataset]:
        order = Order(len(rows[name]), batch)
        return lambda: _stream(stage(name, order), order.steps * batch, work.layout.micro)

    return {"train": train, "judged": in_order("judged"), "means": in_order("means")}


def _stream(stage: FramesStage, places: int, micro: int) -> ray.data.Dataset:
    """A block for each micro-batch: numbers alone until a task reads the clips behind them."""
    context = ray.data.DataContext.get_current()
    context.target_max_block_size, context.enable_progress_bars = _MOST_BLOCK, False
    numbers = ray.data.range(places, override_num_blocks=places // micro)
    return numbers.map_batches(stage, batch_size=None, batch_format="pyarrow")


def mend_snapshot(run: Root) -> None:
    """Deletes Ray Train's note of checkpoints where a killed driver left it cut short: else no training could begin."""
    if not run.exists(SNAPSHOT):
        return
    try:
        run.read_json(SNAPSHOT)
    except ValueError:
        say(f"unfrozen: {run.display(SNAPSHOT)} was cut short: this run begins anew")
        run.delete(SNAPSHOT)


def steps_done(run: str) -> int:
    """Steps of the run's latest checkpoint, as Ray Train notes it; 0 where it is not known.

    Too few is safe: workers pass over what they were trained on already, and refuse a stream that begins too late.
    """
    root = Root(run)
    if not root.exists(SNAPSHOT):
        return 0
    latest = root.read_json(SNAPSHOT).get("latest_checkpoint_result") or {}
    found = re.match(r"step-(\d+)", latest.get("checkpoint_dir_name", ""))
    return int(found.group(1)) if found else 0
