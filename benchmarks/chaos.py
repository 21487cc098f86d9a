"""Kills and faults at random moments, and what became of the clips: none lost, none twice, every number the same.

An undisturbed run is the reference. Then drivers, workers and whole nodes are killed (-9), the object store full, and
a storage answers 500, 503, late or not at all, loses its rights for two minutes, or lacks objects. After each series
the job is run once more, undisturbed, and the features must be bit-equal to the reference's.

    python benchmarks/chaos.py [--drivers 20] [--actors 20] [--nodes 10] [--full 3] [--faults 200] [--rights 120]
        [--expired 30] [--missing 30] [--clips 96]
"""

from __future__ import annotations

import argparse
import contextlib
import logging
import os
import platform
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import numpy as np
import psutil
import pyarrow as pa
from faulty_s3 import faulty, patched_environment, s3_environment, s3_server, upload

from m3ray.schema import feature_names
from m3ray.storage.root import Root
from m3ray.storage.tier_index import REJECTS, current_tiers
from m3ray.video.encode import encode_clip

TOP = Path(__file__).parents[1]
JOB_SECONDS = 300


@dataclass
class Outcome:
    """What a series did, and what it left."""

    what: str
    disturbed: int = 0
    runs: int = 0
    lost: int = 0
    twice: int = 0
    rejected: int = 0
    differing: int = 0

    def row(self) -> str:
        cells = [self.what, self.disturbed, self.runs, self.lost, self.twice, self.rejected, self.differing]
        return "| " + " | ".join(map(str, cells)) + " |"

    @property
    def sound(self) -> bool:
        return not (self.lost or self.twice or self.rejected or self.differing)


HEADER = (
    "| series | kills or faults | job runs | clips lost | clips twice | rejected | features that differ |\n"
    "|---|---|---|---|---|---|---|"
)


def make_videos(folder: Path, count: int) -> Path:
    """Clips of a second, each of its own."""
    folder.mkdir(parents=True)
    for number in range(count):
        rng = np.random.default_rng(number)
        base = rng.integers(0, 256, (48, 64, 3), dtype=np.uint8)
        frames = np.stack([np.roll(base, (k, 2 * k), (0, 1)) for k in range(10)])
        (folder / f"{number:04d}.mp4").write_bytes(encode_clip(frames, 10))
    return folder


def start_job(videos: str, out: str, *options: str, **environment: str) -> subprocess.Popen[bytes]:
    """A job in a session of its own, so that it can be killed alone."""
    command = [sys.executable, "jobs/extract.py", "--dataset", "folder", "--root", videos, "--out", out]
    command += ["--tiers", "raw", "--compute.shard-clips", "4", "--compute.threads", "1", *options]
    settings = {**os.environ, "RAY_AUTH_MODE": "disabled", "RAY_USAGE_STATS_ENABLED": "0", **environment}
    log = open(os.path.join(tempfile.gettempdir(), "m3ray-chaos.log"), "ab")  # noqa: SIM115
    return subprocess.Popen(command, cwd=TOP, env=settings, stdout=log, stderr=log, start_new_session=True)


def finish_job(videos: str, out: str, *options: str, **environment: str) -> None:
    """An undisturbed run; its failure is the benchmark's."""
    status = start_job(videos, out, *options, **environment).wait(JOB_SECONDS)
    if status:
        log = Path(tempfile.gettempdir(), "m3ray-chaos.log").read_text(errors="replace")
        raise SystemExit(f"a job that nobody disturbed ended with status {status}:\n{log[-3000:]}")


def features(out: str) -> pa.Table:
    """Every row of the raw tier, repeats and all, ordered by clip; without what each was computed from."""
    root = Root(out)
    folder = ("features", current_tiers(root)["raw"]["folder"])
    names = root.names(*folder, suffix=".parquet")
    tables = [root.read_table(*folder, name) for name in names]
    return pa.concat_tables([t.select(["clip_id", *feature_names(t.schema)]) for t in tables]).sort_by("clip_id")


