"""Scaling: throughput by number of nodes with a tier that sleeps, which measures the scheduling and not the work.

Nodes are processes of this machine, each with a GPU in name. The rate is taken while all actors work: from the first
clip of the actor that came last to the last clip of the one that ended first. The ideal is a sleep after the other.

    python benchmarks/scaling.py [--nodes 1 2 4 8] [--seconds 0.5] [--each 60]
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


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--nodes", type=int, nargs="+", default=[1, 2, 4, 8])
    parser.add_argument("--seconds", type=float, default=0.5)
    parser.add_argument("--each", type=int, default=60)
    arguments = parser.parse_args()
    take_gpus_in_name()
    print(f"{platform.machine()}, {os.cpu_count()} CPUs, {date.today()}; {arguments.seconds} s of sleep a clip")
    print("| GPU nodes | actors at work | clips/s | ideal | efficiency (goal 0.9) |\n|---|---|---|---|---|")
    for nodes in arguments.nodes:
        rate, actors = measure_rate(nodes, arguments.seconds, arguments.each)
        ideal = nodes / arguments.seconds
        print(f"| {nodes} | {actors} | {rate:.2f} | {ideal:.2f} | {rate / ideal:.2f} |", flush=True)


if __name__ == "__main__":
    main()
