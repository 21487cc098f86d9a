"""How work is laid over a cluster's CPUs and GPUs."""

import inspect
import os
import stat
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
import ray
import ray._private.node
import ray._private.services
import yaml

from m3ray.config import ComputeConfig
from m3ray.errors import ClusterError, DeviceError
from m3ray.pipelines.runtime import cluster
from m3ray.pipelines.runtime.cluster import Resources, connect_cluster, read_launcher_resources
from m3ray.pipelines.runtime.device_probe import DeviceFacts, DeviceReport

RAY = Path(ray.__file__).parent


@pytest.mark.parametrize(
    ("resources", "compute", "expected"),
    [
        (Resources(2, 0), ComputeConfig(), (1, 2, 1)),
        (Resources(16, 0), ComputeConfig(), (8, 2, 1)),
        (Resources(2, 0, memory=12 << 30), ComputeConfig(), (2, 1, 1)),
        (Resources(16, 0, memory=20 << 30), ComputeConfig(), (10, 1, 1)),
        (Resources(16, 0, memory=9 << 30), ComputeConfig(), (4, 4, 1)),
        (Resources(16, 0, memory=1 << 30), ComputeConfig(), (1, 16, 1)),
        (Resources(16, 4, memory=64 << 30), ComputeConfig(), (4, 4, 8)),
        (Resources(16, 4), ComputeConfig(), (4, 4, 8)),
        (Resources(4, 0), ComputeConfig(actors=4, threads=1, clips_per_batch=3), (4, 1, 3)),
    ],
)
def test_actors_threads_and_batches(resources, compute, expected):
    assert (resources.actors(compute), resources.threads(compute), resources.batch(compute)) == expected


GIB = 1 << 30


# A clip takes 1 GiB in bfloat16 and 2 in float32, an actor 3, a tenth of the memory stays free.
@pytest.mark.parametrize(
    ("facts", "compute", "expected"),
    [
        (DeviceFacts(True, 22 * GIB), ComputeConfig(), (1, 4, 8)),  # an L4: 16.8 GiB for clips
        (DeviceFacts(False, 15 * GIB), ComputeConfig(), (1, 4, 5)),  # a T4: 10.5 GiB
        (DeviceFacts(True, 80 * GIB), ComputeConfig(), (2, 8, 8)),  # two actors with 33 GiB each
        (DeviceFacts(True, 40 * GIB), ComputeConfig(), (2, 8, 8)),  # 15 GiB each
        (DeviceFacts(False, 4 * GIB), ComputeConfig(), (1, 4, 1)),  # 0.6 GiB: one clip is tried
        (DeviceFacts(True, 80 * GIB), ComputeConfig(actors_per_gpu=1, clips_per_batch=16), (1, 4, 16)),
        (DeviceFacts(True, 80 * GIB), ComputeConfig(actors=3), (2, 3, 8)),
        (None, ComputeConfig(), (1, 4, 8)),
    ],
)
def test_a_gpu_s_memory_decides_actors_and_batches(facts, compute, expected):
    on = Resources(64, 4, 4, facts)
    assert (on.actors_per_gpu(compute), on.actors(compute), on.batch(compute)) == expected


def test_precision_is_what_the_workers_have_and_not_the_driver(monkeypatch):
    monkeypatch.setattr(cluster, "inspect_device", lambda gpu: DeviceReport(False))
    assert Resources(4, 1).bfloat16, "not asked: GPUs of today have it, whatever the driver is"
    assert not Resources(4, 1, 1, DeviceFacts(False)).bfloat16
    assert Resources(4, 0, 0, DeviceFacts(True)).bfloat16
    assert not Resources(4, 0).bfloat16


def test_workers_of_a_ray_of_our_own_have_it_in_their_environment(monkeypatch):
    for name in ("M3RAY_ANONYMOUS_BUCKETS", "M3RAY_REQUESTER_PAYS_BUCKETS"):
        monkeypatch.setenv(name, "")
    assert cluster._worker_environment() is None, "what starts workers as fast as before"
    monkeypatch.setenv("M3RAY_ANONYMOUS_BUCKETS", "open")
    assert cluster._worker_environment() == {"env_vars": {"M3RAY_ANONYMOUS_BUCKETS": "open"}}


