"""A search killed in the middle keeps its finished settings, and the same command finishes the others."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest
from made_roots import made_root
from planting import plant

pytestmark = [pytest.mark.integration, pytest.mark.slow]
TOP = Path(__file__).parents[2]
TRIALS = 8


def settings(folder):
    path = folder / "study" / "search" / "settings.json"
    return json.loads(path.read_text())["settings"] if path.exists() else []


def done(folder):
    return [entry for entry in settings(folder) if entry["status"] == "done"]


def test_a_killed_search_ends_with_all_its_settings(tmp_path):
    folder, marker = tmp_path / "root", tmp_path / "ran"
    root = made_root(folder, rows=600)
    command = [sys.executable, "jobs/tune.py", "--out", root.uri, "--trials", str(TRIALS), "--runs", "2"]
    env = {**os.environ, "RAY_AUTH_MODE": "disabled", "RAY_ADDRESS": "local"}
    job = subprocess.Popen(
        command, cwd=TOP, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True
    )
    deadline = time.monotonic() + 360
    while time.monotonic() < deadline and len(done(folder)) < 2:
        time.sleep(0.05)
    os.killpg(job.pid, signal.SIGKILL)
    job.wait()
    finished, before = done(folder), settings(folder)
    assert 2 <= len(finished) < TRIALS
    plant(folder, marker)
    again = subprocess.run(command, cwd=TOP, env=env, capture_output=True, text=True, timeout=600, check=False)
    assert again.returncode == 0, again.stdout[-2000:] + again.stderr[-2000:]
    assert (
        f"{len(finished)} finished settings are kept, {len(before) - len(finished)} that were cut short" in again.stdout
    )
    after = settings(folder)
    assert after[: len(finished)] == finished, "neither trained again nor changed"
    assert len(after) == len(done(folder)) == TRIALS
    points = [json.dumps(entry["point"], sort_keys=True) for entry in after]
    assert {json.dumps(entry["point"], sort_keys=True) for entry in before} <= set(points), "what was begun is ended"
    assert len(set(points)) == TRIALS, "no setting twice"
    assert len(pd.read_parquet(folder / "study" / "search" / "trials.parquet")) == TRIALS
    assert not marker.exists()
