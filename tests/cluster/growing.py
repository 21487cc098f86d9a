"""A job on a cluster that has no GPU yet: run as a driver by test_growing. Prints the pool's sizes as JSON."""

from __future__ import annotations

import json
import os
import sys
import threading
import time

import numpy as np
import pyarrow as pa
import ray
from sleeping import SleepTier, frames_without_video, take_gpus_in_name

from m3ray.config import ComputeConfig, LimitsConfig, TierConfigs
from m3ray.pipelines.extraction import dataflow as extraction
from m3ray.pipelines.extraction import planning
from m3ray.pipelines.runtime import cluster
from m3ray.pipelines.runtime.cluster import connect_cluster
from m3ray.pipelines.runtime.device_probe import DeviceFacts
from m3ray.storage.root import Root

BEFORE: list[int] = []


def wait_for_gpu(*, wait: bool) -> DeviceFacts:
    """Wait as the probe does, for a GPU that is one in name alone."""
    assert wait
    BEFORE.append(int(ray.cluster_resources().get("GPU", 0)))
    ray.get(ray.remote(num_gpus=1, num_cpus=0)(lambda: None).remote())
    return DeviceFacts(False)


def count_gpus_left() -> int:
    """GPUs that the cluster still has when the job is over and its nodes had time to go.

    The job's own connection ends first: an object that it still refers to keeps its node.
    """
    ray.shutdown()
    ray.init(address=os.environ["RAY_ADDRESS"], logging_level="ERROR")
    deadline = time.monotonic() + 450
    while ray.cluster_resources().get("GPU", 0) and time.monotonic() < deadline:
        time.sleep(1)
    return int(ray.cluster_resources().get("GPU", 0))


def main(out: str, clips: int, gpus: int) -> None:
    sizes: list[tuple[float, int]] = []
    stop = threading.Event()

    def watch() -> None:
        while not stop.wait(0.5):
            sizes.append((time.monotonic(), int(ray.cluster_resources().get("GPU", 0))))

    take_gpus_in_name()
    vars(cluster).update(probe_gpus=wait_for_gpu)
    compute = ComputeConfig(device="gpu", actors=gpus, clips_per_batch=1, shard_clips=8)
    with connect_cluster(compute) as on:
        threading.Thread(target=watch, daemon=True).start()
        ids = [f"{k:04d}" for k in range(clips)]
        catalogue = pa.table({"clip_id": ids, "uri": ids})
        root, tiers = Root(out), [SleepTier(0.5)]
        plan = planning.plan(root, catalogue, tiers, TierConfigs(), retry=False)
        settings = extraction.Settings(TierConfigs(), LimitsConfig(), compute, on)
        extraction.run(plan, settings, make_decode_stage=lambda _: frames_without_video)
        rows = root.read_shards(*plan.folders["sleep"])
        assert rows is not None
        pool = len({value[0] for value in rows["sleep"].to_pylist()})
        stop.set()
    after = count_gpus_left()
    most = int(np.max([size for _, size in sizes]))
    facts = {
        "expected": on.gpus,
        "before": BEFORE[0],
        "most": most,
        "after": after,
        "done": rows.num_rows,
        "pool": pool,
    }
    print("FACTS " + json.dumps(facts))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
