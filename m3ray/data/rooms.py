"""What a root holds: which feature folder each tier is in, what was rejected, what is still to compute."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from m3ray.data.store import Root
from m3ray.errors import StudyError

REJECTS = ("rejects",)
_CURRENT = ("artifacts", "tiers.json")


def feature_folder(tier: str, fingerprint: str) -> tuple[str, str]:
    """Path of a tier's shards; `torchvision:NAME` loses its colon, which some file systems refuse."""
    return ("features", f"{tier.replace(':', '-')}-{fingerprint}")


def remember_tiers(root: Root, tiers: Mapping[str, Mapping[str, Any]]) -> None:
    """Notes which folder of each tier is the current one; others stay as they were."""
    root.write_json({**current_tiers(root), **tiers}, *_CURRENT)


def current_tiers(root: Root) -> dict[str, Any]:
    """Tier to `{"folder": name, "untrained": bool, "identity": {...}}`; empty for a fresh root."""
    return root.read_json(*_CURRENT) if root.exists(*_CURRENT) else {}


def tier_table(root: Root, tier: str) -> pa.Table:
    """The current features of a tier.

    Raises:
        StudyError: the root has none.
    """
    current = current_tiers(root)
    table = root.read_shards("features", current[tier]["folder"]) if tier in current else None
    if table is None:
        raise StudyError(f"{root.uri} holds no features of tier {tier}: run jobs/extract.py --tiers {tier} first")
    return table


def rejected_ids(root: Root) -> set[str]:
    """The clips that stand in `rejects/`."""
    return root.ids(*REJECTS)


def total_of_runs(root: Root) -> dict[str, float]:
    """Statistics of a root, summed over all its runs."""
    totals: dict[str, float] = {"runs": 0, "wall_seconds": 0.0, "clips_done": 0, "clips_rejected": 0}
    for run in root.names("runs"):
        if root.exists("runs", run, "summary.json"):
            summary = root.read_json("runs", run, "summary.json")
            totals["runs"] += 1
            for key in ("wall_seconds", "clips_done", "clips_rejected"):
                totals[key] += summary.get(key, 0)
    return totals
