"""What Figures 3 to 5 draw, from the fitted DBSCAN measure that a root holds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from m3ray.reports.figures.clusters import NOISE, largest_clusters
from m3ray.schema import SIMILARITY
from m3ray.similarity.clustering import Dbscan
from m3ray.similarity.fitted import FittedSimilarity
from m3ray.storage.root import Root
from m3ray.storage.tier_index import current_tiers

HOW = "run jobs/ablate.py with table 4, or jobs/reproduce.py with --measure dbscan"


@dataclass(frozen=True)
class Found:
    """DBSCAN's clusters of a root's train split.

    Args:
        points: `tier, clip_id, x, y, cluster`, a row a train clip and vector tier.
        shown: the tier whose clusters Figures 4 and 5 show: event, as in the paper, else the last one.
    """

    points: pd.DataFrame
    shown: str

    def scored(self, catalogue: pd.DataFrame) -> pd.DataFrame:
        """`clip_id, cluster, score, labels, uri` of the scored train clips, by the tier shown."""
        rows = self.points[self.points["tier"] == self.shown][["clip_id", "cluster"]]
        known = catalogue[catalogue["score"].notna()]
        return rows.merge(known[["clip_id", "score", "labels", "uri"]], on="clip_id")


def find_clusters(root: Root, catalogue: pd.DataFrame) -> Found | str:
    """The clusters, or why there are none.

    Args:
        root: holds the fitted measure.
        catalogue: `clip_id, split`.
    """
    tier = _dbscan_tier(current_tiers(root))
    if tier is None:
        return f"no DBSCAN measure was fitted: {HOW}"
    folder = current_tiers(root)[tier]["folder"]
    fitted = FittedSimilarity.from_bytes(
        root.read_bytes("artifacts", f"{folder}.safetensors"), root.read_bytes("artifacts", f"{folder}.json")
    )
    ids = _train_ids(root, folder, catalogue)
    parts = {name: m for name, (_, m) in fitted.parts.items() if isinstance(m, Dbscan) and len(m.clusters_) == len(ids)}
    if not parts:
        return f"the train split has changed since DBSCAN was fitted: {HOW}"
    points = [
        pd.DataFrame({"tier": name, "clip_id": ids, **_seen(m.plane_), "cluster": m.clusters_.astype(int)})
        for name, m in parts.items()
    ]
    return Found(pd.concat(points, ignore_index=True), "event" if "event" in parts else list(parts)[-1])


def _dbscan_tier(current: Mapping[str, Any]) -> str | None:
    for tier, entry in current.items():
        if tier.partition(":")[0] == SIMILARITY and entry["identity"].get("config", {}).get("measure") == "dbscan":
            return tier
    return None


def _train_ids(root: Root, folder: str, catalogue: pd.DataFrame) -> list[str]:
    """The clips that the measure was fitted on, in its order: the catalogue's."""
    known = set(root.ids("features", folder).to_pylist())
    return [clip for clip in catalogue.loc[catalogue["split"] == "train", "clip_id"] if clip in known]


def _seen(plane: np.ndarray) -> dict[str, np.ndarray]:
    """The three-dimensional plane from the side on which it is widest: its first two principal axes."""
    centred = plane - plane.mean(axis=0)
    axes = np.linalg.svd(centred, full_matrices=False)[2][:2]
    x, y = (centred @ axes.T).T
    return {"x": x, "y": y}


def extremes(scored: pd.DataFrame) -> list[int]:
    """The most and the least memorable of the largest clusters, by mean score; one where there is but one."""
    kept = [k for k in largest_clusters(scored["cluster"]) if k != NOISE]
    means = scored[scored["cluster"].isin(kept)].groupby("cluster")["score"].mean()
    return list(dict.fromkeys([int(means.idxmax()), int(means.idxmin())])) if len(means) else []
