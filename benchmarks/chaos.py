"""Fault injection: check that every clip appears exactly once with bit-identical features.

An undisturbed run is the reference. Then drivers, workers and whole nodes are killed (-9), the object store full, and
a storage answers 500, 503, late or not at all, loses its rights for two minutes, or lacks objects. After each series
the job is run once more, undisturbed, and the features must be bit-equal to the reference's.

    python benchmarks/chaos.py [--drivers 20] [--actors 20] [--nodes 10] [--full 3] [--faults 200] [--rights 120]
        [--expired 30] [--missing 30] [--clips 96]
"""

from __future__ import annotations

import argparse
import contextlib
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
from faulty_s3 import patch_environment, random_fault_proxy, s3_environment, s3_server, upload

from m3ray.schema import feature_names
from m3ray.storage.rejects import REJECTS_FOLDER
from m3ray.storage.root import Root
from m3ray.storage.tier_index import read_tier_index
from m3ray.video.encode import encode_clip

TOP = Path(__file__).parents[1]
JOB_SECONDS = 300
# Joins the Ray at an address, fills its object store, says so, and holds it until standard input is closed.
STORE_HOLDER = """
import sys
import numpy as np
import ray

ray.init(address=sys.argv[1], logging_level="ERROR", log_to_driver=False)
views = [ray.get(ray.put(np.zeros(6 << 20, np.uint8))) for _ in range(19)]
print("full", flush=True)
sys.stdin.read()
"""


@dataclass
class Outcome:
    """Result of a series of disturbances.

    Args:
        series: What was disturbed.
        disturbances: Number of kills or faults.
        runs: Number of job runs.
        lost: Number of clips in neither features nor rejects.
        duplicated: Number of rows beyond one a clip.
        rejected: Number of rejects.
        changed: Number of clips whose features differ from the reference's.
    """

    series: str
    disturbances: int = 0
    runs: int = 0
    lost: int = 0
    duplicated: int = 0
    rejected: int = 0
    changed: int = 0

    def row(self) -> str:
        cells = [self.series, self.disturbances, self.runs, self.lost, self.duplicated, self.rejected, self.changed]
        return "| " + " | ".join(map(str, cells)) + " |"

    @property
    def is_sound(self) -> bool:
        return not (self.lost or self.duplicated or self.rejected or self.changed)


HEADER = (
    "| series | kills or faults | job runs | clips lost | clips twice | rejected | features that differ |\n"
    "|---|---|---|---|---|---|---|"
)


def make_videos(folder: Path, count: int) -> Path:
    """Write so many clips of a second, each with other pictures."""
    folder.mkdir(parents=True)
    for number in range(count):
        rng = np.random.default_rng(number)
        base = rng.integers(0, 256, (48, 64, 3), dtype=np.uint8)
        frames = np.stack([np.roll(base, (k, 2 * k), (0, 1)) for k in range(10)])
        (folder / f"{number:04d}.mp4").write_bytes(encode_clip(frames, 10))
    return folder


def start_job(videos: str, out: str, *options: str, **environment: str) -> subprocess.Popen[bytes]:
    """Start a job in a session of its own, so that it can be killed alone."""
    command = [sys.executable, "jobs/extract.py", "--dataset", "folder", "--root", videos, "--out", out]
    command += ["--tiers", "raw", "--compute.shard-clips", "4", "--compute.threads", "1", *options]
    settings = {**os.environ, "RAY_AUTH_MODE": "disabled", "RAY_USAGE_STATS_ENABLED": "0", **environment}
    log = open(os.path.join(tempfile.gettempdir(), "m3ray-chaos.log"), "ab")  # noqa: SIM115
    return subprocess.Popen(command, cwd=TOP, env=settings, stdout=log, stderr=log, start_new_session=True)


def finish_job(videos: str, out: str, *options: str, **environment: str) -> None:
    """Run a job undisturbed; its failure is the benchmark's."""
    status = start_job(videos, out, *options, **environment).wait(JOB_SECONDS)
    if status:
        log = Path(tempfile.gettempdir(), "m3ray-chaos.log").read_text(errors="replace")
        raise SystemExit(f"a job that nobody disturbed ended with status {status}:\n{log[-3000:]}")