def check(outcome: Outcome, out: str, reference: pa.Table) -> Outcome:
    """Adds what a finished root lacks, repeats and has otherwise."""
    found, expected = features(out), reference.to_pylist()
    ids = found["clip_id"].to_pylist()
    rejects = Root(out).read_shards(*REJECTS)
    outcome.rejected += 0 if rejects is None else rejects.num_rows
    outcome.lost += len({row["clip_id"] for row in expected} - set(ids)) - (0 if rejects is None else rejects.num_rows)
    outcome.twice += len(ids) - len(set(ids))
    rows = {row["clip_id"]: row for row in found.to_pylist()}
    outcome.differing += sum(row["clip_id"] in rows and rows[row["clip_id"]] != row for row in expected)
    return outcome


@dataclass
class Setting:
    """Videos, the undisturbed features, the root that its HOG projection is taken from."""

    videos: str
    folder: Path
    reference: pa.Table
    rng: random.Random
    _roots: int = 0

    def fresh(self) -> str:
        """A root with the reference's artefacts and nothing computed: killed jobs then spend no time on the PCA."""
        self._roots += 1
        out = self.folder / f"root-{self._roots}"
        shutil.copytree(self.folder / "reference" / "artifacts", out / "artifacts")
        return str(out)


def set_up(folder: Path, clips: int, seed: int) -> Setting:
    videos = str(make_videos(folder / "videos", clips))
    finish_job(videos, str(folder / "reference"))
    return Setting(videos, folder, features(str(folder / "reference")), random.Random(seed))


def kill_drivers(setting: Setting, count: int) -> Outcome:
    """The driver is killed at a random moment, again and again; whenever a root is done, the next one is begun."""
    outcome, out = Outcome("driver, kill -9"), setting.fresh()
    with local_cluster() as address:
        while outcome.disturbed < count:
            outcome.runs += 1
            job = start_job(setting.videos, out, RAY_ADDRESS=address)
            try:
                job.wait(setting.rng.uniform(4, 16))
            except subprocess.TimeoutExpired:
                os.killpg(job.pid, signal.SIGKILL)
                job.wait()
                outcome.disturbed += 1
                continue
            check(outcome, out, setting.reference)
            out = setting.fresh()
        finish_job(setting.videos, out, RAY_ADDRESS=address)
    return check(outcome, out, setting.reference)


def kill_workers(setting: Setting, count: int) -> Outcome:
    """Worker processes of a running job, decoders or tier actors, are killed at random."""
    outcome = Outcome("worker, kill -9")
    while outcome.disturbed < count:
        out = setting.fresh()
        outcome.runs += 1
        job = start_job(setting.videos, out)
        while job.poll() is None and outcome.disturbed < count:
            time.sleep(setting.rng.uniform(0.5, 4))
            workers = [p for p in descendants(job.pid) if named(p, ("TierStage", "DecodeStage", "WriteStage"))]
            if workers:
                with contextlib.suppress(psutil.Error):
                    setting.rng.choice(workers).kill()
                    outcome.disturbed += 1
        if job.wait(JOB_SECONDS):
            finish_job(setting.videos, out)
            outcome.runs += 1
        check(outcome, out, setting.reference)
    return outcome


def lose_nodes(setting: Setting, count: int) -> Outcome:
    """Whole nodes of a cluster vanish with all that they hold, and others come."""
    from ray.cluster_utils import Cluster

    outcome = Outcome("node, lost")
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "object_store_memory": 1 << 28})
    nodes = [cluster.add_node(num_cpus=1, object_store_memory=1 << 27) for _ in range(2)]
    try:
        while outcome.disturbed < count:
            out = setting.fresh()
            outcome.runs += 1
            job = start_job(setting.videos, out, RAY_ADDRESS=cluster.address)
            time.sleep(setting.rng.uniform(8, 14))
            while job.poll() is None and outcome.disturbed < count:
                cluster.remove_node(nodes.pop(setting.rng.randrange(len(nodes))), allow_graceful=False)
                outcome.disturbed += 1
                nodes.append(cluster.add_node(num_cpus=1, object_store_memory=1 << 27))
                time.sleep(setting.rng.uniform(4, 12))
            if job.wait(JOB_SECONDS):
                finish_job(setting.videos, out, RAY_ADDRESS=cluster.address)
                outcome.runs += 1
            check(outcome, out, setting.reference)
    finally:
        cluster.shutdown()
    return outcome


