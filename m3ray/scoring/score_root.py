"""Scoring: new clips through a bundle's own tiers, or a root's clips from the features that it has."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds

from m3ray.console import say
from m3ray.errors import BundleError, FeatureError
from m3ray.schema import CATALOGUE_FILE, feature_names
from m3ray.scoring.bundle import Bundle
from m3ray.scoring.scorer import bundle_features, bundle_similarity, similarity_columns
from m3ray.storage.ownership import PREDICTIONS, keep_predictions, predictions_place
from m3ray.storage.root import METADATA_KEY, Root, read_range
from m3ray.storage.tier_index import current_tiers
from m3ray.tiers.factory import computed
from m3ray.tiers.user import Brought

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
    """Scores the clips of a catalogue, and writes `predictions.parquet` under `out`.

    Args:
        bundle: that scores.
        features: the root of the clips and their tiers.
        out: where to.
        job: that asks; `predict` leaves what another one wrote, and writes to `predict/predictions.parquet` then.
        delay: also the score after this many videos, and those that the training scores stand for.
        over_time: `clip_id`, `times`, `curve`, to stand beside the scores.
    Raises:
        BundleError: the features were made otherwise than those the bundle was trained on.
        ConfigError: a delay is asked for, and the training data had no decay rates.
        FeatureError: no clip has all tiers that the bundle sees.
    """
    frame = scored(bundle, features)
    if delay is not None:
        frame["score_at_delay"] = bundle.at_delay(frame["score"].to_numpy(), *delay)
        say(f"predict: score_at_delay is after {delay[0]:g} videos; score after {delay[1]:g}")
    if over_time is not None:
        frame = frame.merge(over_time, on="clip_id", how="left")
    if job != "predict" and (kept := keep_predictions(out)):
        say(f"{job}: the scores that predict.py wrote are kept in {kept}")
    # Names are those of this catalogue: another folder may hold other videos of the same names.
    catalogue = features.uri.removeprefix(out.uri).strip("/")
    made = {"bundle": bundle.name, "untrained": bundle.untrained, "job": job, "catalogue": catalogue}
    table = pa.Table.from_pandas(frame, preserve_index=False).replace_schema_metadata({METADATA_KEY: json.dumps(made)})
    place = predictions_place(out) if job == "predict" else (PREDICTIONS,)
    out.write_table(table, *place)
    if place != (PREDICTIONS,):
        say(f"predict: {out.display(PREDICTIONS)} is the study's, and stays")
    say(f"predict: {len(frame)} clips scored by {bundle.name}: {out.display(*place)}")
    return frame


def scored(bundle: Bundle, features: Root) -> pd.DataFrame:
    """Scores, spreads, intervals and shares of the clips whose tiers `features` holds, of its catalogue if it has one.

    Raises:
        BundleError: the features were made otherwise than those the bundle was trained on.
        FeatureError: no clip has all tiers that the bundle sees.
    """
    fitted = bundle_similarity(bundle)
    current = current_tiers(features)
    # Similarity is computed from the bundle's own fit: rows of the train split then have no leave-one-out either.
    names = [*computed(current), *(tier for tier, entry in current.items() if entry.get("brought"))]
    needed = [t for t in names if t in bundle.tiers or (fitted is not None and t in fitted.parts)]
    for tier in needed:
        check_identity(bundle, tier, current[tier]["identity"])
    shards = {tier: features.shards("features", current[tier]["folder"]) for tier in needed}
    ids = shared_ids(features, [current[tier]["folder"] for tier in needed])
    # A part of the clips at a time: of ten million, the vectors alone would be 100 GB.
    parts = [ids.slice(k, _CHUNK) for k in range(0, len(ids), _CHUNK)]
    if not parts:
        raise FeatureError(f"{bundle.name}: no clip of {features.uri} has all of {', '.join(needed)}: nothing to score")
    return pd.concat([_score(bundle, shards, part) for part in parts], ignore_index=True)


def shared_ids(features: Root, folders: Sequence[str]) -> pa.Array:
    """The clips that all folders hold, and the catalogue where there is one, in order."""
    first, *others = [features.ids("features", folder) for folder in folders]
    if features.exists(CATALOGUE_FILE):
        others.append(features.read_table(CATALOGUE_FILE, columns=["clip_id"])["clip_id"].cast(pa.string()))
    for known in others:
        first = first.filter(pc.is_in(first, value_set=known))
    ids = pc.unique(first)
    return ids.take(pc.sort_indices(ids))


def check_identity(bundle: Bundle, tier: str, identity: Mapping[str, Any]) -> None:
    """Raises BundleError where a tier was made with other settings, weights or columns than the bundle's."""
    trained = bundle.facts["tiers"].get(tier)
    if trained is None or trained["identity"] == identity:
        return
    known = trained["identity"]
    other = [key for key in sorted({*known, *identity}) if known.get(key) != identity.get(key)]
    words = "; ".join(f"{key}: {known.get(key)!r} then, {identity.get(key)!r} now" for key in other)
    raise BundleError(f"{bundle.name} was trained on another {tier} than this: {words[:600]}: make it as it was then")


def check_brought(bundle: Bundle, brought: Sequence[Brought]) -> None:
    """Raises BundleError where a tier of the user's has other columns than the bundle was trained on."""
    for tier in brought:
        check_identity(bundle, tier.name, tier.identity())


def _score(bundle: Bundle, shards: Mapping[str, ds.Dataset], ids: pa.Array) -> pd.DataFrame:
    columns: dict[str, np.ndarray] = {}
    for tier, dataset in shards.items():
        table = read_range(dataset, ids[0].as_py(), ids[-1].as_py())
        rows = table.take(pc.index_in(ids, value_set=table["clip_id"]))
        for name in feature_names(rows.schema):
            columns[f"{tier}/{name}"] = _values(rows[name].combine_chunks())
    fitted = bundle_similarity(bundle)
    if fitted is not None:
        columns |= similarity_columns(fitted, columns)
    return bundle.score(bundle_features(bundle, ids.to_pylist(), columns))


def _values(column: pa.Array) -> np.ndarray:
    if pa.types.is_fixed_size_list(column.type):
        return column.flatten().to_numpy(zero_copy_only=False).reshape(len(column), -1)
    return column.to_numpy(zero_copy_only=False)
