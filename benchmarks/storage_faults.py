"""Storage faults: lost rights, expired credentials, missing and invalid objects, each in the right class of rejects.

Series of `chaos.py`, over videos and a root in moto's S3 behind a proxy. Nothing may be rejected for what is no clip's
own fault, and the features must be bit-equal to those of a run that nobody disturbed.
"""

from __future__ import annotations

import subprocess
import tempfile
import threading
import time
from pathlib import Path
from urllib.parse import urlsplit

from chaos import JOB_SECONDS, Outcome, Setting, check, finish_job, read_features, start_job
from faulty_s3 import patch_environment, s3_environment, scripted_proxy, upload

from m3ray.storage.rejects import REJECTS_FOLDER
from m3ray.storage.root import Root

POISON = b"\x00\x00\x00\x18ftypisom" + bytes(200)  # named like an MP4 and with its first bytes, but no video


class FaultSwitch:
    """Decides whether a request meets a fault: none does, or each one below a path.

    Args:
        prefix: Path whose requests meet the fault, bucket first.
        fault: Name of a fault in `faulty_s3.ANSWERS`; None if there is none for now.
        grace: Number of requests below the path that are answered before the first fault.
    """

    def __init__(self, prefix: str, fault: str | None = None, grace: int = 0) -> None:
        self.prefix = prefix
        self.fault = fault
        self.grace = grace
        self.count = 0

    def __call__(self, _: str, path: str) -> str | None:
        if self.fault is None or not urlsplit(path).path.startswith(self.prefix):
            return None
        if self.grace:
            self.grace -= 1
            return None
        self.count += 1
        return self.fault


def lose_rights(setting: Setting, seconds: float) -> Outcome:
    """Take away all rights on videos and root for `seconds` in the middle of each of two jobs."""
    outcome = Outcome(f"rights lost for {seconds:.0f} s")
    switch = FaultSwitch("/chaos")
    with scripted_proxy(switch) as (server, endpoint), patch_environment(s3_environment(server)):
        upload(Path(setting.videos), "s3://chaos/videos")
        for number, fault in enumerate(("403", "503")):
            out = f"s3://chaos/rights-{number}"
            upload(setting.folder / "reference" / "artifacts", f"{out}/artifacts")
            job = start_job("s3://chaos/videos", out, **s3_environment(endpoint))
            _wait_for_a_shard(Root(out), job)
            switch.fault = fault
            threading.Timer(seconds, setattr, (switch, "fault", None)).start()
            outcome.runs += 1
            if job.wait(JOB_SECONDS + seconds):
                raise SystemExit(f"rights lost for {seconds} s ended the job")
            check(outcome, out, setting.reference)
    outcome.disturbances = switch.count
    return outcome


def expire_credentials(setting: Setting, seconds: float) -> Outcome:
    """Let credentials expire for good in the middle: the job stops with status 1, and nothing is rejected."""
    outcome, out = Outcome(f"credentials expired, {seconds:.0f} s of patience"), "s3://chaos/expired"
    switch = FaultSwitch("/chaos/videos/", "expired", grace=10)
    with scripted_proxy(switch) as (server, endpoint), patch_environment(s3_environment(server)):
        upload(Path(setting.videos), "s3://chaos/videos")
        upload(setting.folder / "reference" / "artifacts", f"{out}/artifacts")
        options = ("--limits.storage-seconds", f"{seconds:g}")
        job = start_job("s3://chaos/videos", out, *options, **s3_environment(endpoint))
        status = job.wait(JOB_SECONDS)
        if status != 1:
            raise SystemExit(f"a job whose credentials expired ended with status {status}")
        outcome.rejected += _count_rejects(out)
        finish_job("s3://chaos/videos", out, **s3_environment(server))
        outcome.runs += 2
        check(outcome, out, setting.reference)
    outcome.disturbances = switch.count
    return outcome


def add_bad_objects(setting: Setting, percent: float) -> Outcome:
    """List 30 % more objects than there are, and 1 % that are no videos: each becomes a reject of its class."""
    outcome, out = Outcome(f"{percent:g} % missing, 1 % poison"), "s3://chaos/missing"
    with scripted_proxy(lambda *_: None) as (server, _), patch_environment(s3_environment(server)):
        upload(Path(setting.videos), "s3://chaos/videos")
        upload(setting.folder / "reference" / "artifacts", f"{out}/artifacts")
        names = sorted(path.name for path in Path(setting.videos).iterdir())
        poison = [f"poison-{k}.mp4" for k in range(max(1, len(names) // 100))]
        missing = [f"missing-{k}.mp4" for k in range(round(percent / 100 * len(names)))]
        videos = Root("s3://chaos/videos")
        for name in poison:
            videos.write_bytes(POISON, name)
        lines = ["clip_id,uri", *(f"{name},s3://chaos/videos/{name}" for name in [*names, *poison, *missing])]
        with tempfile.TemporaryDirectory() as folder:
            listing = Path(folder, "clips.csv")
            listing.write_text("\n".join(lines) + "\n")
            finish_job(str(listing), out, "--dataset", "table", "--max-rejects", "40%", **s3_environment(server))
        table = Root(out).read_shards(*REJECTS_FOLDER)
        rejects = [] if table is None else table.to_pylist()
        wrong = [row for row in rejects if (row["error"] == "missing_file") != row["clip_id"].startswith("missing")]
        outcome.rejected = len(wrong) + sum(row["clip_id"] in names for row in rejects)
        outcome.disturbances, outcome.runs = len(poison) + len(missing), 1
        outcome.lost = len(poison) + len(missing) - len(rejects)
        pairs = zip(read_features(out).to_pylist(), setting.reference.to_pylist(), strict=True)
        outcome.changed = sum(one != other for one, other in pairs)
    return outcome


def _count_rejects(out: str) -> int:
    table = Root(out).read_shards(*REJECTS_FOLDER)
    return 0 if table is None else table.num_rows


def _wait_for_a_shard(root: Root, job: subprocess.Popen[bytes]) -> None:
    """Wait until the job has committed a shard."""
    while True:
        if any(root.list_names("features", folder, suffix=".parquet") for folder in root.list_names("features")):
            return
        if job.poll() is not None:
            raise SystemExit(f"a job ended with status {job.returncode} before it was disturbed")
        time.sleep(0.2)


STORAGE_SERIES = {"rights": lose_rights, "expired": expire_credentials, "missing": add_bad_objects}