@pytest.mark.parametrize(
    ("device", "actors", "now", "most", "expected"),
    [
        ("auto", None, {"CPU": 4.0}, {}, Resources(4, 0, 0)),
        ("auto", None, {"CPU": 4.0, "GPU": 1.0}, {"CPU": 64.0, "GPU": 8.0}, Resources(64, 8, 1)),
        ("auto", None, {"CPU": 8.0, "GPU": 2.0}, {"CPU": 2.0}, Resources(8, 2, 2)),
        ("cpu", None, {"CPU": 4.0, "GPU": 1.0}, {"GPU": 8.0}, Resources(4, 0, 0)),
        ("gpu", None, {"CPU": 2.0}, {}, Resources(2, 1, 0)),
        ("gpu", 6, {"CPU": 2.0}, {}, Resources(2, 6, 0)),
        ("auto", None, {}, {}, Resources(1, 0, 0)),
        ("auto", None, {"CPU": 2.0, "memory": 8e9}, {}, Resources(2, 0, 0, memory=8_000_000_000)),
        ("cpu", None, {"CPU": 2.0, "memory": 8e9}, {"CPU": 16.0}, Resources(16, 0, memory=64_000_000_000)),
        (
            "cpu",
            None,
            {"CPU": 2.0, "memory": 8e9},
            {"CPU": 4.0, "memory": 9e10},
            Resources(4, 0, memory=90_000_000_000),
        ),
    ],
)
def test_what_may_come_counts_with_what_is_there(device, actors, now, most, expected):
    compute = ComputeConfig(device=device, actors=actors)
    assert cluster._combine_resources(compute, now, most) == expected


def test_a_dry_run_starts_no_ray_and_looks_at_this_machine(monkeypatch):
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setattr(cluster.ray, "is_initialized", lambda: False)
    monkeypatch.setattr(cluster, "_start_ray", lambda dashboard: pytest.fail("started Ray"))
    monkeypatch.setattr(cluster.torch.cuda, "device_count", lambda: 3)
    monkeypatch.setattr(cluster, "inspect_device", lambda gpu: DeviceReport(gpu, memory=8 << 30 if gpu else 0))
    with connect_cluster(dry=True) as resources:
        assert resources.cpus == ray._private.utils.get_num_cpus()
        assert (resources.gpus, resources.gpus_now) == (3, 3)
        assert (resources.bfloat16, resources.gpu_memory) == (True, 8 << 30)
    with connect_cluster(ComputeConfig(device="cpu"), dry=True) as resources:
        assert resources.gpus == 0


def test_a_gpu_that_cannot_come_is_not_waited_for(monkeypatch):
    monkeypatch.setattr(cluster.ray, "cluster_resources", lambda: {"CPU": 2.0})
    with pytest.raises(DeviceError, match="Ray finds no GPU on this machine"):
        cluster._check_wish(ComputeConfig(device="gpu"), grows=False)
    cluster._check_wish(ComputeConfig(device="gpu"), grows=True)
    cluster._check_wish(ComputeConfig(), grows=False)


def test_a_launcher_s_node_types_are_cut_at_the_cluster_s_most(tmp_path):
    path = tmp_path / "ray_bootstrap_config.yaml"
    types = {
        "head": {"resources": {"CPU": 2}},
        "gpu": {"resources": {"CPU": 8, "GPU": 1}, "max_workers": 3},
        "spot": {"resources": {"CPU": 4}, "max_workers": 100},
        "none": {"resources": {"CPU": 64}},
    }
    config = {"head_node_type": "head", "max_workers": 10, "available_node_types": types}
    path.write_text(yaml.safe_dump(config))
    assert read_launcher_resources(str(path)) == {"CPU": 2 + 3 * 8 + 10 * 4, "GPU": 3}
    assert read_launcher_resources(str(tmp_path / "none.yaml")) == {}


@pytest.fixture
def bare_environment(monkeypatch, tmp_path):
    """No token is chosen, and the home is an empty folder."""
    for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN_PATH"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("RAY_AUTH_TOKEN", "x")  # so that it is put back after the test
    monkeypatch.delenv("RAY_AUTH_TOKEN")
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


def test_ray_keeps_its_own_token_where_the_home_takes_one(bare_environment):
    cluster._provide_token()
    assert "RAY_AUTH_TOKEN" not in os.environ
    assert (bare_environment / ".ray").is_dir()


def test_where_the_home_takes_none_the_token_is_the_environment_s(bare_environment, monkeypatch):
    (bare_environment / ".ray").write_text("not a folder")
    cluster._provide_token()
    assert len(bytes.fromhex(os.environ["RAY_AUTH_TOKEN"])) == 32
    assert stat.S_ISREG((bare_environment / ".ray").stat().st_mode)


