"""How node types are rated; with Ray's own bin packer on cluster.yaml in tests/cluster/test_spot_first.py."""

import pytest
from ray.autoscaler._private.node_provider_availability_tracker import NodeAvailabilityRecord, NodeAvailabilitySummary

from m3ray.pipelines.runtime.spot_first import name_spot_type, score_node_type

NODE, TASK = {"CPU": 16, "GPU": 1}, {"GPU": 1}


def rate(node_type, task=TASK, **available):
    records = {name: NodeAvailabilityRecord(name, is_there, 0.0, None) for name, is_there in available.items()}
    return score_node_type(NODE, [task], node_type, node_availability_summary=NodeAvailabilitySummary(records))


def test_an_on_demand_type_stands_in_for_the_spot_type_of_its_name():
    assert name_spot_type("gpu_on_demand") == "gpu_spot"


@pytest.mark.parametrize("available", [{}, {"gpu_spot": True}, {"cpu_spot": False}])
def test_while_spot_nodes_can_be_had_no_other_is_started(available):
    assert rate("gpu_on_demand", **available) is None
    assert rate("gpu_spot", **available) is not None


def test_where_they_cannot_on_demand_ones_are_better_than_another_attempt():
    missing = {"gpu_spot": False}
    assert rate("gpu_on_demand", **missing) > rate("gpu_spot", **missing), "which is tried once no other is left"


def test_what_does_not_fit_a_node_is_no_reason_to_start_it():
    assert rate("gpu_spot", {"GPU": 2}) is None


def test_no_gpu_node_is_started_for_want_of_a_cpu_node():
    available = NodeAvailabilitySummary({"cpu_spot": NodeAvailabilityRecord("cpu_spot", False, 0.0, None)})
    cpu = score_node_type({"CPU": 16}, [{"CPU": 1}], "cpu_spot", node_availability_summary=available)
    assert cpu > rate("gpu_spot", {"CPU": 1}, cpu_spot=False)
