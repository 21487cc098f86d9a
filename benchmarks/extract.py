"""Extraction: throughput through Ray Data against the same functions in a plain loop, and peak memory by clips.

The reference is a loop that decodes a clip and computes its tiers, clip after clip, with all cores for torch. The ideal
is the functions' own CPU seconds, measured in that loop, over the cores: what perfect overlap without overhead would
take.
Start-up (Ray, workers, networks) is apart: the clock runs from the first committed clip to the last.

    python benchmarks/extract.py [--clips 48] [--tiers raw scene event] [--fps 5] [--memory 50 100 200]
"""

from __future__ import annotations

import argparse
import os
import platform
import tempfile
import threading
import time
from datetime import date

import numpy as np
import psutil
import torch

from m3ray.config import ComputeConfig, DecodeConfig, LimitsConfig, TierConfigs
from m3ray.datasets.catalogue import write_catalogue
from m3ray.pipelines.extraction import dataflow as extraction
from m3ray.pipelines.extraction import planning
from m3ray.pipelines.runtime.cluster import Resources, connect_cluster
from m3ray.pipelines.runtime.progress import Progress
from m3ray.schema import Clip, catalogue_table
from m3ray.storage.root import Root
from m3ray.tiers import Tier, Window, fit_hog_projection
from m3ray.tiers.backbones.prepare import fastest_precision
from m3ray.tiers.factory import TierInputs, make_tiers, resolve_precision
from m3ray.tiers.hog import LENGTH
from m3ray.tiers.malloc import keep_freed_memory
from m3ray.tiers.network import WeightSource
from m3ray.video.encode import encode_clip
from m3ray.video.reader import read_video
from m3ray.video.sandbox import Decoder

LIMITS = LimitsConfig()

BFLOAT16 = fastest_precision(torch.device("cpu")) is torch.bfloat16


def make_clips(folder: str, count: int, seconds: float = 3.0) -> list[Clip]:
    """Write clips of 320x240 at 15 frames a second with moving noise."""
    rng = np.random.default_rng(0)
    base = rng.integers(0, 256, (240, 320, 3), dtype=np.uint8)
    clips = []
    for number in range(count):
        frames = np.stack([np.roll(base, (k + number, 2 * k), (0, 1)) for k in range(round(15 * seconds))])
        path = os.path.join(folder, f"{number:04d}.mp4")
        with open(path, "wb") as file:
            file.write(encode_clip(frames, 15))
        clips.append(Clip(f"{number:04d}", path))
    return clips


def make_all_tiers(names: list[str], configs: TierConfigs) -> list[Tier]:
    rows = np.random.default_rng(0).random((20, LENGTH)).astype(np.float32)
    sources = {name: WeightSource() for name in ("scene", "event")}
    return make_tiers(names, TierInputs(configs, sources, fit_hog_projection(iter(rows))))


def measure_loop(clips: list[Clip], tiers: list[Tier], decode: DecodeConfig) -> tuple[float, float]:
    """Measure wall and CPU seconds of decoding and computing clip after clip; set-up and one warm-up clip apart."""
    torch.set_num_threads(os.cpu_count() or 1)
    keep_freed_memory()  # as the tier actors do: what is compared is Ray, not malloc
    decoder = Decoder(decode, LIMITS)
    for tier in tiers:
        tier.setup(torch.device("cpu"))

    def compute(clip: Clip) -> None:
        for index, (metadata, frames) in enumerate(decoder.windows(read_video(clip.uri, LIMITS.max_bytes))):
            for tier in tiers:
                tier.compute([Window(frames, index, None, metadata.video_bytes)])

    compute(clips[0])
    processes = [psutil.Process(), *psutil.Process().children()]
    cpu, wall = _cpu_seconds(processes), time.perf_counter()
    for clip in clips:
        compute(clip)
    result = time.perf_counter() - wall, _cpu_seconds(processes) - cpu
    decoder.close()
    return result


def _cpu_seconds(processes: list[psutil.Process]) -> float:
    return sum(p.cpu_times().user + p.cpu_times().system for p in processes)


