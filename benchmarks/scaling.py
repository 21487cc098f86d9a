"""Scaling: efficiency over nodes, data rate of frames of real size, and the largest rate of what all nodes share.

*Nodes*: throughput by number of nodes with a tier that sleeps, which measures the scheduling and not the work. Nodes
are processes of this machine, each with a GPU in name. The rate is taken while all actors work: from the first clip of
the actor that came last to the last clip of the one that ended first. The ideal is a sleep after the other.

*Data*: clips of 45 frames of 256x256 (8.85 MB), made without a decoder, for a tier that only touches them: what a node
moves, beside a chain of two tasks that do nothing else.

*Rate*: the same with 192 bytes of frames a clip, on CPUs in name, so that many decoding tasks ask at once: calls of the
ledger and CPU milliseconds of driver and ledger a clip. Each is one process on one core: 1000 over its milliseconds is
the most that any cluster gets, however many nodes it has.

    python benchmarks/scaling.py [--parts nodes data rate] [--nodes 1 2 4 8] [--seconds 0.5] [--each 24]
"""

from __future__ import annotations

import argparse
import os
import platform
import tempfile
from dataclasses import replace
from datetime import date

os.environ["RAY_AUTH_MODE"] = "disabled"

import numpy as np
import pyarrow as pa
import ray
from ray.cluster_utils import Cluster
from sleeping import SleepTier, frames_without_video, take_gpus_in_name
from throughput import REAL, TINY, Rate, measure_extraction, measure_store

from m3ray.config import ComputeConfig, LimitsConfig, TierConfigs
from m3ray.pipelines.extraction import dataflow as extraction
from m3ray.pipelines.extraction import planning
from m3ray.pipelines.runtime.cluster import connect_cluster
from m3ray.storage.root import Root


def measure_rate(nodes: int, seconds: float, each: int) -> tuple[float, int]:
    """Measure clips a second while all actors work, and the number of actors."""
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 2, "object_store_memory": 1 << 28})
    for _ in range(nodes):
        cluster.add_node(num_cpus=1, num_gpus=1, object_store_memory=1 << 27)
    ray.init(address=cluster.address, log_to_driver=False)
    try:
        with tempfile.TemporaryDirectory() as out, connect_cluster(ComputeConfig(device="cpu")) as found:
            on = replace(found, gpus=nodes, gpus_now=nodes)
            ids = [f"{k:06d}" for k in range(nodes * each)]
            tier, root = SleepTier(seconds), Root(out)
            plan = planning.plan(root, pa.table({"clip_id": ids, "uri": ids}), [tier], TierConfigs(), retry=False)
            compute = ComputeConfig(clips_per_batch=2, shard_clips=32)
            settings = extraction.Settings(TierConfigs(), LimitsConfig(), compute, on)
            extraction.run(plan, settings, make_decode_stage=lambda _: frames_without_video)
            rows = root.read_shards(*plan.folders["sleep"])
            assert rows is not None
            return compute_rate(np.array(rows["sleep"].to_pylist()))
    finally:
        ray.shutdown()
        cluster.shutdown()


def compute_rate(rows: np.ndarray) -> tuple[float, int]:
    """Compute clips a second while all processes work, and their number, from (process, time) of every clip."""
    spans = [rows[rows[:, 0] == process, 1] for process in np.unique(rows[:, 0])]
    start, end = max(span.min() for span in spans), min(span.max() for span in spans)
    inside = (rows[:, 1] > start) & (rows[:, 1] <= end)
    return float(inside.sum() / (end - start)), len(spans)


def print_nodes(counts: list[int], seconds: float, each: int) -> None:
    """Print efficiency over nodes."""
    take_gpus_in_name()
    print(f"\n{seconds} s of sleep a clip")
    print("| GPU nodes | actors at work | clips/s | ideal | efficiency (goal 0.9) |\n|---|---|---|---|---|")
    for nodes in counts:
        rate, actors = measure_rate(nodes, seconds, each)
        ideal = nodes / seconds
        print(f"| {nodes} | {actors} | {rate:.2f} | {ideal:.2f} | {rate / ideal:.2f} |", flush=True)


def print_data(clips: int) -> None:
    """Print what a node moves of frames of real size."""
    with connect_cluster(ComputeConfig(device="cpu")) as on:
        store = measure_store()
        rate = measure_extraction(on, REAL, clips, ComputeConfig(clips_per_batch=4, shard_clips=16))
    megabytes = np.prod(REAL) / 1e6
    print("\n| frames of real size | MB/s | clips/s | CPU ms a clip |\n|---|---|---|---|")
    print(f"| object store, a task to the next | {store:,.0f} | {store / megabytes:.1f} | |")
    cpu = sum(rate.cpu_ms.values())
    print(f"| extraction, a node | {rate.clips_a_second * megabytes:,.0f} | {rate.clips_a_second:.1f} | {cpu:.1f} |")
    print(f"| of these the workers | | | {rate.cpu_ms['workers']:.1f} |", flush=True)


def print_rate(clips: int, cpus: int) -> None:
    """Print the largest rate of what all nodes share, and what it means for 64 GPUs."""
    ray.init(address="local", num_cpus=cpus, include_dashboard=False, log_to_driver=False, object_store_memory=1 << 29)
    try:
        with connect_cluster(ComputeConfig(device="cpu")) as on:
            compute = ComputeConfig(clips_per_batch=64, shard_clips=256, actors=2)
            rate = measure_extraction(on, TINY, clips, compute)
    finally:
        ray.shutdown()
    print(f"\n| 192 bytes a clip, {cpus} CPUs in name | |\n|---|---|")
    print(f"| clips/s on this machine (goal 2,000) | {rate.clips_a_second:,.0f} |")
    for name, count in rate.calls.items():
        print(f"| ledger, calls of `{name}` a clip | {count:.2f} |")
    for kind, spent in sorted(rate.cpu_ms.items()):
        print(f"| CPU ms a clip, {kind} | {spent:.2f} |")
    for kind in ("driver", "ledger"):
        print(f"| most clips/s of one {kind} on a core of its own | {1000 / rate.cpu_ms[kind]:,.0f} |")
    print(f"| each of 64 GPUs then gets, clips/s | {compute_share(rate, 64):.1f} |", flush=True)


def compute_share(rate: Rate, gpus: int) -> float:
    """Clips a second that each GPU gets where driver and ledger limit, each on a core of its own."""
    return 1000 / max(rate.cpu_ms["driver"], rate.cpu_ms["ledger"]) / gpus


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", nargs="+", choices=["nodes", "data", "rate"], default=["nodes", "data", "rate"])
    parser.add_argument("--nodes", type=int, nargs="+", default=[1, 2, 4, 8])
    parser.add_argument("--seconds", type=float, default=0.5)
    parser.add_argument("--each", type=int, default=24)
    parser.add_argument("--data-clips", type=int, default=200)
    parser.add_argument("--rate-clips", type=int, default=4000)
    parser.add_argument("--cpus-in-name", type=int, default=8)
    options = parser.parse_args()
    print(f"{platform.machine()}, {os.cpu_count()} CPUs, {date.today()}")
    if "data" in options.parts:
        print_data(options.data_clips)
    if "rate" in options.parts:
        print_rate(options.rate_clips, options.cpus_in_name)
    if "nodes" in options.parts:
        print_nodes(options.nodes, options.seconds, options.each)


if __name__ == "__main__":
    main()
