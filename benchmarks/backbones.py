"""Backbones: throughput of each as the tiers run it, against the plain float32 module and this machine's peak.

The reference is the plain module: eval, float32, PyTorch's default layout, batch norms apart. Ours is what a tier
actor runs: batch norms folded, channels last, bfloat16 where the device computes in it, freed memory kept, on CPUs
with bias, additions and ReLUs in the convolutions; "unfused" is the same without the last. Each subject has a process
of its own, so that none profits from the other's settings; rounds alternate, and the best counts. The peak is the best
of some square matrix products in the same precision, in the same run. Arithmetic is counted by PyTorch's
FlopCounterMode on the plain module (a multiply-add is two).

    python benchmarks/backbones.py [--frames 24] [--size 256] [--batch 1] [--rounds 3] [--profile] [--compile]
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import date
from functools import partial
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode

from m3ray.tiers.backbones import fill_untrained_, hrnetv2_w48, ip_csn_152, ir_csn_152, prepare_network
from m3ray.tiers.backbones.fused import fuse_convolutions_
from m3ray.tiers.backbones.onednn import OneDnnConvolution, can_fuse
from m3ray.tiers.backbones.prepare import fastest_precision
from m3ray.tiers.event import NORMALISE
from m3ray.tiers.malloc import keep_freed_memory
from m3ray.tiers.network import Network, WeightSource

NETWORKS = {"hrnetv2_w48": hrnetv2_w48, "ip_csn_152": ip_csn_152, "ir_csn_152": ir_csn_152}
DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
GEMM_SIZES = (2048, 4096, 8192) if DEVICE.type == "cuda" else (1024, 2048, 4096)


def measure_seconds(work: Callable[[], Any], least: float = 2.0, fewest: int = 3) -> float:
    """Measure the best of several calls after a first one, which allocates."""
    work()
    best, spent, calls = float("inf"), 0.0, 0
    while spent < least or calls < fewest:
        _synchronise()
        start = time.perf_counter()
        work()
        _synchronise()
        took = time.perf_counter() - start
        best, spent, calls = min(best, took), spent + took, calls + 1
    return best


def _synchronise() -> None:
    if DEVICE.type == "cuda":
        torch.cuda.synchronize()


def make_input(name: str, args: argparse.Namespace) -> Tensor:
    """Make noise as input: frames and normalisation cost the same whatever they show."""
    time_and_plane = (args.size, args.size) if name.startswith("hrnet") else (args.frames, args.size, args.size)
    return torch.randn(args.batch, 3, *time_and_plane, generator=torch.Generator().manual_seed(0))


def count_gigaflop(name: str, args: argparse.Namespace) -> float:
    """Count the arithmetic of one batch without computing it."""
    with torch.device("meta"), FlopCounterMode(display=False) as counter:
        NETWORKS[name]().eval()(make_input(name, args).to("meta"))
    return counter.get_total_flops() / 1e9


def estimate_traffic(network: nn.Module, x: Tensor) -> float:
    """Estimate what the convolutions of one batch read and write, each activation and weight once a layer; GB."""
    total = 0

    def count(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        nonlocal total
        total += sum(t.numel() * t.element_size() for t in (inputs[0], output, *module.parameters()))

    hooks = [m.register_forward_hook(count) for m in network.modules() if isinstance(m, nn.Conv2d | nn.Conv3d)]
    network(x)
    for hook in hooks:
        hook.remove()
    return total / 1e9


@torch.inference_mode()
def measure_plain(name: str, args: argparse.Namespace) -> dict[str, Any]:
    network, x = fill_untrained_(NETWORKS[name]()).eval().to(DEVICE), make_input(name, args).to(DEVICE)
    return {"seconds": measure_seconds(lambda: network(x))}


def measure_ours(name: str, args: argparse.Namespace) -> dict[str, Any]:
    return measure_prepared(name, args, fastest_precision(DEVICE), fused=True)


def measure_unfused(name: str, args: argparse.Namespace) -> dict[str, Any]:
    return measure_prepared(name, args, fastest_precision(DEVICE), fused=False)


def measure_float32(name: str, args: argparse.Namespace) -> dict[str, Any]:
    return measure_prepared(name, args, torch.float32, fused=True)


def measure_float32_unfused(name: str, args: argparse.Namespace) -> dict[str, Any]:
    return measure_prepared(name, args, torch.float32, fused=False)


@torch.inference_mode()
def measure_prepared(name: str, args: argparse.Namespace, precision: torch.dtype, *, fused: bool) -> dict[str, Any]:
    keep_freed_memory()
    network = prepare_network(fill_untrained_(NETWORKS[name]()), DEVICE, precision)
    # As the tiers' normalisation leaves it: channels last in memory, second in name.
    x = make_input(name, args).to(DEVICE, precision).movedim(1, -1).contiguous().movedim(-1, 1)
    traffic = estimate_traffic(network, x)
    if fused and can_fuse(DEVICE, precision):
        network = fuse_convolutions_(network, OneDnnConvolution)
    if args.compile:
        network.compile(mode="reduce-overhead")
    took = measure_seconds(lambda: network(x))
    return {"seconds": took, "precision": str(precision), "traffic": traffic, "profile": _profile(network, x, args)}


def _profile(network: nn.Module, x: Tensor, args: argparse.Namespace) -> str:
    if not args.profile:
        return ""
    kinds = [ProfilerActivity.CPU] + ([ProfilerActivity.CUDA] if DEVICE.type == "cuda" else [])
    with profile(activities=kinds) as trace:
        network(x)
    order = "self_cuda_time_total" if DEVICE.type == "cuda" else "self_cpu_time_total"
    return trace.key_averages().table(sort_by=order, row_limit=6, max_name_column_width=40)


@torch.inference_mode()
def measure_gemm(name: str, args: argparse.Namespace) -> dict[str, Any]:
    """Measure GFLOP/s of the best square product in both precisions, and the bandwidth of a large copy, GB/s."""
    rates = {}
    for precision in (torch.float32, fastest_precision(DEVICE)):
        best = 0.0
        for size in GEMM_SIZES:
            a, b, out = (torch.randn(size, size, device=DEVICE, dtype=precision) for _ in range(3))
            best = max(best, 2 * size**3 / measure_seconds(partial(torch.mm, a, b, out=out), 0.5) / 1e9)
        rates[str(precision)] = best
    source = torch.zeros(256 * 1024**2 // 4, device=DEVICE)
    target = torch.zeros_like(source)
    bandwidth = 2 * source.numel() * 4 / measure_seconds(lambda: target.copy_(source), 0.5) / 1e9
    return {"rates": rates, "bandwidth": bandwidth}


@torch.inference_mode()
def measure_start(name: str, args: argparse.Namespace) -> dict[str, Any]:
    """Measure an actor's start: from a weight file on disk to a network that has answered once."""
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "w.pth")
        torch.save(fill_untrained_(NETWORKS[name]()).state_dict(), path)
        precision = cast("Any", "bfloat16" if fastest_precision(DEVICE) is torch.bfloat16 else "float32")
        start = time.perf_counter()
        loaded = Network(NETWORKS[name], NORMALISE, WeightSource(path), precision).load(DEVICE)
        shape = (1, 64, 64, 3) if name.startswith("hrnet") else (1, 8, 64, 64, 3)
        loaded([torch.zeros(shape, dtype=torch.uint8)])
        return {"seconds": time.perf_counter() - start}


