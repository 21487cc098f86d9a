"""Raw tier: speed of each feature against OpenCV, scikit-image and NumPy frame by frame, and equal results.

The same clips of 45 frames, 256x256, on both sides, a process a core on both sides (on a GPU ours is one process). Each
process measures its own work on its share of the clips; what is printed are clips a second of all together. Both must
agree. Then the memory that a clip in flight takes in ours.

    python benchmarks/raw.py [--clips 4] [--frames 45] [--rounds 2] [--device auto]
"""

from __future__ import annotations

import argparse
import itertools
import multiprocessing
import os
import platform
import resource
import time
from collections.abc import Callable
from datetime import date
from functools import partial
from typing import Any, cast

import cv2
import numpy as np
import torch
from skimage.feature import hog as skimage_hog
from torch import Tensor

from m3ray.config import RawConfig
from m3ray.tiers import RawTier, Window, fit_hog_projection
from m3ray.tiers.flow import mean_optical_flow
from m3ray.tiers.hog import LENGTH, hog_of_bytes, hog_of_planes
from m3ray.tiers.malloc import keep_freed_memory
from m3ray.tiers.raw import blurriness, brightness_and_luma, contrast, split_channels
from m3ray.tiers.raw_frames import (
    frame_blurriness,
    frame_brightness,
    frame_contrast,
    frame_luma,
    place_waves,
    split_planes,
)

Feature = Callable[[np.ndarray], np.ndarray]


def make_clip(seed: int, frames: int) -> np.ndarray:
    """Make a smooth texture that moves, with noise: uint8 (frames, 256, 256, 3)."""
    rng = np.random.default_rng(seed)
    base = cv2.GaussianBlur(rng.integers(0, 256, (256, 256, 3)).astype(np.float32), (0, 0), 6)
    base = (base - base.min()) / np.ptp(base) * 235
    moved = np.stack([np.roll(base, (k, 2 * k), (0, 1)) for k in range(frames)])
    return np.clip(moved + rng.normal(0, 4, moved.shape), 0, 255).astype(np.uint8)


# The reference: a frame at a time, each feature with the library that has it.


def plain_pixels(frames: np.ndarray) -> np.ndarray:
    values = []
    for frame in frames:
        scaled = frame.astype(np.float32) / 255
        gray = cv2.cvtColor(scaled, cv2.COLOR_RGB2GRAY)
        values.append([scaled.max(axis=2).mean(), gray.std()])
    return np.mean(values, axis=0)


def plain_blurriness(frames: np.ndarray) -> np.ndarray:
    values = []
    for frame in frames:
        gray = cv2.cvtColor(frame.astype(np.float32) / 255, cv2.COLOR_RGB2GRAY)
        spectrum = np.fft.fftshift(np.fft.fft2(gray))
        spectrum[128 - 30 : 128 + 30, 128 - 30 : 128 + 30] = 0
        rest = np.abs(np.fft.ifft2(np.fft.ifftshift(spectrum)))
        values.append(np.mean(20 * np.log10(np.maximum(rest, 1e-8))))
    return np.array(np.mean(values))


def plain_hog(frames: np.ndarray) -> np.ndarray:
    kinds = {"orientations": 9, "pixels_per_cell": (8, 8), "cells_per_block": (2, 2), "block_norm": "L2-Hys"}
    return np.mean([skimage_hog(frame, channel_axis=-1, **kinds) for frame in frames], axis=0)


def plain_flow(frames: np.ndarray) -> np.ndarray:
    values = []
    for first, second in itertools.pairwise(frames):
        pair = [cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in (first, second)]
        flow: Any = cv2.calcOpticalFlowFarneback(pair[0], pair[1], cast("Any", None), 0.5, 3, 15, 3, 5, 1.2, 0)
        values.append(np.linalg.norm(flow, axis=2).mean())
    return np.array(np.mean(values))


PLAIN: dict[str, Feature] = {
    "brightness, contrast": plain_pixels,
    "blurriness": plain_blurriness,
    "hog": plain_hog,
    "mean_optical_flow": plain_flow,
}


# Ours, sixteen frames at a time as the tier takes them.


def average_parts(function: Callable[[Tensor], Tensor], frames: np.ndarray, device: str) -> np.ndarray:
    """Average a function of uint8 frames (T, 3, H, W) over all frames."""
    step = 256 if device == "cuda" else 16
    parts = [split_channels(frames[k : k + step]) for k in range(0, len(frames), step)]
    total: Any = sum(function(part.to(device)) * len(part) for part in parts)
    return np.asarray((total / len(frames)).cpu())


def our_features(device: str) -> dict[str, Feature]:
    if device == "cuda":
        return device_features()

    def pixels(part: Tensor) -> Tensor:
        bright, gray = brightness_and_luma(part)
        return torch.stack([bright.mean(), contrast(gray[None])[0]])

    def flow(frames: np.ndarray) -> np.ndarray:
        gray = torch.cat([brightness_and_luma(part.to(device))[1] for part in split_channels(frames).split(16)])
        return np.asarray(mean_optical_flow(gray[None])[0].cpu())

    return {
        "brightness, contrast": partial(average_parts, pixels, device=device),
        "blurriness": partial(
            average_parts, lambda part: blurriness(brightness_and_luma(part)[1][None])[0], device=device
        ),
        "hog": partial(average_parts, lambda part: hog_of_bytes(part).mean(dim=0), device=device),
        "mean_optical_flow": flow,
    }


