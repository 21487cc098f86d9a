"""Kinds of nodes of a cluster."""

from m3ray.pipelines.runtime.node_kinds import describe_kind, list_usable_nodes, select_one_per_kind


def entry(number, address, resources, labels=None, alive=True):
    own = {f"node:{address}": 1.0, "memory": 62.4 * 2**30, "object_store_memory": 1e9}
    known = {"NodeID": str(number), "NodeManagerAddress": address, "Alive": alive, "Labels": labels}
    return {**known, "Resources": own | resources}


def test_nodes_of_one_shape_are_of_one_kind():
    gpu = {"CPU": 16.0, "GPU": 1.0, "accelerator_type:L4": 1.0}
    nodes = [entry(k, f"10.0.0.{k}", gpu) for k in range(3)] + [entry(9, "10.0.0.9", {"CPU": 16.0})]
    kinds = select_one_per_kind(list_usable_nodes(nodes))
    assert [(node.id, node.kind) for node in kinds] == [("0", "16 CPUs, 1 GPUs L4, 62 GiB"), ("9", "16 CPUs, 62 GiB")]


def test_groups_of_one_shape_are_kinds_of_their_own():
    """Their roles and networks may differ."""
    labels = [{"ray.io/node-group": "spot"}, {"ray.io/node-group": "on-demand"}, {}]
    found = {describe_kind(entry(0, "a", {"CPU": 4.0}, one)) for one in labels}
    assert found == {"spot: 4 CPUs, 62 GiB", "on-demand: 4 CPUs, 62 GiB", "4 CPUs, 62 GiB"}


def test_heads_without_work_and_dead_nodes_are_not_asked():
    nodes = [entry(0, "a", {"node:__internal_head__": 1.0}), entry(1, "b", {"CPU": 2.0}, alive=False)]
    assert list_usable_nodes(nodes) == []
