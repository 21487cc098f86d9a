"""Training from frames: our step through Ray Train against a plain PyTorch loop, waiting, memory, and what a run costs.

The peer is the usual loop: the same model and optimiser, frames in memory, loss.backward() on each batch. On a CPU at
small size (or `--size`, `--frames`); on a GPU, where there is one, at full size. Then the hours and dollars of
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

import numpy as np
import ray
import torch
from chaos import make_videos
from torch.utils.flop_counter import FlopCounterMode

from m3ray.config import DecodeConfig, LimitsConfig, TrainConfig
from m3ray.config.finetuning import UnfrozenConfig
from m3ray.model import MLP
from m3ray.pipelines.finetuning.prepare import resolved
from m3ray.pipelines.finetuning.streams import streams
from m3ray.pipelines.finetuning.train import fit
from m3ray.pipelines.runtime.cluster import connected
from m3ray.tiers.finetuned import networks
from m3ray.tiers.network import WeightSource
from m3ray.training.finetuning.model import FullModel
from m3ray.training.finetuning.sampler import Order, lay_out
from m3ray.training.finetuning.spec import Work, built
from m3ray.video.frame_cache import FrameStore

COLUMNS = {"scene": np.arange(15, 735), "event": np.arange(735, 2783)}
INPUTS = 2_788
# Memento10k: train clips of 3 s at 15 frames a second; five epochs as the presets have them.
CLIPS, FRAMES, EPOCHS = 7_000, 45, 5
# Dense bfloat16 peak of the makers' data sheets, TFLOP/s, the share of it assumed (CSN's depthwise convolutions wait
# for memory), and dollars an hour on demand.
DEVICES = {"1 x H100": (1, 989.0, 0.05, 12.3), "8 x A10G": (8, 125.0, 0.05, 8 * 2.03)}


def some_work(config: UnfrozenConfig, clips: int, workers: int) -> Work:
    """A model and clips of made-up features: what they say does not change how long a step takes."""
    rng = np.random.default_rng(0)
    layout = lay_out(config.batch, workers, config.micro_batch, clips)
    head = MLP(INPUTS)
    rows = np.arange(clips + 2)
    return Work(
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
        judged=rows[clips:],
        val=2,
        order=Order(clips, config.batch, 0),
        layout=layout,
    )


def ours(config: UnfrozenConfig, folder: Path, steps: int) -> tuple[float, float]:
    """Clips a second through Ray Train, and the share of time spent waiting for frames."""
    clips = steps * config.batch
    videos = sorted(str(path) for path in make_videos(folder / "videos", 16).iterdir())
    uris = [videos[k % len(videos)] for k in range(clips + 2)]
    store = FrameStore(DecodeConfig(fps=10), config.size, str(folder / "frames"))
    with connected(dashboard=True) as on:
        work = some_work(resolved(config, on), clips, max(1, on.gpus))
        storage = str(folder / "storage")
        found = fit(storage, "run", work, streams(work, uris, store, LimitsConfig(), f"{storage}/run"), on)
    return config.batch / found.seconds_a_step, found.waiting


def plain(config: UnfrozenConfig, steps: int, device: torch.device) -> tuple[float, float]:
    """Clips a second of the usual loop, and its peak memory on a GPU, GiB."""
    work = some_work(config, config.batch, 1)
    model = built(work).to(device).train()
    optimiser = torch.optim.Adam(model.groups(config), weight_decay=config.weight_decay)
    generator = torch.Generator().manual_seed(0)
    shape = (config.batch, min(config.frames, 8), config.size, config.size, 3)
    frames = torch.randint(0, 256, shape, generator=generator, dtype=torch.uint8)
    rows, scores = (torch.from_numpy(x[: config.batch]).to(device) for x in (work.matrix, work.scores))
    times = []
    for _ in range(steps):
        begun = time.perf_counter()
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
        times.append(time.perf_counter() - begun)
    memory = torch.cuda.max_memory_allocated() / 2**30 if device.type == "cuda" else float("nan")
    return config.batch / float(np.median(times[1:])), memory


def operations() -> float:
    """GFLOP of a forward pass of one clip of 45 frames of 256x256, counted by PyTorch on tensors without memory."""
    with torch.device("meta"):
        model = FullModel(networks(["scene", "event"], "ip"), MLP(INPUTS), COLUMNS, UnfrozenConfig(checkpointing=False))
        scene, event = torch.empty(1, 3, 256, 256), torch.empty(1, 3, FRAMES, 256, 256)
    with FlopCounterMode(display=False) as counter:
        model.networks["scene"](scene)
        model.networks["event"](event)
    return counter.get_total_flops() / 1e9


def memento10k(forward: float) -> None:
    """Prints the arithmetic of a run: forward, recomputation and backward are four times a forward pass."""
    total = 4 * forward * CLIPS * EPOCHS
    print(f"\nA forward pass of a clip: {forward:.0f} GFLOP; with recomputation and backward four times that;")
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
    asked = parser.parse_args()
    device = torch.device("cuda" if gpu else "cpu")
    precision = "bfloat16" if gpu else "float32"
    base = UnfrozenConfig(epochs=1, batch=asked.batch, size=asked.size, frames=asked.frames, precision=precision)
    print(f"{platform.machine()}, {os.cpu_count()} CPUs, {date.today()}, {device}; {asked.batch} clips a step, ")
    print(f"{asked.frames} frames of {asked.size}x{asked.size}, {precision}")
    print("| at once | recomputed | plain, clips/s | ours, clips/s | ours / plain (goal 0.95) | waiting (goal 5 %) |")
    print("|---|---|---|---|---|---|")
    for micro, recomputed in ((asked.batch, False), (asked.batch, True), (asked.batch // 2, False)):
        config = replace(base, micro_batch=micro, checkpointing=recomputed)
        usual, memory = plain(config, 6, device)
        with tempfile.TemporaryDirectory() as folder:
            found, waiting = ours(config, Path(folder), asked.steps)
        note = f" ({memory:.1f} GiB)" if gpu else ""
        cells = [str(micro), "yes" if recomputed else "no", f"{usual:.2f}{note}", f"{found:.2f}"]
        print("| " + " | ".join([*cells, f"{found / usual:.2f}", f"{100 * waiting:.1f} %"]) + " |", flush=True)
    memento10k(operations())
    ray.shutdown()


if __name__ == "__main__":
    main()
