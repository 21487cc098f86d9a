"""Extraction: throughput through Ray Data against the same functions in a plain loop, mixed lengths, and peak memory.

The reference is a loop that reads, decodes and computes the same clips and tiers, clip after clip, with one decoding
child that is kept, as ours keeps its own, and all cores for torch. The ideal is the functions' own CPU seconds,
measured in such a loop with one thread, over the cores: what perfect overlap without overhead would take. As many loops
of one thread as there are cores, side by side, show what of that the machine gives. Start-up (Ray, workers, networks)
is apart: the clock runs from the first computed clip to the last. What then lies between the ideal and ours is told as
core milliseconds a clip: driver, Ray's own processes, what workers take beyond the functions (object store, packing,
writing), and cores that wait.

    python benchmarks/extract.py [--clips 48] [--tiers raw scene event] [--fps 5] [--memory 50 100 200] [--long]
                                 [--before PATH]

`--before PATH` runs everything on the package of another checkout first, in the same hour on the same machine.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from itertools import pairwise

# Before torch comes: threads that spin while they wait would cost the loop what they do not cost our actors.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import numpy as np
import psutil
import torch
from throughput import CpuSampler, Sampler

from m3ray.config import ComputeConfig, DecodeConfig, LimitsConfig, TierConfigs
from m3ray.datasets.catalogue import write_catalogue
from m3ray.pipelines.extraction import dataflow as extraction
from m3ray.pipelines.extraction import planning
from m3ray.pipelines.runtime.cluster import Resources, connect_cluster
from m3ray.schema import Clip, catalogue_table
from m3ray.storage.root import Root
from m3ray.tiers import Tier, Window, WindowFeatures, fit_hog_projection
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


@dataclass(frozen=True)
class Frames:
    """Moving noise of 320x240 at 15 frames a second, made frame by frame: ten minutes of it would fill 2 GB."""

    base: np.ndarray
    first: int
    count: int

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.count, *self.base.shape)

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[np.ndarray]:
        for k in range(self.count):
            yield np.roll(self.base, (k + self.first, 2 * k), (0, 1))


def make_clips(folder: str, count: int, seconds: float = 3.0) -> list[Clip]:
    """Write clips of 320x240 at 15 frames a second with moving noise."""
    base = np.random.default_rng(0).integers(0, 256, (240, 320, 3), dtype=np.uint8)
    clips = []
    for number in range(count):
        path = os.path.join(folder, f"{number:04d}-{seconds:g}.mp4")
        with open(path, "wb") as file:
            file.write(encode_clip(Frames(base, number, round(15 * seconds)), 15))  # type: ignore[arg-type]
        clips.append(Clip(os.path.basename(path), path))
    return clips


def make_all_tiers(names: list[str], configs: TierConfigs) -> list[Tier]:
    rows = np.random.default_rng(0).random((20, LENGTH)).astype(np.float32)
    sources = {name: WeightSource() for name in ("scene", "event")}
    return make_tiers(names, TierInputs(configs, sources, fit_hog_projection(iter(rows))))


def measure_loop(clips: list[Clip], names: list[str], configs: TierConfigs, threads: int) -> tuple[float, float]:
    """Measure wall and CPU seconds of decoding and computing clip after clip; set-up and one warm-up clip apart."""
    torch.set_num_threads(threads)
    tiers = make_all_tiers(names, configs)
    keep_freed_memory()  # as the tier actors do: what is compared is Ray, not malloc
    decoder = Decoder(configs.decode, LIMITS)
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


def measure_loops(clips: list[Clip], names: list[str], configs: TierConfigs) -> float:
    """Measure the clips a second of a loop of one thread a core, each in a process of its own and over all clips."""
    cores = os.cpu_count() or 1
    with multiprocessing.get_context("spawn").Pool(cores) as pool:
        work = [(clips, names, configs, 1)] * cores
        walls = [wall for wall, _ in pool.starmap(measure_loop, work, chunksize=1)]
    return sum(len(clips) / wall for wall in walls)


def _cpu_seconds(processes: list[psutil.Process]) -> float:
    return sum(p.cpu_times().user + p.cpu_times().system for p in processes)


@dataclass
class StampedTier:
    """A tier that notes in a file when it has computed how many clips."""

    tier: Tier
    path: str

    def __post_init__(self) -> None:
        self.name, self.whole_clip, self.untrained = self.tier.name, self.tier.whole_clip, self.tier.untrained
        self.schema, self.identity, self.setup = self.tier.schema, self.tier.identity, self.tier.setup

    def compute(self, windows: Sequence[Window]) -> list[WindowFeatures]:
        features = self.tier.compute(windows)
        with open(self.path, "a") as file:
            file.write(f"{time.time()} {len(windows)} {sum(len(window.frames) for window in windows)}\n")
        return features


@dataclass(frozen=True)
class RayRun:
    """What a run through Ray took.

    Args:
        rate: clips a second from the first computed one to the last; 0 where there was one batch.
        start: seconds until the first computed clip.
        tail: seconds from the last computed clip to the end: last commits, merging.
        wall: seconds of all.
        cpu_ms: CPU milliseconds a clip of each kind of process, between first and last clip.
        cpu_ms_a_frame: CPU milliseconds of workers a frame, between first and last clip.
    """

    rate: float
    start: float
    tail: float
    wall: float
    cpu_ms: dict[str, float]
    cpu_ms_a_frame: float


def measure_ray(clips: list[Clip], tiers: list[Tier], configs: TierConfigs, on: Resources) -> RayRun:
    """Measure an extraction."""
    with tempfile.TemporaryDirectory() as folder, CpuSampler() as cpu:
        root, stamps = Root(f"{folder}/root"), f"{folder}/stamps"
        stamped = [*tiers[:-1], StampedTier(tiers[-1], stamps)]
        table = write_catalogue(root, catalogue_table(clips), 0)
        plan = planning.plan(root, table, stamped, configs, retry=False)
        start = time.time()
        settings = extraction.Settings(configs, LIMITS, ComputeConfig(shard_clips=4), on)
        progress = extraction.run(plan, settings)
        end = time.time()
        rows = np.loadtxt(stamps, ndmin=2)
    if progress.rejected:
        raise SystemExit(f"{progress.rejected} clips were rejected")
    rows = rows[np.argsort(rows[:, 0])]
    first, last, count = rows[0, 0], rows[-1, 0], rows[1:, 1].sum()
    rate = float(count / (last - first)) if len(rows) > 1 else 0.0
    spent = {kind: 1000 * seconds / max(1, count) for kind, seconds in cpu.between(first, last).items()}
    a_frame = spent["workers"] * count / max(1, rows[1:, 2].sum())
    return RayRun(rate, first - start, end - last, end - start, spent, a_frame)


class PeakMemory(Sampler):
    """Peak memory of this process and all its descendants, shared pages counted once (PSS), MiB."""

    def __init__(self) -> None:
        self.peak = 0.0

    def sample(self) -> None:
        """Sum the memory of all processes."""
        total = 0
        for process in [psutil.Process(), *psutil.Process().children(recursive=True)]:
            try:
                total += process.memory_full_info().pss
            except (psutil.Error, AttributeError):
                continue
        self.peak = max(self.peak, total / 2**20)


def print_throughput(clips: list[Clip], names: list[str], configs: TierConfigs) -> None:
    """Print a row of the comparison, and what the gap to the ideal is made of."""
    cores = os.cpu_count() or 1
    loop_wall, _ = measure_loop(clips, names, configs, cores)
    _, loop_cpu = measure_loop(clips, names, configs, 1)
    loops = measure_loops(clips, names, configs)
    with connect_cluster() as on:
        run = measure_ray(clips, make_all_tiers(names, configs), configs, on)
    if not run.rate:
        raise SystemExit("all clips fit one batch, so there is no rate: give more --clips")
    loop, ideal = len(clips) / loop_wall, len(clips) * cores / loop_cpu
    print(f"\n| {HEADER} |\n|---|---|---|---|---|---|---|---|---|---|")
    cells = [f"{x:.2f}" for x in (loop, loops, ideal, run.rate, run.rate / loop, run.rate / ideal)]
    cells += [f"{x:.1f}" for x in (run.start, run.tail, run.wall)]
    print("| " + " | ".join([" ".join(names), *cells]) + " |")
    own, all_cores = 1000 * loop_cpu / len(clips), 1000 * cores / run.rate
    cpu = {kind: run.cpu_ms.get(kind, 0.0) for kind in ("driver", "raylet and gcs", "workers")}
    parts = {"the functions themselves": own}
    parts |= {"driver": cpu["driver"], "raylet and gcs": cpu["raylet and gcs"]}
    parts["workers beyond the functions (store, packing, ledger, writer)"] = cpu["workers"] - own
    parts["cores that wait"] = all_cores - sum(cpu.values())
    print("\n| core ms a clip | | share |\n|---|---|---|")
    for name, spent in parts.items():
        print(f"| {name} | {spent:.1f} | {spent / all_cores:.2f} |", flush=True)


HEADER = (
    "tiers | loop, clips/s | a loop a core, clips/s | ideal, clips/s | Ray, clips/s | Ray / loop (goal 1) | "
    "Ray / ideal (goal 0.9) | until the first clip is computed, s | tail, s | wall, s"
)


def print_long(names: list[str], configs: TierConfigs, short: int, long: int) -> None:
    """Print what a frame costs in clips of 60 s beside short ones, apart and mixed; and memory over length."""
    print("\n| clips | tiers | CPU ms of workers a frame | of short clips' (goal 1.1) |\n|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        few, many = make_clips(folder, long, 60.0), make_clips(folder, short)
        sets = [("3 s", many), ("60 s", few), ("3 s and 60 s", many + few)]
        base = 0.0
        for label, clips in sets:
            with connect_cluster() as on:
                cost = measure_ray(clips, make_all_tiers(names, configs), configs, on).cpu_ms_a_frame
            base = base or cost
            print(f"| {len(clips)} of {label} | {' '.join(names)} | {cost:.2f} | {cost / base:.2f} |", flush=True)
    peaks = [measure_peak(names, configs, seconds) for seconds in (3.0, 600.0)]
    print("\n| one clip of | peak memory, MiB | of the short one's (goal 1.2) |\n|---|---|---|")
    for seconds, peak in zip((3, 600), peaks, strict=True):
        print(f"| {seconds} s | {peak:.0f} | {peak / peaks[0]:.2f} |", flush=True)


def measure_peak(names: list[str], configs: TierConfigs, seconds: float) -> float:
    """Measure the peak memory of extracting one clip of a length, MiB."""
    with tempfile.TemporaryDirectory() as folder:
        clips = make_clips(folder, 1, seconds)
        with PeakMemory() as peak, connect_cluster() as on:
            measure_ray(clips, make_all_tiers(names, configs), configs, on)
        return peak.peak


def print_memory(counts: list[int], configs: TierConfigs) -> None:
    """Measure peak memory with all frames decoded and a tier that sees one: decoding runs ahead as far as it can."""
    print("\n| clips of 3 s | peak memory, MiB |\n|---|---|")
    for count in counts:
        with tempfile.TemporaryDirectory() as folder:
            clips = make_clips(folder, count)
            with PeakMemory() as peak_memory, connect_cluster() as on:
                measure_ray(clips, make_all_tiers(["scene"], configs), configs, on)
            print(f"| {count} | {peak_memory.peak:.0f} |", flush=True)


def run_before(path: str) -> None:
    """Run the same command on the package of another checkout, the benchmark being this one."""
    folder = os.path.dirname(os.path.abspath(__file__))
    paths = os.pathsep.join([os.path.abspath(path), folder])
    arguments = [x for a, x in pairwise(["", *sys.argv[1:]]) if "--before" not in (a, x)]
    print(f"before ({path}):", flush=True)
    subprocess.run(
        [sys.executable, os.path.abspath(__file__), *arguments],
        env={**os.environ, "PYTHONPATH": paths},
        check=True,
        cwd=path,
    )
    print("\nnow:", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, default=48)
    parser.add_argument("--tiers", nargs="+", action="append")
    parser.add_argument("--fps", type=float, default=5.0)
    parser.add_argument("--memory", type=int, nargs="*", default=[50, 100, 200])
    parser.add_argument("--long", action="store_true")
    parser.add_argument("--long-clips", type=int, nargs=2, default=[80, 8], help="clips of 3 s and of 60 s")
    parser.add_argument("--before", help="another checkout")
    options = parser.parse_args()
    if options.before:
        run_before(options.before)
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, {date.today()}")
    configs = resolve_precision(TierConfigs(decode=DecodeConfig(fps=options.fps)), bfloat16=BFLOAT16)
    tiers = options.tiers or [["raw"], ["raw", "scene", "event"]]
    with tempfile.TemporaryDirectory() as folder:
        clips = make_clips(folder, options.clips) if options.clips else []
        for names in tiers if clips else []:
            print_throughput(clips, names, configs)
    if options.long:
        print_long(tiers[0], configs, *options.long_clips)
    if options.memory:
        print_memory(options.memory, resolve_precision(TierConfigs(), bfloat16=BFLOAT16))


if __name__ == "__main__":
    main()
