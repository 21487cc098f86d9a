"""The data of Figures 3 to 5: the clusters of the fitted DBSCAN measure, and of the other vector tiers of a root."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from m3ray.reports.cluster_fits import TierClusters, find_tier_clusters, list_vector_tiers
from m3ray.reports.figures.clusters import NOISE, largest_clusters
from m3ray.schema import SIMILARITY
from m3ray.similarity.clustering import Dbscan
from m3ray.similarity.fitted import FittedSimilarity
from m3ray.storage.root import Root
from m3ray.storage.tier_index import TierEntry, read_tier_index


@dataclass(frozen=True)
class Clusters:
    """DBSCAN's clusters of a root's train split.

    Args:
        points: a row a train clip and vector tier, with the columns `tier, clip_id, x, y, cluster`.
        main_tier: tier whose clusters Figures 4 and 5 show first: event, as in the paper, else the last one.
        drawn_alone: tiers whose clusters were found for the figures alone, as no measure was fitted on them.
        missing: sentences on the tiers that have none.
    """

    points: pd.DataFrame
    main_tier: str
    drawn_alone: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()

    @property
    def tiers(self) -> list[str]:
        """The vector tiers, the main one first."""
        others = [str(tier) for tier in dict.fromkeys(self.points["tier"]) if tier != self.main_tier]
        return [self.main_tier, *others]

    def join_scores(self, catalogue: pd.DataFrame, tier: str | None = None) -> pd.DataFrame:
        """Join the clusters of a tier with the scores of their clips.

        Args:
            catalogue: the root's catalogue, with the columns `clip_id, score, labels, uri`.
            tier: name of the tier; None: the main one.
        Returns:
            `clip_id, cluster, score, labels, uri`, a row a train clip that has a score.
        """
        rows = self.points[self.points["tier"] == (tier or self.main_tier)][["clip_id", "cluster"]]
        scores = catalogue[catalogue["score"].notna()]
        return rows.merge(scores[["clip_id", "score", "labels", "uri"]], on="clip_id")


def find_clusters(root: Root, catalogue: pd.DataFrame) -> Clusters | str:
    """Read the clusters of the fitted DBSCAN measure, and find those of the other vector tiers.

    Args:
        root: root that may hold a fitted measure, and vector tiers.
        catalogue: the root's catalogue, with the columns `clip_id, split`.
    Returns:
        The clusters, or a sentence that says why there are none.
    """
    index, train = read_tier_index(root), catalogue.loc[catalogue["split"] == "train", "clip_id"].tolist()
    measured = _read_measured(root, catalogue)
    others = {tier: find_tier_clusters(root, tier, train) for tier in list_vector_tiers(index) if tier not in measured}
    missing = tuple(found for found in others.values() if isinstance(found, str))
    alone = {tier: found for tier, found in others.items() if not isinstance(found, str)}
    points = [_make_points(tier, *found) for tier, found in (measured | alone).items()]
    if not points:
        return "; ".join(missing) or _explain_nothing(index)
    tiers = [*measured, *alone]
    main = "event" if "event" in tiers else tiers[-1]
    return Clusters(pd.concat(points, ignore_index=True), main, tuple(alone), missing)


def _explain_nothing(index: Mapping[str, TierEntry]) -> str:
    if _find_dbscan_tier(index) is not None:
        return "the train split has changed since DBSCAN was fitted, and the tiers that it was fitted on are gone"
    return "the root has no vector tier: m3ray extract --tiers scene event"


def _make_points(tier: str, ids: list[str], plane: np.ndarray, clusters: np.ndarray) -> pd.DataFrame:
    return pd.DataFrame({"tier": tier, "clip_id": ids, **_project(plane), "cluster": clusters.astype(int)})


def _read_measured(root: Root, catalogue: pd.DataFrame) -> dict[str, TierClusters]:
    """Ids, t-SNE space and clusters of each vector tier that DBSCAN was fitted on, of the train split as it is now."""
    index = read_tier_index(root)
    tier = _find_dbscan_tier(index)
    if tier is None:
        return {}
    folder = index[tier].folder
    fitted = FittedSimilarity.from_bytes(
        root.read_bytes("artifacts", f"{folder}.safetensors"), root.read_bytes("artifacts", f"{folder}.json")
    )
    ids = _select_train_ids(root, folder, catalogue)
    measures = {name: m for name, (_, m) in fitted.parts.items() if isinstance(m, Dbscan)}
    return {name: (ids, m.plane_, m.clusters_) for name, m in measures.items() if len(m.clusters_) == len(ids)}


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
