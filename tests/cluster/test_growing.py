"""A cluster that starts without a GPU and whose autoscaler brings some: Ray's own fake nodes, real processes here."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

pytestmark = pytest.mark.integration
TOP = Path(__file__).parents[2]
RAY = str(Path(sys.executable).with_name("ray"))
GPU_NODES, CLIPS = 2, 60
COMMANDS = ["initialization", "setup", "head_setup", "worker_setup", "head_start_ray", "worker_start_ray"]


@pytest.fixture
def cluster(ray_folder, ray_address, marked_environment, tmp_path):
    from ray.autoscaler._private.fake_multi_node.node_provider import FAKE_HEAD_NODE_ID

    settings = {
        "RAY_FAKE_CLUSTER": "1",
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": "0123456789abcdef" * 4,
        "AUTOSCALER_UPDATE_INTERVAL_S": "1",
        "AUTOSCALER_HEARTBEAT_TIMEOUT_S": "60",
        "RAY_OVERRIDE_NODE_ID_FOR_TESTING": FAKE_HEAD_NODE_ID,
        "RAY_USAGE_STATS_ENABLED": "0",
        "PYTHONPATH": f"{TOP / 'benchmarks'}:{TOP}",
    }
    environment = {**marked_environment, **settings}
    config = tmp_path / "autoscaling.yaml"
    config.write_text(yaml.safe_dump(autoscaling(FAKE_HEAD_NODE_ID, ray_address)))
    port = ray_address.rpartition(":")[2]
    command = f"{RAY} start --head --port={port} --autoscaling-config={config} --num-cpus=2 --num-gpus=0"
    command += f" --include-dashboard=false --object-store-memory=300000000 --temp-dir={ray_folder}"
    subprocess.run(command.split(), env=environment, check=True, stdout=subprocess.DEVNULL)
    return {**environment, "RAY_ADDRESS": ray_address}


def autoscaling(head_id, address):
    gpu = {"resources": {"CPU": 1, "GPU": 1, "object_store_memory": 10**8}, "node_config": {}}
    return {
        "cluster_name": "fake",
        "max_workers": GPU_NODES,
        "idle_timeout_minutes": 0.1,
        "upscaling_speed": 10,
        "provider": {
            "type": "fake_multinode",
            "launch_multiple": True,
            "use_node_id_as_ip": True,  # all nodes of this machine have one address
            "disable_node_updaters": True,
            "disable_launch_config_check": True,
            "head_node_id": head_id,
            "gcs_address": address,
        },
        "auth": {"ssh_user": "x"},
        "available_node_types": {
            "ray.head.default": {"resources": {"CPU": 2}, "node_config": {}, "max_workers": 0},
            "gpu": {**gpu, "min_workers": 0, "max_workers": GPU_NODES},
        },
        "head_node_type": "ray.head.default",
        "file_mounts": {},
        "cluster_synced_files": [],
        "file_mounts_sync_continuously": False,
        "rsync_exclude": [],
        "rsync_filter": [],
        **{f"{part}_commands": [] for part in COMMANDS},
    }


def test_the_pool_grows_with_the_nodes_that_join_and_they_go_when_idle(cluster, tmp_path):
    command = [sys.executable, str(TOP / "tests" / "cluster" / "growing.py"), str(tmp_path / "out")]
    command += [str(CLIPS), str(GPU_NODES)]
    process = subprocess.run(
        command, env=cluster, capture_output=True, text=True, timeout=720, cwd=tmp_path, check=False
    )
    lines = [line for line in process.stdout.splitlines() if line.startswith("FACTS ")]
    assert lines, process.stdout[-3000:] + process.stderr[-3000:]
    facts = json.loads(lines[0].removeprefix("FACTS "))
    assert facts["most"] >= GPU_NODES  # one that goes may be counted while the next one comes
    assert (facts["before"], facts["after"]) == (0, 0)
    assert facts["done"] == CLIPS
    assert facts["pool"] >= GPU_NODES, "actors on every node had work"
    assert facts["expected"] == GPU_NODES


def test_how_far_a_launched_cluster_can_grow_is_read_from_its_config(tmp_path):
    from m3ray.pipelines.runtime.cluster import read_launcher_resources

    config = autoscaling("x", "10.0.0.1:6379")
    config["available_node_types"]["gpu"]["max_workers"] = 9
    (tmp_path / "c.yaml").write_text(yaml.safe_dump(config))
    most = read_launcher_resources(str(tmp_path / "c.yaml"))
    assert (most["CPU"], most["GPU"]) == (2 + GPU_NODES, GPU_NODES), (
        "the head's CPUs, and no more nodes than the cluster's"
    )
    assert read_launcher_resources(str(tmp_path / "none.yaml")) == {}
