"""The data of Figures 3 to 5, from the fitted DBSCAN measure that a root holds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from m3ray.reports.figures.clusters import NOISE, largest_clusters
from m3ray.schema import SIMILARITY
from m3ray.similarity.clustering import Dbscan
from m3ray.similarity.fitted import FittedSimilarity
from m3ray.storage.root import Root
from m3ray.storage.tier_index import TierEntry, read_tier_index

HOW_TO_FIT = "run jobs/ablate.py with table 4, or jobs/reproduce.py with --measure dbscan"


@dataclass(frozen=True)
class Clusters:
    """DBSCAN's clusters of a root's train split.

    Args:
        points: a row a train clip and vector tier, with the columns `tier, clip_id, x, y, cluster`.
        main_tier: tier whose clusters Figures 4 and 5 show: event, as in the paper, else the last one.
    """

    points: pd.DataFrame
    main_tier: str

    def join_scores(self, catalogue: pd.DataFrame) -> pd.DataFrame:
        """Join the clusters of the main tier with the scores of their clips.

        Args:
            catalogue: the root's catalogue, with the columns `clip_id, score, labels, uri`.
        Returns:
            `clip_id, cluster, score, labels, uri`, a row a train clip that has a score.
        """
        rows = self.points[self.points["tier"] == self.main_tier][["clip_id", "cluster"]]
        scores = catalogue[catalogue["score"].notna()]
        return rows.merge(scores[["clip_id", "score", "labels", "uri"]], on="clip_id")


def find_clusters(root: Root, catalogue: pd.DataFrame) -> Clusters | str:
    """Read the clusters of the fitted DBSCAN measure.

    Args:
        root: root that holds the fitted measure.
        catalogue: the root's catalogue, with the columns `clip_id, split`.
    Returns:
        The clusters, or a sentence that says why there are none.
    """
    tier = _find_dbscan_tier(read_tier_index(root))
    if tier is None:
        return f"no DBSCAN measure was fitted: {HOW_TO_FIT}"
    folder = read_tier_index(root)[tier].folder
    fitted = FittedSimilarity.from_bytes(
        root.read_bytes("artifacts", f"{folder}.safetensors"), root.read_bytes("artifacts", f"{folder}.json")
    )
    ids = _select_train_ids(root, folder, catalogue)
    parts = {name: m for name, (_, m) in fitted.parts.items() if isinstance(m, Dbscan) and len(m.clusters_) == len(ids)}
    if not parts:
        return f"the train split has changed since DBSCAN was fitted: {HOW_TO_FIT}"
    points = [
        pd.DataFrame({"tier": name, "clip_id": ids, **_project(m.plane_), "cluster": m.clusters_.astype(int)})
        for name, m in parts.items()
    ]
    return Clusters(pd.concat(points, ignore_index=True), "event" if "event" in parts else list(parts)[-1])


def _find_dbscan_tier(current: Mapping[str, TierEntry]) -> str | None:
    for tier, entry in current.items():
        if tier.partition(":")[0] == SIMILARITY and entry.config.get("measure") == "dbscan":
            return tier
    return None


def _select_train_ids(root: Root, folder: str, catalogue: pd.DataFrame) -> list[str]:
    """Select the clips that the measure was fitted on, in the catalogue's order, which was the fit's."""
    clips = set(root.read_ids("features", folder).to_pylist())
    return [clip for clip in catalogue.loc[catalogue["split"] == "train", "clip_id"] if clip in clips]


def _project(points: np.ndarray) -> dict[str, np.ndarray]:
    """Project points of the t-SNE space, (N, 1 to 3), onto its two widest principal axes; 0 where it has but one."""
    centred = np.pad(points - points.mean(axis=0), ((0, 0), (0, max(0, 2 - points.shape[1]))))
    axes = np.linalg.svd(centred, full_matrices=False)[2][:2]
    x, y = (centred @ axes.T).T
    return {"x": x, "y": y}


def choose_extremes(scored: pd.DataFrame) -> list[int]:
    """Choose the most and the least memorable of the largest clusters by their mean scores.

    Args:
        scored: a row a scored clip, with the columns `cluster, score`.
    Returns:
        Ids of two clusters, the most memorable first; of one if there is only one, of none if all clips are noise.
    """
    largest = [k for k in largest_clusters(scored["cluster"]) if k != NOISE]
    means = scored[scored["cluster"].isin(largest)].groupby("cluster")["score"].mean()
    return list(dict.fromkeys([int(means.idxmax()), int(means.idxmin())])) if len(means) else []
