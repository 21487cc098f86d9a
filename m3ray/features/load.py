"""Reading the data of a study: the tiers of a root joined to one matrix, which all its trials share."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from m3ray.config import fingerprint
from m3ray.errors import FeatureError
from m3ray.features.dataset import StudyData
from m3ray.features.matrix import MAX_MISSING, Block, join_tiers, make_block
from m3ray.schema import CONTENT, SIMILARITY
from m3ray.storage.catalogue_file import read_catalogue
from m3ray.storage.rejects import read_rejected_ids
from m3ray.storage.root import Root
from m3ray.storage.shard_stamps import count_changed_since_fit, read_feature_stamps, write_fit_stamps
from m3ray.storage.tier_index import TierEntry, read_tier_index, read_tier_table
from m3ray.tiers.factory import select_computed
from m3ray.tiers.finetuned import FINETUNED_PREFIX

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class StudyFeatures:
    """Features and scores of a study, and where they come from.

    Args:
        data: Matrix, scores and splits.
        folders: Tier to the name of its feature folder.
        key: Hash that changes when the clips, their contents, splits or scores do.
    """

    data: StudyData
    folders: Mapping[str, str]
    key: str


def load_data(root: Root, tiers: Sequence[str], *, allow_missing: bool = False) -> StudyFeatures:
    """Join the current features of a root's tiers.

    Args:
        root: Root that holds the features.
        tiers: Names of the tiers.
        allow_missing: Whether more than 5 % of the scored clips may lack a tier without having been rejected.
    Returns:
        The features and scores of the clips that have all tiers.
    Raises:
        StudyError: If there are too few scored clips, or the root lacks a tier.
        FeatureError: If more than 5 % of the scored clips lack a tier without having been rejected.
    """
    catalogue = read_catalogue(root)
    frame = catalogue.select(["clip_id", "split", "score"]).to_pandas()
    index = read_tier_index(root)
    tables = {tier: _read_block(root, tier, index) for tier in tiers}
    features, _ = join_tiers(tables, frame["clip_id"].tolist())
    scored = set(frame.loc[frame["score"].notna(), "clip_id"])
    _check_missing(scored, scored - set(features.clip_ids), set(read_rejected_ids(root).to_pylist()), allow_missing)
    rows = frame.set_index("clip_id").loc[list(features.clip_ids)]
    data = StudyData.make(features, rows["score"].to_numpy(float), rows["split"].tolist())
    folders = {tier: index[tier].folder for tier in tiers}
    contents = _read_contents(root, folders.values(), features.clip_ids)
    return StudyFeatures(data, folders, fingerprint(rows.reset_index().values.tolist(), *contents))


def _read_contents(root: Root, folders: Iterable[str], ids: Sequence[str]) -> list[list[tuple[str, str]]]:
    """Read what each clip's features were computed from, and report changes; empty for roots without stamps."""
    stamps = read_feature_stamps(root, folders)
    contents = [(name, stamps[name]) for name in ids if name in stamps]
    if not contents:
        return []
    now = pa.table({"clip_id": [name for name, _ in contents], CONTENT: [content for _, content in contents]})
    changed = count_changed_since_fit(root, "study", now)
    if changed:
        logger.info(f"study: {changed} clips changed since it last saw them: what was trained on them is trained anew")
    write_fit_stamps(root, "study", now)
    return [contents]


def list_study_tiers(root: Root) -> list[str]:
    """List the tiers that a study on a root may see.

    Args:
        root: Root that holds the features.
    Returns:
        Names of the computed tiers, of the user's, of similarity and of its other measures, in this order.
    """
    index = read_tier_index(root)
    own = (tier for tier, entry in index.items() if entry.user_provided)
    computed = [tier for tier in select_computed(index) if not tier.startswith(FINETUNED_PREFIX)]
    return [*computed, *own, *(tier for tier in index if tier.partition(":")[0] == SIMILARITY)]


def _read_block(root: Root, tier: str, index: Mapping[str, TierEntry]) -> tuple[Block, np.ndarray, list[str]]:
    table, entry = read_tier_table(root, tier, index), index[tier]
    metadata = root.read_shard_metadata(*entry.path)
    user_scaled = entry.scaled if entry.user_provided else None
    one_hot, names = metadata.get("one_hot", False), metadata.get("columns")
    block, values = make_block(tier, table, one_hot=one_hot, names=names, user_scaled=user_scaled)
    return block, values, table["clip_id"].to_pylist()


def _check_missing(scored: set[str], missing: set[str], rejected: set[str], allow_missing: bool) -> None:
    """Raise FeatureError if many clips lack a tier without having been rejected."""
    if missing:
        logger.info(
            f"study: {len(missing)} of {len(scored)} scored clips lack a tier and are left out, "
            f"{len(missing & rejected)} of them rejected"
        )
    absent = sorted(missing - rejected)
    if len(absent) > MAX_MISSING * len(scored) and not allow_missing:
        raise FeatureError(
            f"{len(absent)} of {len(scored)} scored clips, {absent[0]} among them, lack a tier without having "
            f"been rejected, more than {MAX_MISSING:.0%}: extract the tier for them, or go on with --allow-missing"
        )
