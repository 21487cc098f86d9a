"""Which nodes Ray's own bin packer starts for cluster.yaml's types, with the scorer that cluster.yaml names."""

import re
from functools import partial
from pathlib import Path

import pytest
import yaml
from ray.autoscaler._private.load_metrics import LoadMetrics  # noqa: F401 (imports in the order that Ray needs)
from ray.autoscaler._private.loader import load_function_or_class
from ray.autoscaler._private.node_provider_availability_tracker import NodeAvailabilityRecord, NodeAvailabilitySummary
from ray.autoscaler._private.resource_demand_scheduler import _default_utilization_scorer, get_nodes_for

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


def pack(types, config, scorer, gpus, unavailable=(), existing=None):
    records = {name: NodeAvailabilityRecord(name, False, 0.0, None) for name in unavailable}
    scorer = partial(scorer, node_availability_summary=NodeAvailabilitySummary(records))
    head = config["head_node_type"]
    added, _ = get_nodes_for(types, existing or {head: 1}, head, config["max_workers"], [{"GPU": 1}] * gpus, scorer)
    return dict(added)


@pytest.fixture(scope="module")
def scorer(start_command):
    (name,) = re.findall(r"RAY_AUTOSCALER_UTILIZATION_SCORER=(\S+)", start_command)
    return load_function_or_class(name)


def test_ray_s_own_scorer_starts_both_at_once(types, config):
    """What the scorer is there for."""
    assert pack(types, config, _default_utilization_scorer, 12) == {"gpu_spot": 8, "gpu_on_demand": 4}


@pytest.mark.parametrize("gpus", range(1, 13))
def test_only_spot_nodes_are_started_while_they_can_be_had(types, config, scorer, gpus):
    assert pack(types, config, scorer, gpus) == {"gpu_spot": min(gpus, types["gpu_spot"]["max_workers"])}


@pytest.mark.parametrize(("gpus", "expected"), [(1, 1), (3, 3), (4, 4)])
def test_on_demand_nodes_come_where_spot_nodes_cannot_be_had(types, config, scorer, gpus, expected):
    assert pack(types, config, scorer, gpus, ["gpu_spot"]) == {"gpu_on_demand": expected}


def test_no_more_than_their_most_and_then_spot_is_tried_again(types, config, scorer):
    assert pack(types, config, scorer, 6, ["gpu_spot"]) == {"gpu_on_demand": 4, "gpu_spot": 2}


def test_cpu_nodes_are_as_before(types, config, scorer):
    scorer = partial(scorer, node_availability_summary=NodeAvailabilitySummary({}))
    head = config["head_node_type"]
    added, _ = get_nodes_for(types, {head: 1}, head, config["max_workers"], [{"CPU": 1}] * 16, scorer)
    assert dict(added) == {"cpu_spot": 1}


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
