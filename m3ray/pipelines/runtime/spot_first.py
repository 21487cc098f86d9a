"""Spot nodes first: how Ray's autoscaler rates the node types of cluster.yaml.

Ray's own scorer knows no prices: asked for twelve GPUs it starts eight spot nodes and four on-demand ones at once, and
where EC2 has no spot node to give it asks for spot nodes again. `RAY_AUTOSCALER_UTILIZATION_SCORER` puts this one in
its place, in the process on the head that starts nodes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ray.autoscaler._private.resource_demand_scheduler import _resource_based_utilization_scorer

ON_DEMAND, SPOT = "_on_demand", "_spot"

Score = tuple[Any, ...]


def score_node_type(
    node_resources: Mapping[str, float],
    resources: Sequence[Mapping[str, float]],
    node_type: str,
    *,
    node_availability_summary: Any,
) -> Score | None:
    """Rate a node type as Ray does, but a type `X_on_demand` only stands in for `X_spot`.

    Args:
        node_resources: what a node of the type has.
        resources: what is asked for, a mapping a task or actor.
        node_type: name of the type in cluster.yaml.
        node_availability_summary: Ray's record of which types could be started when it last tried, in the past half
            hour.
    Returns:
        Ray's score, with whether nodes of the type can be had second, higher is better; None: no node of this type.
    """
    if node_type.endswith(ON_DEMAND) and _is_available(name_spot_type(node_type), node_availability_summary):
        return None
    score = _resource_based_utilization_scorer(
        node_resources, resources, node_availability_summary=node_availability_summary
    )
    if score is None:
        return None
    spares_gpus, *others = score  # first, so that no GPU node is started for want of a CPU node
    return (spares_gpus, _is_available(node_type, node_availability_summary), *others)


def name_spot_type(node_type: str) -> str:
    """Name the spot type that an on-demand type stands in for.

    Args:
        node_type: name such as `gpu_on_demand`.
    Returns:
        Name such as `gpu_spot`.
    """
    return node_type.removesuffix(ON_DEMAND) + SPOT


def _is_available(node_type: str, summary: Any) -> bool:
    record = summary.node_availabilities.get(node_type) if summary else None
    return record is None or record.is_available