def read_features(out: str) -> pa.Table:
    """Read every row of the raw tier, repeats and all, ordered by clip; without content stamps."""
    root = Root(out)
    folder = read_tier_index(root)["raw"].path
    names = root.list_names(*folder, suffix=".parquet")
    tables = [root.read_table(*folder, name) for name in names]
    return pa.concat_tables([t.select(["clip_id", *feature_names(t.schema)]) for t in tables]).sort_by("clip_id")


def check(outcome: Outcome, out: str, reference: pa.Table) -> Outcome:
    """Count what a finished root lacks, repeats, and has changed."""
    found, expected = read_features(out), reference.to_pylist()
    ids = found["clip_id"].to_pylist()
    rejects = Root(out).read_shards(*REJECTS_FOLDER)
    outcome.rejected += 0 if rejects is None else rejects.num_rows
    outcome.lost += len({row["clip_id"] for row in expected} - set(ids)) - (0 if rejects is None else rejects.num_rows)
    outcome.duplicated += len(ids) - len(set(ids))
    rows = {row["clip_id"]: row for row in found.to_pylist()}
    outcome.changed += sum(row["clip_id"] in rows and rows[row["clip_id"]] != row for row in expected)
    return outcome


@dataclass
class Setting:
    """What all series share.

    Args:
        videos: Folder of the clips.
        folder: Working folder, with the undisturbed root below `reference/`.
        reference: Features of the undisturbed root.
        rng: Source of the random moments.
    """

    videos: str
    folder: Path
    reference: pa.Table
    rng: random.Random
    _roots: int = 0

    def make_root(self) -> str:
        """Make a root with the reference's artefacts and no features: killed jobs then spend no time on the PCA."""
        self._roots += 1
        out = self.folder / f"root-{self._roots}"
        shutil.copytree(self.folder / "reference" / "artifacts", out / "artifacts")
        return str(out)


def prepare(folder: Path, clips: int, seed: int) -> Setting:
    videos = str(make_videos(folder / "videos", clips))
    finish_job(videos, str(folder / "reference"))
    return Setting(videos, folder, read_features(str(folder / "reference")), random.Random(seed))


def kill_drivers(setting: Setting, count: int) -> Outcome:
    """Kill the driver at random moments, again and again; whenever a root is done, begin the next one."""
    outcome, out = Outcome("driver, kill -9"), setting.make_root()
    with local_cluster() as address:
        while outcome.disturbances < count:
            outcome.runs += 1
            job = start_job(setting.videos, out, RAY_ADDRESS=address)
            try:
                job.wait(setting.rng.uniform(4, 16))
            except subprocess.TimeoutExpired:
                os.killpg(job.pid, signal.SIGKILL)
                job.wait()
                outcome.disturbances += 1
                continue
            check(outcome, out, setting.reference)
            out = setting.make_root()
        finish_job(setting.videos, out, RAY_ADDRESS=address)
    return check(outcome, out, setting.reference)


def kill_workers(setting: Setting, count: int) -> Outcome:
    """Kill worker processes of a running job, decoders or tier actors, at random."""
    outcome = Outcome("worker, kill -9")
    while outcome.disturbances < count:
        out = setting.make_root()
        outcome.runs += 1
        job = start_job(setting.videos, out)
        while job.poll() is None and outcome.disturbances < count:
            time.sleep(setting.rng.uniform(0.5, 4))
            workers = [
                p for p in list_descendants(job.pid) if is_stage_worker(p, ("TierStage", "DecodeStage", "WriteStage"))
            ]
            if workers:
                with contextlib.suppress(psutil.Error):
                    setting.rng.choice(workers).kill()
                    outcome.disturbances += 1
        if job.wait(JOB_SECONDS):
            finish_job(setting.videos, out)
            outcome.runs += 1
        check(outcome, out, setting.reference)
    return outcome


