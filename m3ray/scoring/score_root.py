"""Scores of the clips of a root, from the features that it holds."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds

from m3ray.errors import BundleError, FeatureError
from m3ray.schema import feature_names
from m3ray.scoring.bundle import Bundle
from m3ray.scoring.scorer import compute_similarity, load_similarity, select_features
from m3ray.storage.catalogue_file import has_catalogue, read_catalogue
from m3ray.storage.ownership import PREDICTIONS, choose_predictions_path, keep_predictions
from m3ray.storage.parquet_tables import METADATA_KEY, read_range
from m3ray.storage.root import Root
from m3ray.storage.tier_index import read_tier_index
from m3ray.storage.vector_columns import column_values
from m3ray.tiers.factory import select_computed
from m3ray.tiers.user import UserTier

logger = logging.getLogger(__name__)

_CHUNK = 20_000  # clips read and scored at once: bounds the matrix to a few hundred MB


def score_root(
    bundle: Bundle,
    features: Root,
    out: Root,
    *,
    job: str,
    delay: tuple[float, float] | None = None,
    over_time: pd.DataFrame | None = None,
) -> pd.DataFrame:
    """Score the clips of a catalogue, and write `predictions.parquet`.

    Args:
        bundle: Bundle to score with.
        features: Root, or workspace, with the clips' catalogue and features.
        out: Root that the predictions go to.
        job: Name of the job. `predict` does not overwrite what another job wrote: its predictions then go to
            `predict/predictions.parquet`.
        delay: Videos shown since viewing for a further score, and those that the training scores stand for; None: no
            further score.
        over_time: Columns `clip_id`, `times`, `curve` to add to the predictions; None: none.
    Returns:
        The predictions, a row a clip.
    Raises:
        BundleError: If the features were made with other settings, weights or columns than the bundle's.
        ConfigError: If there is a delay, and the training data had no decay rates.
        FeatureError: If no clip has all tiers that the bundle sees.
    """
    frame = score_clips(bundle, features)
    if delay is not None:
        frame["score_at_delay"] = bundle.scores_at_delay(frame["score"].to_numpy(), *delay)
        logger.info(f"predict: score_at_delay is after {delay[0]:g} videos; score after {delay[1]:g}")
    if over_time is not None:
        frame = frame.merge(over_time, on="clip_id", how="left")
    path = _write_predictions(frame, bundle, features, out, job)
    logger.info(f"predict: {len(frame)} clips scored by {bundle.name}: {out.display(*path)}")
    return frame


def _write_predictions(frame: pd.DataFrame, bundle: Bundle, features: Root, out: Root, job: str) -> tuple[str, ...]:
    """Write the predictions where they replace no other job's; return their path."""
    if job != "predict" and (earlier_path := keep_predictions(out)):
        logger.info(f"{job}: the scores that predict.py wrote are kept in {earlier_path}")
    # Names are those of this catalogue: another folder may hold other videos of the same names.
    catalogue = features.uri.removeprefix(out.uri).strip("/")
    origin = {"bundle": bundle.name, "untrained": bundle.untrained, "job": job, "catalogue": catalogue}
    metadata = {METADATA_KEY: json.dumps(origin)}
    table = pa.Table.from_pandas(frame, preserve_index=False).replace_schema_metadata(metadata)
    path = choose_predictions_path(out) if job == "predict" else (PREDICTIONS,)
    out.write_table(table, *path)
    if path != (PREDICTIONS,):
        logger.info(f"predict: {out.display(PREDICTIONS)} is the study's, and stays")
    return path


def score_clips(bundle: Bundle, features: Root) -> pd.DataFrame:
    """Score the clips that have all tiers that a bundle sees.

    Args:
        bundle: Bundle to score with.
        features: Root, or workspace, with the features; with a catalogue, clips that it does not list are left out.
    Returns:
        A row a clip, as of `Bundle.score`.
    Raises:
        BundleError: If the features were made with other settings, weights or columns than the bundle's.
        FeatureError: If no clip has all tiers that the bundle sees.
    """
    fitted = load_similarity(bundle)
    current = read_tier_index(features)
    # Similarity is computed from the bundle's own fit: rows of the train split then have no leave-one-out either.
    names = [*select_computed(current), *(tier for tier, entry in current.items() if entry.user_provided)]
    needed = [t for t in names if t in bundle.tiers or (fitted is not None and t in fitted.parts)]
    for tier in needed:
        check_identity(bundle, tier, current[tier].identity or {})
    shards = {tier: features.open_shards(*current[tier].path) for tier in needed}
    ids = read_shared_ids(features, [current[tier].folder for tier in needed])
    # A part of the clips at a time: of ten million, the vectors alone would be 100 GB.
    parts = [ids.slice(k, _CHUNK) for k in range(0, len(ids), _CHUNK)]
    if not parts:
        raise FeatureError(f"{bundle.name}: no clip of {features.uri} has all of {', '.join(needed)}: nothing to score")
    return pd.concat([_score(bundle, shards, part) for part in parts], ignore_index=True)


def read_shared_ids(features: Root, folders: Sequence[str]) -> pa.Array:
    """Read the ids of the clips that several folders hold, and the catalogue if there is one.

    Args:
        features: Root, or workspace, with the features.
        folders: Names of folders below `features/`, at least one.
    Returns:
        The ids, each once, sorted.
    """
    first, *others = [features.read_ids("features", folder) for folder in folders]
    if has_catalogue(features):
        others.append(read_catalogue(features, ["clip_id"])["clip_id"].cast(pa.string()))
    for other in others:
        first = first.filter(pc.is_in(first, value_set=other))
    ids = pc.unique(first)
    return ids.take(pc.sort_indices(ids))


def check_identity(bundle: Bundle, tier: str, identity: Mapping[str, Any]) -> None:
    """Check that a tier was made as the one that a bundle was trained on.

    Args:
        bundle: The bundle.
        tier: Name of the tier; one that the bundle was not trained on passes.
        identity: All that changes the tier's numbers, as JSON values.
    Raises:
        BundleError: If settings, weights or columns differ; each is named.
    """
    entry = bundle.metadata.tiers.get(tier)
    if entry is None or entry.identity == identity:
        return
    trained = entry.identity or {}
    changed = [key for key in sorted({*trained, *identity}) if trained.get(key) != identity.get(key)]
    changes = "; ".join(f"{key}: {trained.get(key)!r} then, {identity.get(key)!r} now" for key in changed)
    raise BundleError(f"{bundle.name} was trained on another {tier} than this: {changes[:600]}: make it as it was then")


def check_user_tiers(bundle: Bundle, tiers: Sequence[UserTier]) -> None:
    """Check that user-provided tiers have the columns that a bundle was trained on.

    Args:
        bundle: The bundle.
        tiers: The tiers, as their files have them.
    Raises:
        BundleError: If columns differ.
    """
    for tier in tiers:
        check_identity(bundle, tier.name, tier.identity())


def _score(bundle: Bundle, shards: Mapping[str, ds.Dataset], ids: pa.Array) -> pd.DataFrame:
    columns: dict[str, np.ndarray] = {}
    for tier, dataset in shards.items():
        table = read_range(dataset, ids[0].as_py(), ids[-1].as_py())
        rows = table.take(pc.index_in(ids, value_set=table["clip_id"]))
        for name in feature_names(rows.schema):
            columns[f"{tier}/{name}"] = column_values(rows[name])
    fitted = load_similarity(bundle)
    if fitted is not None:
        columns |= compute_similarity(fitted, columns)
    return bundle.score(select_features(bundle, ids.to_pylist(), columns))
