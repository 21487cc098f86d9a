"""Finetuning: speed of a step through Ray Train against a plain PyTorch loop, waiting, memory, and cost of a run.

The reference is a plain loop: the same model and optimiser, frames in memory, loss.backward() on each batch. On a CPU
at small size (or `--size`, `--frames`); on a GPU, where there is one, at full size. Then the hours and dollars of
Memento10k on 1 x H100 and 8 x A10G, from counted operations and an assumed share of the devices' peak.

    python benchmarks/unfrozen.py [--steps 20] [--batch 8] [--size 64] [--frames 8]
"""

from __future__ import annotations

import argparse
import os
import platform
import tempfile
import time
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Literal

import numpy as np
import ray
import torch
from chaos import make_videos
from torch.utils.flop_counter import FlopCounterMode

from m3ray.config import DecodeConfig, LimitsConfig, TrainConfig
from m3ray.config.finetuning import FinetuneConfig
from m3ray.model import MLP
from m3ray.pipelines.finetuning.prepare import resolve_precision
from m3ray.pipelines.finetuning.streams import make_streams
from m3ray.pipelines.finetuning.train import train_run
from m3ray.pipelines.runtime.cluster import connect_cluster
from m3ray.storage.root import Root
from m3ray.tiers.finetuned import build_networks
from m3ray.tiers.network import WeightSource
from m3ray.training.finetuning.model import FinetuneModel
from m3ray.training.finetuning.sampler import ClipSampler, plan_step
from m3ray.training.finetuning.spec import FinetuneSpec, build_model
from m3ray.video.frame_cache import FrameCache

COLUMNS = {"scene": np.arange(15, 735), "event": np.arange(735, 2783)}
INPUTS = 2_788
# Memento10k: train clips of 3 s at 15 frames a second; five epochs as the presets have them.
CLIPS, FRAMES, EPOCHS = 7_000, 45, 5
# Dense bfloat16 peak of the makers' data sheets, TFLOP/s, the share of it assumed (CSN's depthwise convolutions wait
# for memory), and dollars an hour on demand.
DEVICES = {"1 x H100": (1, 989.0, 0.05, 12.3), "8 x A10G": (8, 125.0, 0.05, 8 * 2.03)}


def make_spec(config: FinetuneConfig, clips: int, workers: int) -> FinetuneSpec:
    """Make a model and clips of random features: their values do not change how long a step takes."""
    rng = np.random.default_rng(0)
    layout = plan_step(config.batch, workers, config.micro_batch)
    head = MLP(INPUTS)
    rows = np.arange(clips + 2)
    return FinetuneSpec(
        training=TrainConfig(),
        config=config,
        sources={name: WeightSource() for name in COLUMNS},
        network="ip",
        head={name: value.numpy() for name, value in head.state_dict().items()},
        hidden=(512, 64),
        columns=COLUMNS,
        matrix=rng.normal(size=(len(rows), INPUTS)).astype(np.float32),
        scores=rng.random(len(rows)).astype(np.float32),
        train=rows[:clips],
        evaluated=rows[clips:],
        val=2,
        sampler=ClipSampler(clips, config.batch, 0, layout.capacity),
        layout=layout,
    )


def measure_ours(config: FinetuneConfig, folder: Path, steps: int) -> tuple[float, float]:
    """Measure clips a second through Ray Train, and the share of time spent waiting for frames."""
    clips = steps * config.batch
    videos = sorted(str(path) for path in make_videos(folder / "videos", 16).iterdir())
    uris = [videos[k % len(videos)] for k in range(clips + 2)]
    store = FrameCache(DecodeConfig(fps=10), config.size, str(folder / "frames"))
    with connect_cluster(dashboard=True) as on:
        work = make_spec(resolve_precision(config, on), clips, max(1, on.gpus))
        storage = Root(str(folder / "storage"))
        frames = make_streams(work, uris, store, LimitsConfig(), storage.subroot("run"))
        history = train_run(storage, "run", work, frames, on)
    return config.batch / history.seconds_a_step, history.waiting


