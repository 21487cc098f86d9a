"""Which nodes Ray's own bin packer starts for cluster.yaml's types, with the scorer that cluster.yaml names."""

import re
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
import yaml
from botocore.exceptions import ClientError
from ray.autoscaler._private.aws.node_provider import AWSNodeProvider
from ray.autoscaler._private.event_summarizer import EventSummarizer
from ray.autoscaler._private.fake_multi_node.node_provider import FAKE_HEAD_NODE_ID
from ray.autoscaler._private.load_metrics import LoadMetrics  # noqa: F401 (imports in the order that Ray needs)
from ray.autoscaler._private.loader import load_function_or_class
from ray.autoscaler._private.node_launcher import BaseNodeLauncher
from ray.autoscaler._private.node_provider_availability_tracker import (
    NodeAvailabilityRecord,
    NodeAvailabilitySummary,
    NodeProviderAvailabilityTracker,
)
from ray.autoscaler._private.resource_demand_scheduler import _default_utilization_scorer, get_nodes_for
from ray.autoscaler._private.util import ConcurrentCounter

from m3ray.pipelines.runtime.cluster import read_launcher_resources

PATH = Path(__file__).parents[2] / "cluster.yaml"
# What AWS says of the instance types (g6.4xlarge, c6i.4xlarge): tests/cluster/test_cluster_yaml.py asks Ray.
RESOURCES = {"gpu_spot": {"CPU": 16, "GPU": 1}, "gpu_on_demand": {"CPU": 16, "GPU": 1}, "cpu_spot": {"CPU": 16}}


@pytest.fixture(scope="module")
def config():
    return yaml.safe_load(PATH.read_text())


@pytest.fixture(scope="module")
def start_command(config):
    (command,) = (command for command in config["head_start_ray_commands"] if "ray start" in command)
    return command


@pytest.fixture(scope="module")
def types(config):
    made = {name: dict(kind) for name, kind in config["available_node_types"].items()}
    for name, resources in RESOURCES.items():
        made[name]["resources"] = resources
    return made


def refuse(*names):
    """Ray's record after AWS had no node of these types to give."""
    return NodeAvailabilitySummary({name: NodeAvailabilityRecord(name, False, 0.0, None) for name in names})


def pack(types, config, scorer, demands, record):
    scorer = partial(scorer, node_availability_summary=record)
    head = config["head_node_type"]
    added, _ = get_nodes_for(types, {head: 1}, head, config["max_workers"], demands, scorer)
    return dict(added)


def ask_gpus(count):
    return [{"GPU": 1}] * count


@pytest.fixture(scope="module")
def scorer(start_command):
    (name,) = re.findall(r"RAY_AUTOSCALER_UTILIZATION_SCORER=(\S+)", start_command)
    return load_function_or_class(name)


def test_ray_s_own_scorer_starts_both_at_once(types, config):
    """What the scorer is there for."""
    started = pack(types, config, _default_utilization_scorer, ask_gpus(12), refuse())
    assert started == {"gpu_spot": 8, "gpu_on_demand": 4}


@pytest.mark.parametrize("gpus", range(1, 13))
def test_only_spot_nodes_are_started_while_they_can_be_had(types, config, scorer, gpus):
    most = types["gpu_spot"]["max_workers"]
    assert pack(types, config, scorer, ask_gpus(gpus), refuse()) == {"gpu_spot": min(gpus, most)}


@pytest.mark.parametrize(("gpus", "expected"), [(1, 1), (3, 3), (4, 4)])
def test_on_demand_nodes_come_where_spot_nodes_cannot_be_had(types, config, scorer, gpus, expected):
    assert pack(types, config, scorer, ask_gpus(gpus), refuse("gpu_spot")) == {"gpu_on_demand": expected}


def test_no_more_than_their_most_and_then_spot_is_tried_again(types, config, scorer):
    assert pack(types, config, scorer, ask_gpus(6), refuse("gpu_spot")) == {"gpu_on_demand": 4, "gpu_spot": 2}


@pytest.mark.parametrize("refused", [(), ("cpu_spot",), ("cpu_spot", "gpu_spot")])
def test_cpus_are_asked_of_cpu_nodes_alone(types, config, scorer, refused):
    """As Ray's own scorer does; a GPU node for want of a CPU one would cost several times as much."""
    assert pack(types, config, scorer, [{"CPU": 1}] * 64, refuse(*refused)) == {"cpu_spot": 4}


class FullEC2:
    """EC2 without a spot node to give, in the words of its API."""

    def create_instances(self, **_):
        error = {"Code": "InsufficientInstanceCapacity", "Message": "There is no Spot capacity available."}
        raise ClientError({"Error": error}, "RunInstances")


