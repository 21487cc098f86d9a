"""A cluster whose nodes have GPUs in name alone: Ray schedules on them, and PyTorch finds no CUDA there.

So does a cluster whose containers were started without NVIDIA's runtime. Every job has to end with exit status 2 before
anything is computed, in words; until the probe they computed on CPUs, booked GPU hours and ended with success.
"""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from made_roots import made_root

from m3ray.pipelines.runtime.devices import CUDA_PROBLEM

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(torch.cuda.is_available(), reason="here GPUs in name would be GPUs in fact"),
]
TOP = Path(__file__).parents[2]
RAY = str(Path(sys.executable).with_name("ray"))


@pytest.fixture(scope="module")
def cluster(ray_folder, ray_address, marked_environment):
    """Two CPUs and one GPU in name."""
    environment = {
        **marked_environment,
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": "0123456789abcdef" * 4,
        "RAY_USAGE_STATS_ENABLED": "0",
        "PYTHONPATH": str(TOP),
    }
    port = ray_address.rpartition(":")[2]
    command = f"{RAY} start --head --port={port} --num-cpus=2 --num-gpus=1 --include-dashboard=false"
    command += f" --object-store-memory=300000000 --temp-dir={ray_folder}"
    subprocess.run(command.split(), env=environment, check=True, stdout=subprocess.DEVNULL)
    return {**environment, "RAY_ADDRESS": ray_address}


def run(job, environment, *options):
    command = [sys.executable, str(TOP / "jobs" / f"{job}.py"), *options]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=900, cwd=TOP, check=False)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """A small root with features and scores."""
    return made_root(tmp_path_factory.mktemp("root"), rows=60).uri


JOBS = [
    ("extract", "--limit", "4", "--fps", "2"),
    ("reproduce", "--limit", "12", "--fps", "2"),
    ("train", "--limit", "12", "--fps", "2"),
    ("reproduce", "--limit", "12", "--fps", "2", "--unfrozen", "small"),
]


@pytest.mark.parametrize("command", JOBS, ids="-".join)
def test_a_new_root_gets_nothing_and_the_message_says_why(cluster, tmp_path, command):
    job, *options = command
    done = run(job, cluster, "--out", str(tmp_path / "out"), *options)
    assert done.returncode == 2, done.stdout[-2000:] + done.stderr[-2000:]
    check_message(done)
    assert not list((tmp_path / "out").glob("features*")), "nothing was computed"


@pytest.mark.parametrize("command", [("ablate", "--tables", "1", "--runs", "2"), ("tune", "--trials", "2")])
def test_trials_do_not_fall_back_either(cluster, root, command):
    done = run(command[0], cluster, "--out", root, *command[1:])
    assert done.returncode == 2, done.stdout[-2000:] + done.stderr[-2000:]
    check_message(done)


def check_message(done):
    errors = [line for line in done.stderr.splitlines() + done.stdout.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1, done.stdout[-2000:] + done.stderr[-2000:]
    assert "probe: Ray has a GPU on " in errors[0]
    assert CUDA_PROBLEM in errors[0]
    for cure in ("NVIDIA_VISIBLE_DEVICES=all", "its wheel is a CPU one", "the driver is older", "--compute.device cpu"):
        assert cure in errors[0]


def test_asked_for_cpus_it_computes_on_cpus(cluster, tmp_path):
    options = ["--limit", "3", "--fps", "2", "--tiers", "scene", "--compute.device", "cpu"]
    done = run("extract", cluster, "--out", str(tmp_path / "out"), *options)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    assert "no GPU: tiers run on the CPU" in done.stdout
    (line,) = (text for text in done.stdout.splitlines() if text.startswith("probe: "))
    assert re.match(r"probe: CPU with(out)? bfloat16 units on .*: auto precision is \w+, ", line)
