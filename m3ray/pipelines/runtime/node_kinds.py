"""Which kinds of nodes a cluster has: nodes of one kind have one image, one role and one network."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

# What Ray or its operators write on a node of the group that it was started in.
_GROUP_LABELS = ("ray.io/node-group", "ray.io/node-type", "node.kubernetes.io/instance-type")
_ACCELERATOR = "accelerator_type:"
# Resources of one node alone, or of every node.
_OF_ONE_NODE, _KNOWN = "node:", ("CPU", "GPU", "memory", "object_store_memory")


@dataclass(frozen=True)
class Node:
    """A node that work may be put on.

    Args:
        id: Ray's.
        address: its IP.
        kind: the same for all nodes of its group, in words.
    """

    id: str
    address: str
    kind: str

    def __str__(self) -> str:
        return f"{self.address} ({self.kind})"


def working_nodes(entries: Iterable[Mapping[str, Any]]) -> list[Node]:
    """The nodes that are alive and take work: a head whose CPUs are kept from it takes none.

    Args:
        entries: as `ray.nodes()` gives them.
    """
    alive = [entry for entry in entries if entry["Alive"]]
    return [
        Node(entry["NodeID"], entry["NodeManagerAddress"], kind_of(entry))
        for entry in alive
        if entry["Resources"].get("CPU", 0) or entry["Resources"].get("GPU", 0)
    ]


def one_of_each_kind(nodes: Iterable[Node]) -> list[Node]:
    """The first node of each kind, by name of the kind."""
    first: dict[str, Node] = {}
    for node in nodes:
        first.setdefault(node.kind, node)
    return [first[kind] for kind in sorted(first)]


def kind_of(entry: Mapping[str, Any]) -> str:
    """The kind of a node: the name of its group where it bears one, and what it has."""
    resources, labels = entry["Resources"], entry.get("Labels") or {}
    group = next((f"{labels[name]}: " for name in _GROUP_LABELS if labels.get(name)), "")
    own = sorted(name for name in resources if not name.startswith((_OF_ONE_NODE, _ACCELERATOR)) and name not in _KNOWN)
    devices = [name.removeprefix(_ACCELERATOR) for name in resources if name.startswith(_ACCELERATOR)]
    parts = [f"{resources.get('CPU', 0):g} CPUs"]
    if resources.get("GPU"):
        parts.append(" ".join([f"{resources['GPU']:g} GPUs", *sorted(devices)]))
    parts.append(f"{resources.get('memory', 0) / 2**30:.0f} GiB")
    return group + ", ".join([*parts, *own])
