"""Reading the data of a study: the tiers of a root joined to one matrix, which all its trials share."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import pandas as pd
import pyarrow as pa

from m3ray.config import fingerprint
from m3ray.errors import FeatureError
from m3ray.features.dataset import StudyData
from m3ray.features.matrix import MAX_MISSING, Block, join_tiers, make_block
from m3ray.features.target import SCORE
from m3ray.features.target_columns import check_columns, name_target, read_groups, read_responses
from m3ray.schema import CONTENT, PRETRAINED, SIMILARITY, is_captions
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
        key: Hash that changes when the clips, their contents, splits, scores or weights do.
    """

    data: StudyData
    folders: Mapping[str, str]
    key: str


def load_data(
    root: Root,
    tiers: Sequence[str],
    *,
    allow_missing: bool = False,
    target: str = SCORE,
    weigh: Literal["none", "responses"] = "none",
    group: str | None = None,
) -> StudyFeatures:
    """Join the current features of a root's tiers.

    Args:
        root: Root that holds the features.
        tiers: Names of the tiers.
        allow_missing: Whether more than 5 % of the scored clips may lack a tier without having been rejected.
        target: Column of the catalogue that is to be predicted; `short` and `long` are the score's two readings.
        weigh: `responses`: clips weigh by the number of viewers behind them; `none`: all weigh the same.
        group: Value of `--group`: a column whose equal values are one source, or near duplicates; None: each clip is a
            source of its own.
    Returns:
        The features and scores of the clips that have all tiers.
    Raises:
        StudyError: If there are too few scored clips, or the root lacks a tier.
        FeatureError: If more than 5 % of the scored clips lack a tier without having been rejected.
        ConfigError: If the catalogue lacks a column.
    """
    catalogue, target = read_catalogue(root), name_target(target)
    check_columns(catalogue, target, weigh, root.uri)
    frame = _read_rows(catalogue, target)
    index = read_tier_index(root)
    tables = {tier: _read_block(root, tier, index) for tier in tiers}
    features, _ = join_tiers(tables, frame["clip_id"].tolist())
    scored = set(frame.loc[frame[target].notna(), "clip_id"])
    _check_missing(scored, scored - set(features.clip_ids), set(read_rejected_ids(root).to_pylist()), allow_missing)
    rows = frame.set_index("clip_id").loc[list(features.clip_ids)]
    data = StudyData.make(
        features,
        rows[target].to_numpy(float),
        rows["split"].tolist(),
        target,
        read_responses(catalogue, features.clip_ids, target),
        read_groups(catalogue, features.clip_ids, group, root),
        weigh=weigh == "responses",
    )
    folders = {tier: index[tier].folder for tier in tiers}
    contents = _read_contents(root, folders.values(), features.clip_ids)
    return StudyFeatures(data, folders, _make_key(rows, target, data, contents))


def load_target(root: Root, loaded: StudyFeatures, target: str) -> StudyFeatures:
    """Give a study something else to predict; its matrix stays, and is not read again.

    Args:
        root: Root that holds the features.
        loaded: Features and scores of the study.
        target: Column of the catalogue that is to be predicted.
    Returns:
        The same features with other scores, and another key.
    Raises:
        StudyError: If too few clips have a value, or all are one.
        ConfigError: If the catalogue lacks the column.
    """
    catalogue, ids = read_catalogue(root), loaded.data.features.clip_ids
    check_columns(catalogue, target, "none", root.uri)
    rows = _read_rows(catalogue, target).set_index("clip_id").loc[list(ids)]
    responses = read_responses(catalogue, ids, target)
    data = loaded.data.with_target(target, rows[target].to_numpy(float), rows["split"].tolist(), responses)
    stamps = read_feature_stamps(root, loaded.folders.values())
    contents = [(name, stamps[name]) for name in ids if name in stamps]
    return replace(loaded, data=data, key=_make_key(rows, target, data, [contents] if contents else []))


def _read_rows(catalogue: pa.Table, target: str) -> pd.DataFrame:
    frame = catalogue.select(["clip_id", "split", target]).to_pandas()
    # An infinite d' is undefined, as where every viewer recognised a clip.
    return frame if target == SCORE else frame.assign(**{target: frame[target].where(np.isfinite(frame[target]))})


def _make_key(rows: pd.DataFrame, target: str, data: StudyData, contents: Sequence[object]) -> str:
    """Hash of what a study is made on; studies on the score in which all clips weigh the same have an earlier hash."""
    more: list[object] = [] if target == SCORE else [["target", target]]
    if data.weights is not None:
        more.append(["weights", data.weights.tolist()])
    return fingerprint(rows.reset_index().values.tolist(), *contents, *more)


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


def list_study_tiers(root: Root, named: Sequence[str] = ()) -> list[str]:
    """List the tiers that a study on a root may see.

    Args:
        root: Root that holds the features.
        named: Tiers that the job names: pretrained scorers, which stand beside a model, are seen where they are named.
    Returns:
        Names of the computed tiers, of pretrained scorers, of captions, of the user's tiers, of similarity and of its
        other measures, in this order.
    """
    index = read_tier_index(root)
    own = (tier for tier, entry in index.items() if entry.user_provided)
    computed = [t for t in select_computed(index) if not t.startswith(FINETUNED_PREFIX) and t not in PRETRAINED]
    scorers = [tier for tier in PRETRAINED if tier in index and tier in named]
    captions = (tier for tier, entry in index.items() if is_captions(tier) and not entry.user_provided)
    return [*computed, *scorers, *captions, *own, *(tier for tier in index if tier.partition(":")[0] == SIMILARITY)]


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
