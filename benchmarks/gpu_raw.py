"""Part 5 of benchmarks/gpu.py: the raw tier by feature, against OpenCV and scikit-image on a core."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import cv2
import numpy as np
import torch
from gpu_part import (
    DEVICE,
    SMALL,
    PartRun,
    count_launches,
    count_operations,
    free_memory,
    measure_seconds,
    note_failure,
    read_peak_gib,
)
from raw import PLAIN, make_clip, our_features

from m3ray.config import RawConfig
from m3ray.tiers import RawTier, Window, fit_hog_projection
from m3ray.tiers.hog import LENGTH
from m3ray.tiers.malloc import keep_freed_memory
from m3ray.tiers.precision import float32_precision
from m3ray.tiers.transfers import Upload

TABLE = "Raw tier"
FRAMES, CLIPS = (4, 2) if SMALL else (45, 8)


def measure(run: PartRun) -> None:
    """Measure the part."""
    keep_freed_memory()  # as in the tier actors
    cv2.setNumThreads(1)
    clip = make_clip(0, FRAMES)
    with float32_precision():
        for name in PLAIN:
            with note_failure(run, name):
                measure_feature(run, name, clip)
        with note_failure(run, "the whole tier"):
            measure_tier(run)
    where = "one thread of the CPU" if DEVICE.type == "cuda" else "one thread; ours has all"
    run.note(f"a clip has {FRAMES} frames of 256x256; plain: OpenCV, scikit-image and NumPy frame by frame in {where}")


def measure_feature(run: PartRun, name: str, clip: np.ndarray) -> None:
    """Measure a feature of a clip in the host's memory, ours and plain."""
    free_memory()
    ours, plain = partial(our_features(DEVICE.type)[name], clip), partial(PLAIN[name], clip)
    expected, found = plain(), ours()
    seconds = measure_seconds(ours)
    row = {
        "feature": name,
        "clips/s": 1 / seconds,
        "plain, clips/s": None,
        "ours / plain": None,
        "difference from plain / largest number": float(np.abs(found - expected).max() / np.abs(expected).max()),
        "operations a clip": count_operations(ours),
        "launches a clip": count_launches(ours),
        "peak memory, GiB": read_peak_gib(),
    }
    if run.has_time(3, f"{name} in plain"):
        slow = measure_seconds(plain, 0.1, 2)
        row |= {"plain, clips/s": 1 / slow, "ours / plain": slow / seconds}
    run.add_row(TABLE, row)


def measure_tier(run: PartRun) -> None:
    """Measure all fifteen numbers of a batch, window by window and together, as a tier actor computes them."""
    rows = np.random.default_rng(0).random((20, LENGTH)).astype(np.float32)
    tier = RawTier(RawConfig(), fit_hog_projection(iter(rows)))
    tier.setup(torch.device(DEVICE))
    windows = [upload(make_clip(seed, FRAMES)) for seed in range(CLIPS)]
    ways: dict[str, Callable[[], Any]] = {
        "the whole tier, window by window": lambda: [tier.compute_together([window]) for window in windows],
        f"the whole tier, {CLIPS} clips together": lambda: tier.compute_together(windows),
    }
    for name, work in ways.items():
        measure_way(run, name, work)
    if DEVICE.type == "cuda" and run.has_time(60, "the whole tier compiled"):
        tier.compile()
        measure_way(run, f"the whole tier, {CLIPS} clips together, compiled", ways[name])


def measure_way(run: PartRun, name: str, work: Callable[[], Any]) -> None:
    """Measure one way to compute a batch, whose frames are on the device."""
    free_memory()
    row = {
        "feature": name,
        "clips/s": CLIPS / measure_seconds(work),
        "operations a clip": round(count_operations(work) / CLIPS),
    }
    launches = count_launches(work)
    row["launches a clip"] = None if launches is None else round(launches / CLIPS)
    run.add_row(TABLE, {**row, "peak memory, GiB": read_peak_gib()})


def upload(clip: np.ndarray) -> Window:
    """A window whose frames are on the device."""
    return Window(clip, uploaded=Upload(torch.from_numpy(clip).to(DEVICE)))
