"""Part 6 of benchmarks/gpu.py: the tier stage on Arrow batches of mixed lengths, with one and two actors."""

from __future__ import annotations

import multiprocessing
import os
import queue
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import ray  # noqa: F401 - says that Ray is missing, before any process starts
from extract import make_all_tiers
from gpu_card import PRECISION
from gpu_part import SMALL, PartRun
from gpu_sampler import GpuSampler

from m3ray.config import DecodeConfig, EventConfig, LimitsConfig, SceneConfig, TierConfigs
from m3ray.pipelines.extraction.records import DecodedClip, pack_decoded_clips
from m3ray.video.metadata import VideoMetadata

TABLE = "Tier stage"
TIERS = ("raw", "scene", "event")
LENGTHS = (8, 12) if SMALL else (15, 24, 45, 45, 45, 60, 75, 105)  # frames
SECONDS = 1.5 if SMALL else 6.0
START_SECONDS = 120.0


def make_batch(seed: int) -> pa.Table:
    """Make a batch of decoded clips of noise, of all lengths, as the decoding stage hands it over."""
    rng = np.random.default_rng(seed)
    clips = []
    for number, length in enumerate(rng.permutation(LENGTHS)):
        frames = rng.integers(0, 256, (length, 256, 256, 3), dtype=np.uint8)
        facts = VideoMetadata(256, 256, 15.0, length / 15, int(length), int(length), 100_000, "mp4", "pyav")
        clips.append(DecodedClip(f"{seed}-{number}", "made.mp4", TIERS, facts, frames))
    return pack_decoded_clips(clips)


def make_configs() -> TierConfigs:
    """Settings of the tiers in the precision that suits the device."""
    return replace(TierConfigs(), scene=SceneConfig(precision=PRECISION), event=EventConfig(precision=PRECISION))


def work(actors: int, number: int, ready: Any, results: Any) -> None:
    """An actor: set up, wait for the others, then compute batch after batch for some seconds."""
    try:
        from m3ray.pipelines.extraction.tier_stage import TierStage

        threads = max(1, (os.cpu_count() or 1) // actors)
        tiers = make_all_tiers(list(TIERS), make_configs())
        stage = TierStage(tiers, DecodeConfig(), LimitsConfig(), threads, gpu=not SMALL)
        batches = [make_batch(10 * number + k) for k in range(2)]
        check_results(stage(batches[0]))
        ready.wait(START_SECONDS)
        start, done = time.monotonic(), 0
        while time.monotonic() - start < SECONDS:
            done += stage(batches[done // len(LENGTHS) % 2]).num_rows
        results.put((done, time.monotonic() - start, ""))
    except Exception as error:
        ready.abort()  # or the others would wait for it
        results.put((0, 0.0, f"{type(error).__name__}: {error}"))
        raise


def check_results(table: pa.Table) -> None:
    """Check that no clip failed: else its time says nothing."""
    problems = [text for text in table["message"].to_pylist() if text]
    if problems:
        raise RuntimeError(f"a clip failed: {problems[0]}")


def measure(run: PartRun) -> None:
    """Measure the part."""
    for actors in (1, 2):
        if run.has_time(SECONDS + 8, f"{actors} actors"):
            measure_actors(run, actors)
    run.note(f"a batch has {len(LENGTHS)} clips of {min(LENGTHS)} to {max(LENGTHS)} frames; an actor is a process")
    run.note("busy is NVML's: the share of time in which some kernel runs, not how much of the GPU it fills")


def measure_actors(run: PartRun, actors: int) -> None:
    """Measure some actors that share the device."""
    context = multiprocessing.get_context("spawn")
    ready, results = context.Barrier(actors + 1), context.Queue()
    processes = [context.Process(target=work, args=(actors, k, ready, results), daemon=True) for k in range(actors)]
    for process in processes:
        process.start()
    try:
        ready.wait(min(START_SECONDS, max(1.0, run.left())))
        with GpuSampler() as gpu:
            outcomes = [results.get(timeout=max(1.0, run.left())) for _ in processes]
    except (queue.Empty, RuntimeError):  # a broken barrier is a RuntimeError
        outcomes = [(0, 0.0, describe_failure(results))]
    finally:
        for process in processes:
            process.join(2)
            process.kill()
    add_row(run, actors, outcomes, gpu if all(not text for *_, text in outcomes) else None)


def describe_failure(results: Any) -> str:
    """What the first actor that failed said, or that none was ready in time."""
    try:
        return results.get(timeout=1)[2]
    except queue.Empty:
        return "not ready in time"


def add_row(run: PartRun, actors: int, outcomes: Sequence[tuple[int, float, str]], gpu: GpuSampler | None) -> None:
    """Add the clips a second of all actors together."""
    problems = [text for _, _, text in outcomes if text]
    if problems or gpu is None:
        run.note(f"{actors} actors failed: {problems[0] if problems else 'no result'}")
        return
    rate = sum(clips / seconds for clips, seconds, _ in outcomes)
    row = {"actors": actors, "tiers": " ".join(TIERS), "clips a batch": len(LENGTHS), "clips/s": rate}
    run.add_row(TABLE, {**row, "GPU busy, share of time": gpu.busy, "GPU memory taken, GiB": gpu.peak_gib})