def test_a_token_that_the_user_chose_stays(bare_environment, monkeypatch):
    monkeypatch.setenv("RAY_AUTH_TOKEN", "chosen")
    cluster._provide_token()
    assert os.environ["RAY_AUTH_TOKEN"] == "chosen"
    assert not (bare_environment / ".ray").exists()


def test_a_cluster_that_ray_cannot_connect_to_is_named(monkeypatch):
    def fail(**_):
        raise ConnectionError("version\nmismatch")

    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.1:6379")
    monkeypatch.setattr(cluster, "check_address", lambda *_, **__: None)
    monkeypatch.setattr(cluster.ray, "init", fail)
    with pytest.raises(ClusterError, match=r"^RAY_ADDRESS=10\.0\.0\.1:6379: cannot connect \(version mismatch\)"):
        cluster._join_cluster()


SLEEP = "import time; time.sleep(600)"
# A process with a child, whose number it prints.
PARENT = f"import subprocess, sys; print(subprocess.Popen([sys.executable, '-c', '{SLEEP}']).pid, flush=True); {SLEEP}"


def start_pair(name):
    """A process of some name, and its child."""
    parent = psutil.Popen([sys.executable, "-c", PARENT, name], stdout=subprocess.PIPE, text=True)
    return parent, psutil.Process(int(parent.stdout.readline()))


def end_pairs(pairs):
    for parent, child in pairs:
        for process in (parent, child):
            with suppress(psutil.NoSuchProcess):
                process.kill()
        parent.wait()
        parent.stdout.close()


def live(process):
    return process.is_running() and process.status() != psutil.STATUS_ZOMBIE


@pytest.fixture
def slow_starts(monkeypatch):
    """Ray's own words on as many starts as the test wants, each leaving a raylet in name with an agent; and these."""
    raylets, left = [], []
    slow = "The current node timed out during startup. This could happen because some of the raylet failed to startup"

    def init(**_):
        raylets.append(start_pair(f"{RAY}/raylet"))
        if left:
            raise left.pop()

    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setattr(cluster, "_provide_token", lambda: None)
    monkeypatch.setattr(cluster.ray, "init", init)

    def make(times, error=None):
        left.extend([error or Exception(slow)] * times)
        return raylets

    yield make
    end_pairs(raylets)


def test_a_ray_that_is_not_up_in_time_is_started_again_and_what_it_left_is_killed(slow_starts):
    raylets = slow_starts(2)
    older = start_pair(f"{RAY}/older")
    try:
        cluster._start_ray(dashboard=False)
        assert [live(process) for process in older] == [True, True], "children from before, such as another Ray's"
    finally:
        end_pairs([older])
    assert [[live(raylet), live(agent)] for raylet, agent in raylets] == [[False] * 2, [False] * 2, [True] * 2]


def test_a_child_that_is_not_ray_s_outlives_a_start_that_failed(slow_starts, monkeypatch):
    monkeypatch.setattr(cluster.ray, "__file__", "/elsewhere/ray/__init__.py")
    raylets = slow_starts(1)
    cluster._start_ray(dashboard=False)
    assert all(live(process) for pair in raylets for process in pair)


def test_a_ray_that_never_starts_is_an_error_in_words(slow_starts):
    raylets = slow_starts(3)
    with pytest.raises(ClusterError, match=r"did not start .* in 3 tries .*raylet failed to startup.*logs"):
        cluster._start_ray(dashboard=False)
    assert len(raylets) == 3
    assert not any(live(process) for pair in raylets for process in pair)


def test_another_failure_of_ray_s_start_is_not_tried_again(slow_starts):
    raylets = slow_starts(1, OSError("no space left on device"))
    with pytest.raises(OSError, match="no space left"):
        cluster._start_ray(dashboard=False)
    assert not any(live(process) for pair in raylets for process in pair)


def test_ray_s_own_processes_are_known_by_its_folder():
    services = ray._private.services
    for program in (services.RAYLET_EXECUTABLE, services.GCS_SERVER_EXECUTABLE):
        assert str(program).startswith(f"{RAY}{os.sep}")


def test_a_slow_start_is_known_by_ray_s_own_words():
    assert cluster._SLOW_START in inspect.getsource(ray._private.node)


def test_a_dry_run_says_that_a_gpu_cannot_be_computed_on(monkeypatch):
    """As the job would: a plan in another precision would be a wrong one."""
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setattr(cluster.ray, "is_initialized", lambda: False)
    monkeypatch.setattr(cluster.torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(cluster, "inspect_device", lambda gpu: DeviceReport(False, problem="and it is too old"))
    with pytest.raises(DeviceError, match="on this machine, and it is too old"), connect_cluster(dry=True):
        pass
