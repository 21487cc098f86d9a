"""Part 9 of benchmarks/gpu.py: steps of finetuning, their peak memory, and a short run through Ray Train."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import ray
import torch
from gpu_card import PRECISION, find_peaks
from gpu_part import DEVICE, SMALL, PartRun, free_memory, note_failure, read_peak_gib, synchronise
from unfrozen import COLUMNS, FRAMES, INPUTS, count_gigaflop, measure_ours, measure_plain

from m3ray.config import TrainConfig
from m3ray.config.finetuning import FinetuneConfig
from m3ray.model import MLP
from m3ray.tiers.backbones import fill_untrained_
from m3ray.tiers.finetuned import build_networks
from m3ray.training.finetuning.feed import MicroBatch
from m3ray.training.finetuning.memory import StepShape, estimate_step_bytes
from m3ray.training.finetuning.model import FinetuneModel
from m3ray.training.finetuning.trainer import FinetuneTrainer

TABLE = "Finetuning, steps"
THROUGH_RAY = "Finetuning through Ray Train"
STEPS = 3
# Clips of a step, clips at once, frames, size, whether blocks are recomputed; the one of most interest comes first.
CASES: Sequence[tuple[int, int, int, int, bool]] = (
    ((2, 2, 8, 64, False), (2, 1, 8, 64, True))
    if SMALL
    else (
        (16, 16, FRAMES, 256, False),
        (16, 16, FRAMES, 256, True),
        (16, 4, FRAMES, 256, False),
        (16, 16, 8, 256, False),
    )
)
RAY_SECONDS = 60.0


def measure(run: PartRun) -> None:
    """Measure the part."""
    for case in CASES:
        if run.has_time(6, f"{case}"):
            with note_failure(run, f"{case}"):
                run.add_row(TABLE, measure_steps(run, *case))
        free_memory()
    with note_failure(run, "the plain loop"):
        if run.has_time(6, "the plain loop"):
            add_plain(run)
    free_memory()
    if run.has_time(RAY_SECONDS, "through Ray Train"):
        with note_failure(run, "through Ray Train"):
            add_through_ray(run)
    run.note(
        f"median of {STEPS} steps after one that warms up, both networks and the MLP; the estimate is what decides "
        "whether blocks are recomputed, and counts 2 GiB for what PyTorch does not allocate itself; the arithmetic "
        "floor is three forward passes at the rate of the best matrix product in the same precision"
    )


def make_config(batch: int, micro: int, frames: int, size: int, recomputed: bool) -> FinetuneConfig:
    """Settings of a case."""
    return FinetuneConfig(
        epochs=1,
        batch=batch,
        micro_batch=micro,
        frames=frames,
        size=size,
        precision=PRECISION,
        checkpointing=recomputed,
    )


def measure_steps(run: PartRun, batch: int, micro: int, frames: int, size: int, recomputed: bool) -> dict[str, Any]:
    """Measure some steps of our trainer on clips that are on the device."""
    free_memory()
    config = make_config(batch, micro, frames, size, recomputed)
    networks = {name: fill_untrained_(module) for name, module in build_networks(list(COLUMNS), "ip").items()}
    model = FinetuneModel(networks, MLP(INPUTS), COLUMNS, config).to(DEVICE)
    trainer = FinetuneTrainer(model, config, TrainConfig(), STEPS + 1)
    parts = [make_micro_batch(micro, frames, size) for _ in range(batch // micro)]
    seconds = statistics.median([time_step(trainer, parts) for _ in range(STEPS + 1)][1:])
    shape = StepShape(list(COLUMNS), "ip", micro, frames, size, PRECISION == "bfloat16")
    return {
        "trainer": "ours",
        "clips a step": batch,
        "clips at once": micro,
        "frames": frames,
        "size, pixels": size,
        "precision": PRECISION,
        "recomputed": recomputed,
        "s a step": seconds,
        "clips/s": batch / seconds,
        "share of arithmetic floor": estimate_floor(run, batch, frames, size, seconds),
        "peak memory, GiB": read_peak_gib(),
        "estimated before, GiB": None if recomputed else estimate_step_bytes(shape) / 2**30,
    }


def estimate_floor(run: PartRun, batch: int, frames: int, size: int, seconds: float) -> float | None:
    """Share of the arithmetic floor; None for sizes whose arithmetic is not counted."""
    if (frames, size) != (FRAMES, 256):
        return None
    peaks, _ = find_peaks(run)
    return 3 * batch * count_gigaflop() * 1e9 / peaks[PRECISION] / seconds


def make_micro_batch(clips: int, frames: int, size: int) -> MicroBatch:
    """Clips of noise on the device."""
    pixels = [torch.randint(0, 256, (frames, size, size, 3), dtype=torch.uint8, device=DEVICE) for _ in range(clips)]
    rows, scores = torch.randn(clips, INPUTS, device=DEVICE), torch.rand(clips, device=DEVICE)
    return MicroBatch(pixels, rows, scores, torch.ones(clips), torch.arange(clips))


def time_step(trainer: FinetuneTrainer, parts: Sequence[MicroBatch]) -> float:
    """Seconds of a step, to the end of all that it puts on the device."""
    synchronise()
    start = time.perf_counter()
    trainer.step(parts, 0.0)
    synchronise()
    return time.perf_counter() - start


def add_plain(run: PartRun) -> None:
    """Add the usual loop on the last case, whose clips have 8 frames."""
    batch, micro, frames, size, recomputed = CASES[0] if SMALL else CASES[-1]
    config = make_config(batch, micro, frames, size, recomputed)
    free_memory()
    rate, memory = measure_plain(config, STEPS + 1, DEVICE)
    row = {"trainer": "plain loop", "clips a step": batch, "clips at once": micro, "frames": frames}
    row |= {"size, pixels": size, "precision": PRECISION, "recomputed": recomputed, "s a step": batch / rate}
    run.add_row(TABLE, {**row, "clips/s": rate, "peak memory, GiB": None if SMALL else memory})


def add_through_ray(run: PartRun) -> None:
    """Add a run through Ray Train, whose frames are decoded from videos."""
    batch, micro, _, size, recomputed = CASES[0] if SMALL else CASES[-1]
    config = make_config(batch, micro, 8, size, recomputed)
    free_memory()
    with tempfile.TemporaryDirectory() as folder:
        rate, waiting = measure_ours(config, Path(folder), STEPS + 1)
    ray.shutdown()
    row = {
        "steps": STEPS + 1,
        "clips a step": batch,
        "clips at once": micro,
        "frames, at most": 8,
        "size, pixels": size,
    }
    run.add_row(THROUGH_RAY, {**row, "clips/s": rate, "waiting for frames, share of time": waiting})