def test_on_demand_nodes_stand_in_for_those_that_aws_refuses(types, config, scorer):
    """Through Ray's own launcher: EC2's error, Ray's record of it, the nodes that it starts next."""
    provider = AWSNodeProvider({"region": "us-east-1", "cache_stopped_nodes": False}, "m3ray")
    provider.ec2_fail_fast = FullEC2()
    pending, tracker = ConcurrentCounter(), NodeProviderAvailabilityTracker()
    pending.inc("gpu_spot", 3)
    kind = {**types["gpu_spot"], "node_config": {"SubnetIds": ["subnet-1"]}}
    launcher = BaseNodeLauncher(provider, pending, EventSummarizer(), tracker)
    assert not launcher.launch_node({**config, "available_node_types": {"gpu_spot": kind}}, 3, "gpu_spot")
    assert pack(types, config, scorer, ask_gpus(3), tracker.summary()) == {"gpu_on_demand": 3}


def test_the_head_runs_the_autoscaler_that_asks_a_scorer(start_command):
    """The launcher exports RAY_enable_autoscaler_v2=1 before the command; Ray's second autoscaler asks no scorer."""
    assert re.search(r"RAY_enable_autoscaler_v2=0 .*ray start --head", start_command)


def test_a_job_counts_on_spot_nodes_alone(types, tmp_path):
    """Else its pool would wait for the nodes that only stand in."""
    config = yaml.safe_load(PATH.read_text())
    config["available_node_types"] = types
    path = tmp_path / "ray_bootstrap_config.yaml"
    path.write_text(yaml.safe_dump(config))
    assert read_launcher_resources(str(path))["GPU"] == 8


FAKE = {
    "launch_multiple": True,
    "use_node_id_as_ip": True,
    "disable_node_updaters": True,
    "disable_launch_config_check": True,
}
COMMANDS = ["initialization", "setup", "head_setup", "worker_setup", "head_start_ray", "worker_start_ray"]
# Two GPUs are asked for, of a cluster that may have one spot and one on-demand node; then which nodes there are.
DRIVER = """
import sys, time, ray
ray.init(address=sys.argv[1], log_to_driver=False)
keep = [ray.remote(num_gpus=1, num_cpus=0)(dict).remote() for _ in range(2)]
deadline = time.monotonic() + 270
while not ray.cluster_resources().get("GPU") and time.monotonic() < deadline:
    time.sleep(0.5)
time.sleep(6)  # the autoscaler looks every second
print("NODES", sorted(name for name in ray.cluster_resources() if name in ("gpu_spot", "gpu_on_demand")))
"""


def make_fake_cluster(config, head_id, address):
    """cluster.yaml's GPU types on Ray's fake nodes, one of each; a node's type is a resource of it."""
    kinds = {name: {"resources": {"CPU": 1, "GPU": 1, name: 1}} for name in ("gpu_spot", "gpu_on_demand")}
    kinds = {name: {**kind, "node_config": {}, "min_workers": 0, "max_workers": 1} for name, kind in kinds.items()}
    head = {"resources": {"CPU": 1}, "node_config": {}, "max_workers": 0}
    return {
        **{name: config[name] for name in ("cluster_name", "max_workers", "upscaling_speed", "head_node_type", "auth")},
        "idle_timeout_minutes": 5,
        "provider": {"type": "fake_multinode", "head_node_id": head_id, "gcs_address": address, **FAKE},
        "available_node_types": {config["head_node_type"]: head, **kinds},
        "file_mounts": {},
        "cluster_synced_files": [],
        "file_mounts_sync_continuously": False,
        "rsync_exclude": [],
        "rsync_filter": [],
        **{f"{part}_commands": [] for part in COMMANDS},
    }


@pytest.mark.integration
def test_ray_s_autoscaler_takes_the_scorer_as_the_head_starts_it(
    config, start_command, ray_folder, ray_address, marked_environment, tmp_path
):
    """With the variables of cluster.yaml's own command, after the one that the launcher exports before it."""
    (tmp_path / "c.yaml").write_text(yaml.safe_dump(make_fake_cluster(config, FAKE_HEAD_NODE_ID, ray_address)))
    environment = {
        **marked_environment,
        "RAY_enable_autoscaler_v2": "1",
        **dict(re.findall(r"(\w+)=(\S+)", start_command.split("ray start")[0])),
        "RAY_AUTH_TOKEN": "0123456789abcdef" * 4,
        "RAY_FAKE_CLUSTER": "1",
        "RAY_OVERRIDE_NODE_ID_FOR_TESTING": FAKE_HEAD_NODE_ID,
        "AUTOSCALER_UPDATE_INTERVAL_S": "1",
        "PYTHONPATH": str(PATH.parent),
    }
    ray = Path(sys.executable).with_name("ray")
    port = ray_address.rpartition(":")[2]
    command = f"{ray} start --head --port={port} --autoscaling-config={tmp_path}/c.yaml --num-cpus=1 --num-gpus=0"
    command += f" --include-dashboard=false --object-store-memory=100000000 --temp-dir={ray_folder}"
    subprocess.run(command.split(), env=environment, check=True, stdout=subprocess.DEVNULL)
    driver = [sys.executable, "-c", DRIVER, ray_address]
    done = subprocess.run(driver, env=environment, capture_output=True, text=True, timeout=540, check=False)
    assert "NODES ['gpu_spot']" in done.stdout, done.stdout[-2000:] + done.stderr[-2000:]