def fill_object_store(setting: Setting, count: int) -> Outcome:
    """Another driver holds all of the cluster's object store: whatever the job puts there goes through the disk."""
    outcome = Outcome("object store full")
    with local_cluster(object_store_memory=1 << 27) as address, _store_held(address):
        while outcome.disturbed < count:
            out = setting.fresh()
            outcome.disturbed += 1
            outcome.runs += 1
            finish_job(setting.videos, out, RAY_ADDRESS=address)
            check(outcome, out, setting.reference)
    return outcome


@contextlib.contextmanager
def _store_held(address: str) -> Iterator[None]:
    """Nine tenths of the object store, in views that cannot be spilled."""
    import ray

    ray.init(address=address, logging_level=logging.ERROR)
    views = [ray.get(ray.put(np.zeros(6 << 20, np.uint8))) for _ in range(19)]
    try:
        yield
    finally:
        views.clear()
        ray.shutdown()


def fail_storage(setting: Setting, count: int) -> Outcome:
    """Videos and root in S3, and an endpoint that answers 500, 503, late or not at all."""
    outcome = Outcome("S3 request failed")
    with s3_server() as server, faulty(server, setting.rng) as (endpoint, faults):
        direct, through = s3_environment(server), s3_environment(endpoint)
        with patched_environment(direct):
            upload(Path(setting.videos), "s3://chaos/videos")
            while len(faults) < count:
                out = f"s3://chaos/root-{outcome.runs}"
                upload(setting.folder / "reference" / "artifacts", f"{out}/artifacts")
                outcome.runs += 1
                failed = start_job("s3://chaos/videos", out, **through).wait(JOB_SECONDS)
                if failed or Root(out).read_shards(*REJECTS) is not None:  # what the storage failed is tried again
                    outcome.runs += 1
                    finish_job("s3://chaos/videos", out, **direct)
                check(outcome, out, setting.reference)
    outcome.disturbed = len(faults)
    return outcome


# What the series need.


def descendants(pid: int) -> list[psutil.Process]:
    with contextlib.suppress(psutil.Error):
        return psutil.Process(pid).children(recursive=True)
    return []


def named(process: psutil.Process, parts: tuple[str, ...]) -> bool:
    """Whether it is a Ray worker that runs one of our stages: Ray writes that into its title."""
    with contextlib.suppress(psutil.Error):
        title = " ".join(process.cmdline())
        return title.startswith("ray::") and any(part in title for part in parts)
    return False


@contextlib.contextmanager
def local_cluster(object_store_memory: int = 1 << 28) -> Iterator[str]:
    """A cluster that outlives its drivers."""
    from ray.cluster_utils import Cluster

    arguments = {"num_cpus": 2, "object_store_memory": object_store_memory}
    cluster = Cluster(initialize_head=True, head_node_args=arguments)
    try:
        yield cluster.address
    finally:
        cluster.shutdown()


SERIES: dict[str, Callable[[Setting, int], Outcome]] = {
    "drivers": kill_drivers,
    "actors": kill_workers,
    "nodes": lose_nodes,
    "full": fill_object_store,
    "faults": fail_storage,
}


def main() -> None:
    from storage_faults import STORAGE_SERIES  # it runs jobs as this file does

    parser = argparse.ArgumentParser()
    defaults = {"drivers": 20, "actors": 20, "nodes": 10, "full": 3, "faults": 200, "rights": 120}
    defaults |= {"expired": 30, "missing": 30, "clips": 96, "seed": 0}
    for name, default in defaults.items():
        parser.add_argument(f"--{name}", type=int, default=default)
    arguments = parser.parse_args()
    print(
        f"{platform.machine()}, {os.cpu_count()} CPUs, {date.today()}; {arguments.clips} clips, seed {arguments.seed}"
    )
    print(HEADER)
    with tempfile.TemporaryDirectory() as folder:
        setting = set_up(Path(folder), arguments.clips, arguments.seed)
        outcomes = []
        for name, series in {**SERIES, **STORAGE_SERIES}.items():
            if count := getattr(arguments, name):
                outcomes.append(series(setting, count))
                print(outcomes[-1].row(), flush=True)
    sys.exit(not all(outcome.sound for outcome in outcomes))


if __name__ == "__main__":
    main()
