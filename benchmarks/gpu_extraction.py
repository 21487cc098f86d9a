"""Part 7 of benchmarks/gpu.py: a whole extraction, the job as a user starts it, and the stage that limits it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import ray  # noqa: F401 - says that Ray is missing before any clip is made
from gpu_part import SMALL, PartRun
from gpu_sampler import GpuSampler

from m3ray.datasets.demo import FOLDER, make_demo
from m3ray.storage.root import Root

TABLE, STAGES = "Whole extraction", "Whole extraction by stage"
TOP = Path(__file__).resolve().parents[1]
# Clips of the demo, each with its own size, rate and length; the others are copies of them, which cost as much.
DISTINCT, CLIPS = (4, 6) if SMALL else (24, 300)
FPS = 5 if SMALL else 15
ACTORS = 1 if SMALL else 2
CORES = os.cpu_count() or 1


def measure(run: PartRun) -> None:
    """Measure the part."""
    with tempfile.TemporaryDirectory() as folder:
        make_videos(Path(folder, "videos"))
        with GpuSampler() as gpu:
            done = start_job(Path(folder), max(1.0, run.left()))
        if done.returncode:
            last = (done.stdout + done.stderr).strip().splitlines()[-1:]
            raise RuntimeError(f"the job ended with exit status {done.returncode}: {' '.join(last)}")
        summary = json.loads(next(Path(folder, "out").glob("runs/*/summary.json")).read_text())
    add_rows(run, summary, gpu)


def make_videos(folder: Path) -> None:
    """Make the clips: some of the demo, and copies of them."""
    made = folder.with_name("made")
    make_demo(Root(str(made)), DISTINCT)
    folder.mkdir()
    videos = sorted((made / FOLDER).glob("*.mp4"))
    for number in range(CLIPS):
        shutil.copy(videos[number % len(videos)], folder / f"{number:04d}.mp4")


def start_job(folder: Path, seconds: float) -> subprocess.CompletedProcess[str]:
    """Start the job as a user does, and wait for it."""
    options = ["--dataset", "folder", "--root", str(folder / "videos"), "--out", str(folder / "out")]
    options += ["--weights", "untrained", "--fps", str(FPS), "--compute.actors", str(ACTORS)]
    options += [] if SMALL else ["--compute.device", "gpu", "--compute.actors-per-gpu", str(ACTORS)]
    command = [sys.executable, str(TOP / "jobs" / "extract.py"), *options]
    return subprocess.run(command, capture_output=True, text=True, timeout=seconds, check=False, cwd=folder)


def add_rows(run: PartRun, summary: Mapping[str, Any], gpu: GpuSampler) -> None:
    """Add what the run's own record says."""
    wall, stages = summary["extract_seconds"], summary["stage_seconds"]
    shares = share_of_workers(stages, wall)
    row = {
        "clips": summary["clips_done"],
        "rejected": summary["clips_rejected"],
        "clips/s, start-up of the actors included": summary["clips_done"] / wall,
        "extraction, s": wall,
        "whole job, s": summary["wall_seconds"],
        "limiting stage": max(shares, key=lambda stage: shares[stage]),
        "GPU busy, share of the whole job": gpu.busy,
        "GPU memory taken, GiB": gpu.peak_gib,
    }
    run.add_row(TABLE, row)
    for stage, seconds in stages.items():
        own = shares["decode" if stage == "decode" else "tiers"]
        cells = {"s a clip": seconds / max(1, summary["clips_done"]), "share of its workers' time": own}
        run.add_row(STAGES, {"stage": stage, **cells})
    run.note(f"decoding may take {CORES} cores, the tiers have {ACTORS} actors and share their time")


def share_of_workers(stages: Mapping[str, float], wall: float) -> dict[str, float]:
    """Share of time in which the workers of decoding and of the tiers were at work; the larger one limits the whole.

    Args:
        stages: seconds of work of each stage, over all processes.
        wall: seconds from the extraction's beginning to its end.
    Returns:
        Shares of `decode`, whose workers are the cores, and of `tiers`, whose workers are the actors.
    """
    tiers = sum(seconds for stage, seconds in stages.items() if stage != "decode")
    return {"decode": stages.get("decode", 0.0) / wall / CORES, "tiers": tiers / wall / ACTORS}