def lose_nodes(setting: Setting, count: int) -> Outcome:
    """Remove whole nodes of a cluster with all that they hold, and add others."""
    from ray.cluster_utils import Cluster

    outcome = Outcome("node, lost")
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "object_store_memory": 1 << 28})
    nodes = [cluster.add_node(num_cpus=1, object_store_memory=1 << 27) for _ in range(2)]
    try:
        while outcome.disturbances < count:
            out = setting.make_root()
            outcome.runs += 1
            job = start_job(setting.videos, out, RAY_ADDRESS=cluster.address)
            time.sleep(setting.rng.uniform(8, 14))
            while job.poll() is None and outcome.disturbances < count:
                cluster.remove_node(nodes.pop(setting.rng.randrange(len(nodes))), allow_graceful=False)
                outcome.disturbances += 1
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
    """Fill the object store from another driver: whatever the job puts there goes through the disk."""
    outcome = Outcome("object store full")
    with local_cluster(object_store_memory=1 << 27) as address, _fill_store(address):
        while outcome.disturbances < count:
            out = setting.make_root()
            outcome.disturbances += 1
            outcome.runs += 1
            finish_job(setting.videos, out, RAY_ADDRESS=address)
            check(outcome, out, setting.reference)
    return outcome


@contextlib.contextmanager
def _fill_store(address: str) -> Iterator[None]:
    """Hold nine tenths of the object store in views that cannot be spilled.

    In a process of its own: this one may be connected to another Ray already.
    """
    command = [sys.executable, "-c", STORE_HOLDER, address]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        if holder.stdout.readline() != "full\n":
            raise RuntimeError(f"the object store of {address} could not be filled")
        yield
        if holder.poll() is not None:
            raise RuntimeError(f"what filled the object store of {address} ended early, with {holder.returncode}")
        holder.communicate()


def fail_storage(setting: Setting, count: int) -> Outcome:
    """Answer some requests for videos and root in S3 with 500, 503, late or not at all."""
    outcome = Outcome("S3 request failed")
    with s3_server() as server, random_fault_proxy(server, setting.rng) as (endpoint, faults):
        direct, through = s3_environment(server), s3_environment(endpoint)
        with patch_environment(direct):
            upload(Path(setting.videos), "s3://chaos/videos")
            while len(faults) < count:
                out = f"s3://chaos/root-{outcome.runs}"
                upload(setting.folder / "reference" / "artifacts", f"{out}/artifacts")
                outcome.runs += 1
                failed = start_job("s3://chaos/videos", out, **through).wait(JOB_SECONDS)
                # A clip that only the storage failed is tried again by the next run.
                if failed or Root(out).read_shards(*REJECTS_FOLDER) is not None:
                    outcome.runs += 1
                    finish_job("s3://chaos/videos", out, **direct)
                check(outcome, out, setting.reference)
    outcome.disturbances = len(faults)
    return outcome


def list_descendants(pid: int) -> list[psutil.Process]:
    with contextlib.suppress(psutil.Error):
        return psutil.Process(pid).children(recursive=True)
    return []


def is_stage_worker(process: psutil.Process, parts: tuple[str, ...]) -> bool:
    """Whether a process is a Ray worker that runs one of these stages: Ray writes that into its title."""
    with contextlib.suppress(psutil.Error):
        title = " ".join(process.cmdline())
        return title.startswith("ray::") and any(part in title for part in parts)
    return False


@contextlib.contextmanager
def local_cluster(object_store_memory: int = 1 << 28) -> Iterator[str]:
    """Start a cluster that outlives its drivers."""
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
        setting = prepare(Path(folder), arguments.clips, arguments.seed)
        outcomes = []
        for name, series in {**SERIES, **STORAGE_SERIES}.items():
            if count := getattr(arguments, name):
                outcomes.append(series(setting, count))
                print(outcomes[-1].row(), flush=True)
    sys.exit(not all(outcome.is_sound for outcome in outcomes))


if __name__ == "__main__":
    main()