def measure_plain(config: FinetuneConfig, steps: int, device: torch.device) -> tuple[float, float]:
    """Measure clips a second of a plain loop, and its peak memory on a GPU, GiB."""
    work = make_spec(config, config.batch, 1)
    model = build_model(work).to(device).train()
    optimiser = torch.optim.Adam(model.parameter_groups(config), weight_decay=config.weight_decay)
    generator = torch.Generator().manual_seed(0)
    shape = (config.batch, min(config.frames, 8), config.size, config.size, 3)
    frames = torch.randint(0, 256, shape, generator=generator, dtype=torch.uint8)
    rows, scores = (torch.from_numpy(x[: config.batch]).to(device) for x in (work.matrix, work.scores))
    times = []
    for _ in range(steps):
        start_time = time.perf_counter()
        optimiser.zero_grad()
        for start in range(0, config.batch, config.micro_batch):
            part = slice(start, start + config.micro_batch)
            with torch.autocast(device.type, torch.bfloat16, enabled=config.precision == "bfloat16"):
                predicted = model(list(frames[part].to(device)), rows[part])
            loss = (predicted.float() - scores[part]).square().sum() / config.batch
            loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), config.clip_norm)
        optimiser.step()
        if device.type == "cuda":
            torch.cuda.synchronize()
        times.append(time.perf_counter() - start_time)
    memory = torch.cuda.max_memory_allocated() / 2**30 if device.type == "cuda" else float("nan")
    return config.batch / float(np.median(times[1:])), memory


def count_gigaflop() -> float:
    """Count the GFLOP of a forward pass of a clip of 45 frames of 256x256, on tensors without memory."""
    with torch.device("meta"):
        model = FinetuneModel(
            build_networks(["scene", "event"], "ip"), MLP(INPUTS), COLUMNS, FinetuneConfig(checkpointing=False)
        )
        scene, event = torch.empty(1, 3, 256, 256), torch.empty(1, 3, FRAMES, 256, 256)
    with FlopCounterMode(display=False) as counter:
        model.networks["scene"](scene)
        model.networks["event"](event)
    return counter.get_total_flops() / 1e9


def print_cost(forward: float) -> None:
    """Print the arithmetic and cost of a run: forward and backward are three times a forward pass.

    Both kinds of devices hold the activations of their preset's micro-batch; recomputation would make it four times.
    """
    total = 3 * forward * CLIPS * EPOCHS
    print(f"\nA forward pass of a clip: {forward:.0f} GFLOP; with the backward pass three times that;")
    print(f"{CLIPS:,} clips x {EPOCHS} epochs: {total / 1e6:.1f} PFLOP. Rates are assumed, prices change.")
    print("| devices | peak, TFLOP/s | share assumed | hours | dollars |\n|---|---|---|---|---|")
    for name, (count, peak, share, price) in DEVICES.items():
        hours = total / (count * peak * 1e3 * share) / 3600
        print(f"| {name} | {count} x {peak:.0f} | {share:.2f} | {hours:.2f} | {hours * price:.1f} |")


def main() -> None:
    parser = argparse.ArgumentParser()
    gpu = torch.cuda.is_available()
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--batch", type=int, default=32 if gpu else 8)
    parser.add_argument("--size", type=int, default=256 if gpu else 64)
    parser.add_argument("--frames", type=int, default=8)
    args = parser.parse_args()
    device = torch.device("cuda" if gpu else "cpu")
    precision: Literal["bfloat16", "float32"] = "bfloat16" if gpu else "float32"
    base = FinetuneConfig(epochs=1, batch=args.batch, size=args.size, frames=args.frames, precision=precision)
    print(f"{platform.machine()}, {os.cpu_count()} CPUs, {date.today()}, {device}; {args.batch} clips a step, ")
    print(f"{args.frames} frames of {args.size}x{args.size}, {precision}")
    print("| at once | recomputed | plain, clips/s | ours, clips/s | ours / plain (goal 0.95) | waiting (goal 5 %) |")
    print("|---|---|---|---|---|---|")
    for micro, recomputed in ((args.batch, False), (args.batch, True), (args.batch // 2, False)):
        config = replace(base, micro_batch=micro, checkpointing=recomputed)
        plain_rate, memory = measure_plain(config, 6, device)
        with tempfile.TemporaryDirectory() as folder:
            our_rate, waiting = measure_ours(config, Path(folder), args.steps)
        note = f" ({memory:.1f} GiB)" if gpu else ""
        cells = [str(micro), "yes" if recomputed else "no", f"{plain_rate:.2f}{note}", f"{our_rate:.2f}"]
        print("| " + " | ".join([*cells, f"{our_rate / plain_rate:.2f}", f"{100 * waiting:.1f} %"]) + " |", flush=True)
    print_cost(count_gigaflop())
    ray.shutdown()


if __name__ == "__main__":
    main()
