from __future__ import annotations

import os
import re
from functools import cache
from pathlib import Path

import pytest
from hypothesis import settings

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
# Before PyTorch is loaded: test processes share the cores, and OpenMP threads that spin while they wait keep them busy.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import torch
from drawn import pictures
from faulty_s3 import patch_environment, s3_environment, s3_server

from m3ray.console import configure_console
from m3ray.video.encode import encode_clip

VISIBLE_GPUS = os.environ.get("CUDA_VISIBLE_DEVICES")
# The same draws in every run and on every machine: a suite that fails one day in ten tells nobody anything.
settings.register_profile("m3ray", derandomize=True, database=None, deadline=None)
settings.load_profile("m3ray")


def pytest_ignore_collect(collection_path, config):
    """Of `-m slow` and `-m "integration and not slow"`: the 560 files without the mark would cost a minute."""
    wanted = re.fullmatch(r"(integration|slow)( and not \w+)?", config.option.markexpr)
    if wanted is None or collection_path.suffix != ".py":
        return None
    return f"mark.{wanted[1]}" not in collection_path.read_text() or None


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """Of several processes, one has the files that share the demo, one the clusters, and any one each other file."""
    if config.getoption("dist") != "loadfile":
        return None
    from xdist.scheduler import LoadFileScheduling

    class TogetherByFixture(LoadFileScheduling):
        def _split_scope(self, nodeid):
            file = super()._split_scope(nodeid)
            if file.startswith("tests/cluster/"):
                return "tests/cluster"  # one after the other: some use fixed ports
            return "the demo" if takes_the_demo(file, config.rootpath) else file

    return TogetherByFixture(config, log)


@cache
def takes_the_demo(file, top):
    """Whether a file's tests take the fixture of a whole small study, which each process would make for itself."""
    if not file.startswith("tests/integration/"):
        return False
    return re.search(r"def \w+\((?:[^)]*[,\s])?demo\b", (top / file).read_text()) is not None


@pytest.fixture(autouse=True)
def _two_threads():
    torch.set_num_threads(2)


@pytest.fixture(autouse=True)
def _gpus_as_before():
    """A stage of Ray Data that a test calls hides GPUs from its process: the next Ray with GPUs in name needs them."""
    yield
    if VISIBLE_GPUS is None:
        os.environ.pop("CUDA_VISIBLE_DEVICES", None)
    else:
        os.environ["CUDA_VISIBLE_DEVICES"] = VISIBLE_GPUS


@pytest.fixture(autouse=True)
def _console():
    """Lines on standard output, as jobs print them: tests read them there."""
    configure_console()


@pytest.fixture(scope="module")
def s3():
    """A client of moto's S3, empty for each file of tests; its address and keys stand in the environment."""
    import boto3

    with s3_server() as endpoint, patch_environment(s3_environment(endpoint)):
        yield boto3.client("s3")


@pytest.fixture(scope="session")
def shared_videos():
    folder = Path(__file__).parents[2] / "shared" / "videos"
    if not folder.is_dir():
        pytest.skip("the real clips are not beside this checkout")
    return folder


@pytest.fixture(scope="session")
def clip_bytes():
    """A 2 s clip at 10 frames a second, with audio."""
    return encode_clip(pictures(), 10, audio_hz=440.0)


@pytest.fixture(scope="session")
def silent_bytes():
    """The same pictures without audio."""
    return encode_clip(pictures(), 10)
