"""Scoring: new clips through a bundle's own tiers, or a root's clips from the features that it has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds

from m3ray.data.brought import Brought, parse_tiers, read_tier
from m3ray.data.catalogue import write_catalogue
from m3ray.data.datasets import list_clips
from m3ray.data.rooms import current_tiers
from m3ray.data.store import Root, read_range
from m3ray.errors import BundleError, ConfigError
from m3ray.options import PredictOptions
from m3ray.pipelines.featuring import tell_listing
from m3ray.pipelines.progress import say
from m3ray.schema import Clip, catalogue_table
from m3ray.tiers import Tier
from m3ray.tiers.factory import computed
from m3ray.training.bundle import Bundle
from m3ray.training.scorer import bundle_features, bundle_similarity, similarity_columns

NAME = "predictions.parquet"
_CHUNK = 20_000  # clips read and scored at once: bounds the matrix to a few hundred MB


def score_root(
    bundle: Bundle,
    features: Root,
    out: Root,
    *,
    delay: tuple[float, float] | None = None,
    over_time: pd.DataFrame | None = None,
) -> pd.DataFrame:
    """Scores every clip whose tiers `features` holds, and writes `predictions.parquet` under `out`.

    Args:
        bundle: that scores.
        features: the root of the clips' tiers.
        out: where to.
        delay: also the score after this many videos, and those that the training scores stand for.
        over_time: `clip_id`, `times`, `curve`, to stand beside the scores.
    Raises:
        BundleError: the features were made otherwise than those the bundle was trained on.
        ConfigError: a delay is asked for, and the training data had no decay rates.
    """
    frame = scored(bundle, features)
    if delay is not None:
        frame["score_at_delay"] = bundle.at_delay(frame["score"].to_numpy(), *delay)
        say(f"predict: score_at_delay is after {delay[0]:g} videos; score after {delay[1]:g}")
    if over_time is not None:
        frame = frame.merge(over_time, on="clip_id", how="left")
    metadata = {b"m3ray": f'{{"bundle": "{bundle.name}", "untrained": {str(bundle.untrained).lower()}}}'.encode()}
    table = pa.Table.from_pandas(frame, preserve_index=False).replace_schema_metadata(metadata)
    out.write_table(table, NAME)
    say(f"predict: {len(frame)} clips scored by {bundle.name}: {out.display(NAME)}")
    return frame


def scored(bundle: Bundle, features: Root) -> pd.DataFrame:
    """Scores, spreads, intervals and shares of every clip whose tiers `features` holds.

    Raises:
        BundleError: the features were made otherwise than those the bundle was trained on.
    """
    fitted = bundle_similarity(bundle)
    current = current_tiers(features)
    # Similarity is computed from the bundle's own fit: rows of the train split then have no leave-one-out either.
    names = [*computed(current), *(tier for tier, entry in current.items() if entry.get("brought"))]
    needed = [t for t in names if t in bundle.tiers or (fitted is not None and t in fitted.parts)]
    for tier in needed:
        check_identity(bundle, tier, current[tier]["identity"])
    shards = {tier: features.shards("features", current[tier]["folder"]) for tier in needed}
    ids = _shared_ids(features, [current[tier]["folder"] for tier in needed])
    # A part of the clips at a time: of ten million, the vectors alone would be 100 GB.
    parts = [ids.slice(k, _CHUNK) for k in range(0, len(ids), _CHUNK)]
    return pd.concat([_score(bundle, shards, part) for part in parts], ignore_index=True)


def _shared_ids(features: Root, folders: Sequence[str]) -> pa.Array:
    """The clips that all folders hold, in order."""
    first, *others = [features.ids("features", folder) for folder in folders]
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


def brought_again(bundle: Bundle, options: PredictOptions) -> list[Brought]:
    """The tiers that the bundle's user brought, read again for new clips.

    Raises:
        ConfigError: one is not given.
        BundleError: one has other columns than the bundle was trained on.
    """
    known = {tier: entry for tier, entry in bundle.facts["tiers"].items() if entry.get("brought")}
    given = parse_tiers(options.tier)
    lacking = sorted(set(known) - set(given))
    if lacking:
        raise ConfigError(
            f"{bundle.name} sees {', '.join(lacking)}, brought by a user: give the new clips' with "
            f"--tier {lacking[0]}=FILE"
        )
    found = [read_tier(tier, given[tier], scaled=entry["scaled"]) for tier, entry in known.items()]
    for tier in found:
        check_identity(bundle, tier.name, tier.identity())
    return found


def new_clips(room: Root, brought: list[Brought], tiers: list[Tier], options: PredictOptions) -> pa.Table:
    """The catalogue of the clips to score: a data set's, or the clips of the tiers brought."""
    if options.root is None and brought and not tiers:
        ids = sorted(set.intersection(*(set(tier.ids) for tier in brought)))
        return write_catalogue(room, catalogue_table([Clip(name, "") for name in ids[: options.limit]]), 0)
    listed = list_clips(room, options.dataset, options.root, limit=options.limit, seed=0, read=options.reading)
    tell_listing(room, listed, [tier.name for tier in tiers], write=not options.dry_run)
    return write_catalogue(room, listed.table, 0)


def _score(bundle: Bundle, shards: Mapping[str, ds.Dataset], ids: pa.Array) -> pd.DataFrame:
    columns: dict[str, np.ndarray] = {}
    for tier, dataset in shards.items():
        table = read_range(dataset, ids[0].as_py(), ids[-1].as_py())
        rows = table.take(pc.index_in(ids, value_set=table["clip_id"]))
        for name in rows.column_names[1:]:
            columns[f"{tier}/{name}"] = _values(rows[name].combine_chunks())
    fitted = bundle_similarity(bundle)
    if fitted is not None:
        columns |= similarity_columns(fitted, columns)
    return bundle.score(bundle_features(bundle, ids.to_pylist(), columns))


def _values(column: pa.Array) -> np.ndarray:
    if pa.types.is_fixed_size_list(column.type):
        return column.flatten().to_numpy(zero_copy_only=False).reshape(len(column), -1)
    return column.to_numpy(zero_copy_only=False)