def device_features() -> dict[str, Feature]:
    """Ours as a GPU computes them, all frames of a clip at once; the copy to it is part of each."""

    def upload(frames: np.ndarray) -> Tensor:
        return split_planes(torch.from_numpy(frames).cuda())

    def pixels(frames: np.ndarray) -> np.ndarray:
        planes = upload(frames)
        numbers = [frame_brightness(planes), frame_contrast(frame_luma(planes))]
        return np.asarray(torch.stack(numbers).mean(dim=1).cpu())

    def blur(frames: np.ndarray) -> np.ndarray:
        gray = frame_luma(upload(frames))
        return np.asarray(frame_blurriness(gray, place_waves(gray.shape[-2:], 30, gray.device)).mean().cpu())

    def flow(frames: np.ndarray) -> np.ndarray:
        return np.asarray(mean_optical_flow(frame_luma(upload(frames))[None])[0].cpu())

    return {
        "brightness, contrast": pixels,
        "blurriness": blur,
        "hog": lambda frames: np.asarray(hog_of_planes(upload(frames)).mean(dim=0).cpu()),
        "mean_optical_flow": flow,
    }


def _measure_share(task: tuple[str, str, list[int], int, int]) -> tuple[float, list[np.ndarray]]:
    """Measure one process: seconds, the best of the rounds, and values of its clips."""
    side, name, seeds, frames, rounds = task
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    function = PLAIN[name] if side == "plain" else our_features(side)[name]
    clips = [make_clip(seed, frames) for seed in seeds]
    function(clips[0][:4])
    spent = float("inf")
    for _ in range(rounds):
        start = time.perf_counter()
        values = [function(one) for one in clips]
        spent = min(spent, time.perf_counter() - start)
    return spent, values


def measure(
    pool: multiprocessing.pool.Pool, side: str, name: str, args: argparse.Namespace
) -> tuple[float, list[np.ndarray]]:
    """Measure seconds a clip of all processes together, and the values of all clips."""
    processes = args.cores if side in ("plain", "cpu") else 1
    shares = [list(range(args.clips))[k::processes] for k in range(processes)]
    done = pool.map(
        _measure_share, [(side, name, seeds, args.frames, args.rounds) for seeds in shares if seeds], chunksize=1
    )
    order = [seed for seeds in shares for seed in seeds]
    values = dict(zip(order, (value for _, values in done for value in values), strict=True))
    return max(spent for spent, _ in done) / args.clips, [values[seed] for seed in range(args.clips)]


def measure_memory(frames: np.ndarray, device: str) -> float:
    """Measure the MiB that a clip adds to the peak of a process that has computed before."""
    rows = np.random.default_rng(0).random((20, LENGTH)).astype(np.float32)
    tier = RawTier(RawConfig(), fit_hog_projection(iter(rows)))
    tier.setup(torch.device(device))
    tier.compute([Window(frames[:2])])
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    tier.compute([Window(frames)])
    return (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clips", type=int, default=4)
    parser.add_argument("--frames", type=int, default=45)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--cores", type=int, default=os.cpu_count())
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    args = parser.parse_args()
    device = args.device if args.device != "auto" else ("cuda" if torch.cuda.is_available() else "cpu")
    where = torch.cuda.get_device_name() if device == "cuda" else f"{args.cores} processes of one thread"
    print(f"{where}, {platform.machine()}, {date.today()}; {args.clips} clips of {args.frames} frames, 256x256")
    print("| feature | ours, clips/s | plain, clips/s | ours / plain |\n|---|---|---|---|")
    totals = np.zeros(2)
    spawn = multiprocessing.get_context("spawn")
    # Ours as in tier actors, which keep the memory that they free; the reference in plain processes.
    with spawn.Pool(args.cores, keep_freed_memory) as actors, spawn.Pool(args.cores) as plain:
        for name in PLAIN:
            our_seconds, values = measure(actors, device, name, args)
            plain_seconds, expected = measure(plain, "plain", name, args)
            np.testing.assert_allclose(values, expected, rtol=0.01, atol=1e-4)
            if name == "mean_optical_flow":
                print(f"| all but flow | {1 / totals[0]:.2f} | {1 / totals[1]:.2f} | {totals[1] / totals[0]:.1f} |")
            totals += our_seconds, plain_seconds
            print(
                f"| {name} | {1 / our_seconds:.2f} | {1 / plain_seconds:.2f} | {plain_seconds / our_seconds:.1f} |",
                flush=True,
            )
    print(f"| all | {1 / totals[0]:.2f} | {1 / totals[1]:.2f} | {totals[1] / totals[0]:.1f} |")
    with spawn.Pool(1) as pool:
        print(f"a clip in flight takes {pool.apply(measure_memory, (make_clip(1, args.frames), device)):.0f} MiB")


if __name__ == "__main__":
    main()
