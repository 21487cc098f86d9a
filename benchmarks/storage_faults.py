"""Rights lost in the middle, credentials that expired, missing and poisoned objects: the right class each.

Series of `chaos.py`, over videos and a root in moto's S3 behind a proxy. Nothing may be rejected for what is no clip's
own fault, and the features must be bit-equal to those of a run that nobody disturbed.
"""

from __future__ import annotations

import itertools
import subprocess
import tempfile
import threading
import time
from pathlib import Path
from urllib.parse import urlsplit

from chaos import JOB_SECONDS, Outcome, Setting, check, features, finish_job, start_job
from faulty_s3 import patched_environment, s3_environment, told_proxy, upload

from m3ray.storage.root import Root
from m3ray.storage.tier_index import REJECTS

POISON = b"\x00\x00\x00\x18ftypisom" + bytes(200)  # named and begun like an MP4, and none


class Weather:
    """What the storage answers now: everything, or a fault to each request below a prefix.

    Args:
        below: the prefix, bucket first.
        fault: a name of `faulty_s3.ANSWERS`; None: none, for now.
        sound: so many requests below it are answered before the first fault.
    """

    def __init__(self, below: str, fault: str | None = None, sound: int = 0) -> None:
        self.below = below
        self.fault = fault
        self.sound = sound
        self.met = 0

    def __call__(self, _: str, path: str) -> str | None:
        if self.fault is None or not urlsplit(path).path.startswith(self.below):
            return None
        if self.sound:
            self.sound -= 1
            return None
        self.met += 1
        return self.fault


def lose_rights(setting: Setting, seconds: float) -> Outcome:
    """All rights, on videos and root, are gone for `seconds` in the middle of each of two jobs."""
    outcome = Outcome(f"rights lost for {seconds:.0f} s")
    weather = Weather("/chaos")
    with told_proxy(weather) as (server, endpoint), patched_environment(s3_environment(server)):
        upload(Path(setting.videos), "s3://chaos/videos")
        for number, fault in enumerate(("403", "503")):
            out = f"s3://chaos/rights-{number}"
            upload(setting.folder / "reference" / "artifacts", f"{out}/artifacts")
            job = start_job("s3://chaos/videos", out, **s3_environment(endpoint))
            _wait_for_a_shard(Root(out), job)
            weather.fault = fault
            threading.Timer(seconds, setattr, (weather, "fault", None)).start()
            outcome.runs += 1
            if job.wait(JOB_SECONDS + seconds):
                raise SystemExit(f"rights lost for {seconds} s ended the job")
            check(outcome, out, setting.reference)
    outcome.disturbed = weather.met
    return outcome


def expire(setting: Setting, seconds: float) -> Outcome:
    """Credentials expire in the middle for good: the job stops with status 1, and nothing was rejected."""
    outcome, out = Outcome(f"credentials expired, {seconds:.0f} s of patience"), "s3://chaos/expired"
    weather = Weather("/chaos/videos/", "expired", sound=10)
    with told_proxy(weather) as (server, endpoint), patched_environment(s3_environment(server)):
        upload(Path(setting.videos), "s3://chaos/videos")
        upload(setting.folder / "reference" / "artifacts", f"{out}/artifacts")
        options = ("--limits.storage-seconds", f"{seconds:g}")
        job = start_job("s3://chaos/videos", out, *options, **s3_environment(endpoint))
        status = job.wait(JOB_SECONDS)
        if status != 1:
            raise SystemExit(f"a job whose credentials expired ended with status {status}")
        outcome.rejected += _rejects(out)
        finish_job("s3://chaos/videos", out, **s3_environment(server))
        outcome.runs += 2
        check(outcome, out, setting.reference)
    outcome.disturbed = weather.met
    return outcome


def miss_and_poison(setting: Setting, percent: float) -> Outcome:
    """A table that names 30 % more objects than there are, and 1 % that are no videos: rejects, each of its class."""
    outcome, out = Outcome(f"{percent:g} % missing, 1 % poison"), "s3://chaos/missing"
    with told_proxy(lambda *_: None) as (server, _), patched_environment(s3_environment(server)):
        upload(Path(setting.videos), "s3://chaos/videos")
        upload(setting.folder / "reference" / "artifacts", f"{out}/artifacts")
        names = sorted(path.name for path in Path(setting.videos).iterdir())
        poison = [f"poison-{k}.mp4" for k in range(max(1, len(names) // 100))]
        missing = [f"missing-{k}.mp4" for k in range(round(percent / 100 * len(names)))]
        room = Root("s3://chaos/videos")
        for name in poison:
            room.write_bytes(POISON, name)
        lines = ["clip_id,uri", *(f"{name},s3://chaos/videos/{name}" for name in [*names, *poison, *missing])]
        with tempfile.TemporaryDirectory() as folder:
            table = Path(folder, "clips.csv")
            table.write_text("\n".join(lines) + "\n")
            finish_job(str(table), out, "--dataset", "table", "--max-rejects", "40%", **s3_environment(server))
        found = Root(out).read_shards(*REJECTS).to_pylist()
        wrong = [row for row in found if (row["error"] == "missing_file") != row["clip_id"].startswith("missing")]
        outcome.rejected = len(wrong) + sum(row["clip_id"] in names for row in found)
        outcome.disturbed, outcome.runs = len(poison) + len(missing), 1
        outcome.lost = len(poison) + len(missing) - len(found)
        pairs = zip(features(out).to_pylist(), setting.reference.to_pylist(), strict=True)
        outcome.differing = sum(one != other for one, other in pairs)
    return outcome


def _rejects(out: str) -> int:
    table = Root(out).read_shards(*REJECTS)
    return 0 if table is None else table.num_rows


def _wait_for_a_shard(root: Root, job: subprocess.Popen[bytes]) -> None:
    """Until the job has committed something."""
    for _ in itertools.count():
        if any(root.names("features", folder, suffix=".parquet") for folder in root.names("features")):
            return
        if job.poll() is not None:
            raise SystemExit(f"a job ended with status {job.returncode} before it was disturbed")
        time.sleep(0.2)


STORAGE_SERIES = {"rights": lose_rights, "expired": expire, "missing": miss_and_poison}
