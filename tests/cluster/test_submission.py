"""A cluster with token authentication, as `ray start` makes it: jobs submitted, stopped, continued; a root in S3."""

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
from faulty_s3 import patch_environment, s3_environment, s3_server, upload

from m3ray.storage.root import Root

TOP = Path(__file__).parents[2]
pytestmark = pytest.mark.integration
RAY = str(Path(sys.executable).with_name("ray"))
# Other ports than those of a cluster that may run on this machine already: whose agent has the default one, and a head
# without an agent of its own takes no jobs.
PORT, DASHBOARD, METRICS, AGENT = 6390, 8290, 8291, 8292
CLIPS = 8
DEMO = (
    f"--limit {CLIPS} --tiers raw scene --fps 2 --runs 1 --epochs 2 --tables 3 --measure cosine_mean --baselines none"
).split()


@pytest.fixture(scope="module")
def cluster(ray_folder, marked_environment, tmp_path_factory):
    """A head node whose token only its own clients know; S3 through the environment, as on AWS."""
    home = tmp_path_factory.mktemp("home")
    command, environment = [RAY, "get-auth-token", "--generate"], {**os.environ, "HOME": str(home)}
    token = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout.split()[-1]
    with s3_server() as endpoint:
        settings = {**s3_environment(endpoint), "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": token, "HOME": str(home)}
        settings |= {"RAY_USAGE_STATS_ENABLED": "0", "RAY_ADDRESS": f"http://127.0.0.1:{DASHBOARD}"}
        environment = {**marked_environment, **settings}
        environment.pop("RAY_ADDRESS")
        environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment['PATH']}"
        start = f"{RAY} start --head --port={PORT} --dashboard-port={DASHBOARD} --metrics-export-port={METRICS}"
        start += f" --dashboard-agent-listen-port={AGENT}"
        start += f" --num-cpus=2 --object-store-memory=500000000 --temp-dir={ray_folder} --dashboard-host=127.0.0.1"
        subprocess.run(start.split(), env=environment, check=True, stdout=subprocess.DEVNULL)
        yield {**environment, "RAY_ADDRESS": settings["RAY_ADDRESS"]}, home


def submit(environment, *arguments, wait=True):
    command = [RAY, "job", "submit", *([] if wait else ["--no-wait"]), "--working-dir", ".", "--", "python", *arguments]
    return subprocess.run(command, cwd=TOP, env=environment, capture_output=True, text=True, timeout=1200, check=False)


def objects(prefix):
    """Name to time of change of all objects below a prefix."""
    root = Root(prefix)
    from pyarrow import fs

    infos = root.fs.get_file_info(fs.FileSelector(root.base, recursive=True, allow_not_found=True))
    return {info.path: info.mtime for info in infos if info.type == fs.FileType.File}


@pytest.fixture(scope="module")
def submitted(cluster):
    """The demo on S3, submitted twice."""
    environment, home = cluster
    with patch_environment({name: environment[name] for name in s3_environment("x")}):
        upload(home / "nothing", "s3://studies/x")
        arguments = ("jobs/reproduce.py", "--out", "s3://studies/demo", *DEMO)
        first = submit(environment, *arguments)
        features = objects("s3://studies/demo/features")
        second = submit(environment, *arguments)
        yield first, second, features, objects("s3://studies/demo/features"), environment


def test_the_demo_goes_through_and_its_last_line_says_so(submitted):
    first, *_ = submitted
    assert first.returncode == 0, first.stdout[-3000:] + first.stderr[-2000:]
    assert "reproduce: result: success: every clip has its features" in first.stdout
    assert Root("s3://studies/demo").exists("report", "index.html")
    assert len(Root("s3://studies/demo").read_table("predictions.parquet")) == CLIPS


def test_a_second_submission_computes_nothing(submitted):
    _, second, before, after, _ = submitted
    assert second.returncode == 0
    assert "extract: nothing to compute" in second.stdout
    assert before == after, "no shard was written again"
    assert {path.split("/")[3].partition("-")[0] for path in before} == {"raw", "scene", "facts", "similarity"}