@torch.inference_mode()
def measure_depthwise(name: str, args: argparse.Namespace) -> dict[str, Any]:
    """Measure the depthwise 3x3x3 convolution of each of CSN's layers, three ways, milliseconds."""
    keep_freed_memory()
    precision, rows = fastest_precision(DEVICE), []
    for index, channels in enumerate((64, 128, 256, 512)):
        plane = args.size // 4 >> index
        shape = (args.batch, channels, max(1, args.frames >> index), plane, plane)
        x = torch.randn(shape, device=DEVICE, dtype=precision)
        w = torch.randn(channels, 1, 3, 3, 3, device=DEVICE, dtype=precision)
        lasting, w_lasting = x.to(memory_format=torch.channels_last_3d), w.to(memory_format=torch.channels_last_3d)
        ways = {
            "conv3d": lambda x=x, w=w: functional.conv3d(x, w, padding=1, groups=x.shape[1]),
            "conv3d channels last": lambda x=lasting, w=w_lasting: functional.conv3d(
                x, w, padding=1, groups=x.shape[1]
            ),
            "three conv2d": lambda x=lasting, w=w: sum_of_planes(x, w),
        }
        expected = ways["conv3d"]().float()
        worst = max((way().float() - expected).abs().max().item() for way in ways.values())
        assert worst < (1e-3 if precision is torch.float32 else 0.5), worst
        rows.append({"shape": shape, **{way: measure_seconds(work, 0.3) * 1e3 for way, work in ways.items()}})
    return {"rows": rows}