def measure_ray(clips: list[Clip], tiers: list[Tier], configs: TierConfigs, on: Resources) -> tuple[float, float]:
    """Measure clips a second from the first commit to the last, and the wall seconds of all."""
    with tempfile.TemporaryDirectory() as folder:
        root = Root(folder)
        plan = planning.plan(root, write_catalogue(root, catalogue_table(clips), 0), tiers, configs, retry=False)
        marks: list[tuple[float, int]] = []
        start = time.perf_counter()
        shard = ComputeConfig(shard_clips=4)
        original = Progress.add

        def add(self: Progress, done: int, rejected: int, seconds: dict[str, float]) -> None:
            marks.append((time.perf_counter(), done + rejected))
            original(self, done, rejected, seconds)

        Progress.add = add  # type: ignore[method-assign]
        try:
            extraction.run(plan, extraction.Settings(configs, LIMITS, shard, on))
        finally:
            Progress.add = original  # type: ignore[method-assign]
        clips_after_first = sum(count for _, count in marks[1:])
        if not clips_after_first:
            raise SystemExit("all clips fit one shard, so there is no rate: give more --clips")
        return clips_after_first / (marks[-1][0] - marks[0][0]), time.perf_counter() - start


class PeakMemory:
    """Peak memory of this process and all its descendants, shared pages counted once (PSS), MiB."""

    def __enter__(self) -> PeakMemory:
        self.peak, self._stop = 0.0, threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._stop.wait(0.5):
            total = 0
            for process in [psutil.Process(), *psutil.Process().children(recursive=True)]:
                try:
                    total += process.memory_full_info().pss
                except (psutil.Error, AttributeError):
                    continue
            self.peak = max(self.peak, total / 2**20)


def print_throughput(clips: list[Clip], names: list[str], configs: TierConfigs) -> None:
    loop_wall, loop_cpu = measure_loop(clips, make_all_tiers(names, configs), configs.decode)
    with connect_cluster() as on:
        rate, wall = measure_ray(clips, make_all_tiers(names, configs), configs, on)
    loop, ideal = len(clips) / loop_wall, len(clips) * (os.cpu_count() or 1) / loop_cpu
    cells = [f"{x:.2f}" for x in (loop, ideal, rate, rate / loop, rate / ideal)]
    print("| " + " | ".join([" ".join(names), *cells, f"{wall:.0f}"]) + " |", flush=True)


def print_memory(counts: list[int], configs: TierConfigs) -> None:
    """Measure peak memory with all frames decoded and a tier that sees one: decoding runs ahead as far as it can."""
    print("\n| clips of 3 s | peak memory, MiB |\n|---|---|")
    for count in counts:
        with tempfile.TemporaryDirectory() as folder:
            clips = make_clips(folder, count)
            with PeakMemory() as peak_memory, connect_cluster() as on:
                measure_ray(clips, make_all_tiers(["scene"], configs), configs, on)
            print(f"| {count} | {peak_memory.peak:.0f} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, default=48)
    parser.add_argument("--tiers", nargs="+", action="append")
    parser.add_argument("--fps", type=float, default=5.0)
    parser.add_argument("--memory", type=int, nargs="*", default=[50, 100, 200])
    options = parser.parse_args()
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, {date.today()}")
    configs = resolve_precision(
        TierConfigs(decode=DecodeConfig(fps=options.fps)),
        bfloat16=fastest_precision(torch.device("cpu")) is torch.bfloat16,
    )
    print(
        "| tiers | loop, clips/s | ideal, clips/s | Ray, clips/s | Ray / loop | Ray / ideal | wall with start-up, s |"
    )
    print("|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        clips = make_clips(folder, options.clips)
        for names in options.tiers or [["raw"], ["raw", "scene", "event"]]:
            print_throughput(clips, names, configs)
    if options.memory:
        print_memory(
            options.memory,
            resolve_precision(TierConfigs(), bfloat16=BFLOAT16),
        )


if __name__ == "__main__":
    main()