def test_no_secret_and_no_bulk_leaves_the_machine(submitted):
    first, second, *_, environment = submitted
    secret = environment["AWS_SECRET_ACCESS_KEY"]
    root = Root("s3://studies/demo")
    texts = [first.stdout, first.stderr, second.stdout]
    for run in root.list_names("runs"):
        texts += [root.read_bytes("runs", run, name).decode() for name in root.list_names("runs", run)]
    texts.append(root.read_bytes("report", "index.html").decode())
    assert all(secret not in text and environment["RAY_AUTH_TOKEN"] not in text for text in texts)
    packages = [int(size) for size in re.findall(r"\(([0-9]+)\.[0-9]+MiB\)", first.stderr + first.stdout)]
    assert all(size < 5 for size in packages), "the working folder goes without .venv, data and caches"


def test_without_the_token_a_submission_is_refused(cluster):
    environment, home = cluster
    stranger = {name: value for name, value in environment.items() if name != "RAY_AUTH_TOKEN"}
    refused = submit({**stranger, "HOME": str(home / "nobody")}, "jobs/extract.py", "--out", str(home / "x"))
    assert refused.returncode != 0
    wrong = submit({**environment, "RAY_AUTH_TOKEN": "0" * 64}, "jobs/extract.py", "--out", str(home / "x"))
    assert wrong.returncode != 0
    assert not (home / "x").exists()


def test_a_failed_job_says_so(cluster):
    environment, home = cluster
    failed = submit(
        environment, "jobs/extract.py", "--dataset", "folder", "--root", "/nowhere", "--out", str(home / "f")
    )
    assert failed.returncode != 0
    assert "extract: result: failed" in failed.stdout
    assert "no folder at /nowhere" in failed.stdout + failed.stderr


@pytest.mark.slow
def test_a_stopped_job_goes_on_where_it_was(cluster):
    environment, home = cluster
    out = str(home / "stopped")
    job = f"jobs/extract.py --limit 96 --fps 5 --tiers raw --out {out} --compute.shard-clips 4".split()
    begun = submit(environment, *job, wait=False)
    (name,) = re.findall(r"raysubmit_\w+", begun.stdout)[:1]
    root = Root(out)
    deadline = time.monotonic() + 600
    while not [n for n in root.list_names("features") if n.startswith("raw") and root.list_names("features", n)]:
        assert time.monotonic() < deadline
        time.sleep(0.5)
    subprocess.run([RAY, "job", "stop", name], env=environment, check=True, capture_output=True, timeout=60)
    command = [RAY, "job", "status", name]
    status = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert "STOPPED" in (status.stdout + status.stderr).upper()
    committed = len(
        set(root.read_ids("features", next(n for n in root.list_names("features") if n.startswith("raw"))).to_pylist())
    )
    assert 0 < committed < 96, "the catalogue's clips, of which the job was to be stopped amid"
    again = submit(environment, *job)
    assert again.returncode == 0, again.stdout[-2000:]
    (cached,) = re.findall(r"raw +\d+ to compute, (\d+) cached", again.stdout)
    assert int(cached) >= committed
    assert "96 clips have features, 0 rejected" in again.stdout


def test_metrics_are_there_for_prometheus(submitted):
    import urllib.request

    environment = submitted[-1]
    ask = urllib.request.Request(f"http://127.0.0.1:{METRICS}/metrics")
    ask.add_header("Authorization", f"Bearer {environment['RAY_AUTH_TOKEN']}")
    text = urllib.request.urlopen(ask, timeout=20).read().decode()
    done = re.findall(r'ray_m3ray_clips_total\{[^}]*outcome="done"[^}]*\} ([0-9.]+)', text)
    assert sum(map(float, done)) > 0, text[:500]
    assert re.search(r'ray_m3ray_stage_seconds_total\{[^}]*stage="decode"', text)


def test_the_run_s_summary_is_json(submitted):
    root = Root("s3://studies/demo")
    summaries = [root.read_json("runs", run, "summary.json") for run in root.list_names("runs") if run != "locks"]
    assert [summary["status"] for summary in summaries] == ["success", "success"]
    assert sorted(summary.get("clips_done", 0) for summary in summaries) == [0, CLIPS]
    assert json.dumps(summaries)