def sum_of_planes(x: Tensor, w: Tensor) -> Tensor:
    """Compute a depthwise 3-D convolution as a sum of three 2-D ones over frames: x (B, C, T, H, W), channels last."""
    batch, channels, frames = x.shape[:3]
    planes = x.movedim(1, -1).flatten(0, 1).movedim(-1, 1)
    parts = [functional.conv2d(planes, w[:, :, k], padding=1, groups=channels) for k in range(3)]
    before, total, after = (part.movedim(1, -1).unflatten(0, (batch, frames)) for part in parts)
    total[:, 1:] += before[:, :-1]
    total[:, :-1] += after[:, 1:]
    return total.movedim(-1, 1)


SUBJECTS = {
    "plain": measure_plain,
    "ours": measure_ours,
    "unfused": measure_unfused,
    "float32": measure_float32,
    "float32 unfused": measure_float32_unfused,
    "gemm": measure_gemm,
    "start": measure_start,
    "depthwise": measure_depthwise,
}


def run_in_process(subject: str, name: str = "-") -> dict[str, Any]:
    """Measure a subject in a process of its own."""
    command = [sys.executable, __file__, *sys.argv[1:], "--subject", subject, "--network", name]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def compare(name: str, args: argparse.Namespace, peak: dict[str, Any]) -> str:
    subjects = ("ours", "unfused", "float32", "float32 unfused", "plain")
    rounds = [{subject: run_in_process(subject, name) for subject in subjects} for _ in range(args.rounds)]
    best_of = {s: min((found[s] for found in rounds), key=lambda r: r["seconds"]) for s in subjects}
    ours, plain = best_of["ours"], best_of["plain"]["seconds"]
    others = {s: args.batch / best_of[s]["seconds"] for s in subjects[1:4]}
    rate = count_gigaflop(name, args) / ours["seconds"]
    best = peak["rates"][ours["precision"]]
    if ours["profile"]:
        print(f"\n{name}, as the tiers run it:\n{ours['profile']}")
    cells = [
        name,
        "image" if name.startswith("hrnet") else f"{args.frames} frames",
        ours["precision"].removeprefix("torch."),
        f"{count_gigaflop(name, args) / args.batch:.0f}",
        f"{args.batch / ours['seconds']:.2f}",
        f"{rate:,.0f}",
        f"{rate / best:.2f}",
        f"{ours['traffic'] / peak['bandwidth'] / ours['seconds']:.2f}",
        *(f"{clips:.2f}" for clips in others.values()),
        f"{args.batch / plain:.2f}",
        f"{plain / ours['seconds']:.2f}",
        f"{run_in_process('start', name)['seconds']:.1f} s",
    ]
    return f"| {' | '.join(cells)} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--frames", type=int, default=24)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--batch", type=int, default=8 if DEVICE.type == "cuda" else 1)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--profile", action="store_true")
    parser.add_argument("--compile", action="store_true", help="torch.compile with CUDA graphs for ours")
    parser.add_argument("--subject", choices=SUBJECTS, help=argparse.SUPPRESS)
    parser.add_argument("--network", default="-", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.subject:
        print(json.dumps(SUBJECTS[args.subject](args.network, args)))
        return
    device = torch.cuda.get_device_name() if DEVICE.type == "cuda" else f"{torch.get_num_threads()} threads, CPU"
    print(
        f"{device}, {platform.machine()}, torch {torch.__version__}, {date.today()}; batch {args.batch}, {args.size}px"
    )
    peak = run_in_process("gemm")
    print(f"GEMM peak: {', '.join(f'{rate:,.0f} GFLOP/s {p}' for p, rate in peak['rates'].items())}; ", end="")
    print(f"copy {peak['bandwidth']:.0f} GB/s")
    heads = (
        "network, input, precision, GFLOP, ours clips/s, GFLOP/s, of GEMM peak, of traffic floor, unfused clips/s, "
        "ours in float32 clips/s, unfused in float32 clips/s, plain fp32 clips/s"
    )
    columns = [*heads.split(", "), "ours / plain", "start"]
    print(f"| {' | '.join(columns)} |\n|{'---|' * len(columns)}")
    for name in NETWORKS:
        print(compare(name, args, peak), flush=True)
    print("\nDepthwise 3x3x3 convolutions, ms:")
    for row in run_in_process("depthwise")["rows"]:
        print("  " + ", ".join(f"{k} {v:.2f}" if isinstance(v, float) else f"{v}" for k, v in row.items()))


if __name__ == "__main__":
    main()
