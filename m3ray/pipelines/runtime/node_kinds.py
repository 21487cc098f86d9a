"""Kinds of nodes in a cluster: nodes of one kind have one image, one role and one network."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

# Labels in which Ray or its operators write the group that a node was started in.
_GROUP_LABELS = ("ray.io/node-group", "ray.io/node-type", "node.kubernetes.io/instance-type")
_ACCELERATOR = "accelerator_type:"
# Prefix of a resource of one node alone; resources that every node has.
_NODE_PREFIX, _COMMON = "node:", ("CPU", "GPU", "memory", "object_store_memory")


@dataclass(frozen=True)
class Node:
    """A node that work may be put on.

    Args:
        id: node id of Ray.
        address: IP address.
        kind: description of its kind, the same for all nodes of its group.
    """

    id: str
    address: str
    kind: str

    def __str__(self) -> str:
        return f"{self.address} ({self.kind})"


def list_usable_nodes(entries: Iterable[Mapping[str, Any]]) -> list[Node]:
    """List the nodes that are alive and take work; a head node without CPUs takes none.

    Args:
        entries: nodes as `ray.nodes()` lists them.
    Returns:
        The nodes, in the same order.
    """
    alive = [entry for entry in entries if entry["Alive"]]
    return [
        Node(entry["NodeID"], entry["NodeManagerAddress"], describe_kind(entry))
        for entry in alive
        if entry["Resources"].get("CPU", 0) or entry["Resources"].get("GPU", 0)
    ]


def select_one_per_kind(nodes: Iterable[Node]) -> list[Node]:
    """Select the first node of each kind.

    Args:
        nodes: nodes of the cluster.
    Returns:
        One node a kind, sorted by kind.
    """
    first: dict[str, Node] = {}
    for node in nodes:
        first.setdefault(node.kind, node)
    return [first[kind] for kind in sorted(first)]


def describe_kind(entry: Mapping[str, Any]) -> str:
    """Describe the kind of a node: the name of its group if it has one, and its resources.

    Args:
        entry: node as `ray.nodes()` lists it.
    Returns:
        Text such as `workers: 16 CPUs, 1 GPUs L4, 64 GiB`.
    """
    resources, labels = entry["Resources"], entry.get("Labels") or {}
    group = next((f"{labels[name]}: " for name in _GROUP_LABELS if labels.get(name)), "")
    own = sorted(
        name for name in resources if not name.startswith((_NODE_PREFIX, _ACCELERATOR)) and name not in _COMMON
    )
    devices = [name.removeprefix(_ACCELERATOR) for name in resources if name.startswith(_ACCELERATOR)]
    parts = [f"{resources.get('CPU', 0):g} CPUs"]
    if resources.get("GPU"):
        parts.append(" ".join([f"{resources['GPU']:g} GPUs", *sorted(devices)]))
    parts.append(f"{resources.get('memory', 0) / 2**30:.0f} GiB")
    return group + ", ".join([*parts, *own])
