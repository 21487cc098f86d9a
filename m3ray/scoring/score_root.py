"""Scores of the clips of a root, from the features that it holds."""

from __future__ import annotations

import json
import logging
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds

from m3ray.errors import BundleError, FeatureError
from m3ray.features.matrix import Features
from m3ray.schema import SIMILARITY, feature_names, is_captions
from m3ray.scoring.bundle_tiers import compute_similarity, load_similarity, select_features
from m3ray.scoring.decay import describe_decay
from m3ray.scoring.explanations.explained_files import identify_source
from m3ray.scoring.open_bundle import AnyBundle
from m3ray.scoring.pretrained_bundle import PretrainedBundle
from m3ray.scoring.reference.neighbour_files import NeighbourCollector, write_neighbours
from m3ray.similarity.fitted import FittedSimilarity
from m3ray.storage.catalogue_file import has_catalogue, read_catalogue
from m3ray.storage.ownership import (
    PREDICT_FOLDER,
    PREDICTIONS,
    choose_predictions_path,
    find_predictions_maker,
    keep_predictions,
)
from m3ray.storage.parquet_tables import METADATA_KEY, read_range
from m3ray.storage.root import Root
from m3ray.storage.tier_index import TierEntry, read_tier_index
from m3ray.storage.vector_columns import column_values
from m3ray.tiers.factory import select_computed
from m3ray.tiers.user import UserTier

logger = logging.getLogger(__name__)

_CHUNK = 20_000  # clips read and scored at once: bounds the matrix to a few hundred MB


def score_root(
    bundle: AnyBundle,
    features: Root,
    out: Root,
    *,
    job: str,
    delay: tuple[float, float] | None = None,
    over_time: pd.DataFrame | None = None,
    asked: Collection[str] = (),
) -> pd.DataFrame:
    """Score the clips of a catalogue, and write `predictions.parquet`, and `neighbours.parquet` beside it.

    Its column `split` says which clips of the root's own trained the bundle; it is null for other clips.

    Args:
        bundle: AnyBundle to score with.
        features: Root, or workspace, with the clips' catalogue and features.
        out: Root that the predictions go to.
        job: Name of the job. `predict` does not overwrite what another job wrote, nor scores of other clips or by
            another bundle: its predictions then go to `features`, as `choose_path` says.
        delay: Videos shown since viewing for a further score, and those that the training scores stand for; None: no
            further score.
        over_time: Columns `clip_id`, `times`, `curve` to add to the predictions; None: none.
        asked: Ids of clips whose neighbours are written whatever their score.
    Returns:
        The predictions, a row a clip.
    Raises:
        BundleError: If the features were made with other settings, weights or columns than the bundle's.
        ConfigError: If there is a delay, and the training data had no decay rates.
        FeatureError: If no clip has all tiers that the bundle sees.
    """
    neighbours = NeighbourCollector(bundle, asked)
    frame = score_clips(bundle, features, delay, neighbours)
    frame["split"] = _find_splits(frame["clip_id"], features, out)
    if delay is not None:
        logger.info(
            f"{job}: score_at_delay is after {delay[0]:g} videos; score after {delay[1]:g}; "
            f"{describe_decay(bundle.metadata.decay or {})}"
        )
    if over_time is not None:
        frame = frame.merge(over_time, on="clip_id", how="left")
    path = _write_predictions(frame, bundle, features, out, job)
    write_neighbours(out, path, neighbours.table(), describe_origin(bundle, features, out, job))
    if neighbours.reason is not None:
        logger.info(f"{job}: {neighbours.reason}")
    logger.info(f"predict: {len(frame)} clips scored by {bundle.name}: {out.display(*path)}")
    return frame


def _write_predictions(frame: pd.DataFrame, bundle: AnyBundle, features: Root, out: Root, job: str) -> tuple[str, ...]:
    """Write the predictions where they replace no other job's; return their path."""
    if job != "predict" and (earlier_path := keep_predictions(out)):
        logger.info(f"{job}: the scores that predict.py wrote are kept in {earlier_path}")
    metadata = {METADATA_KEY: json.dumps(describe_origin(bundle, features, out, job))}
    table = pa.Table.from_pandas(frame, preserve_index=False).replace_schema_metadata(metadata)
    path = choose_path(bundle, features, out) if job == "predict" else (PREDICTIONS,)
    if job == "predict" and out.exists(*path):
        logger.info(f"predict: the scores that {bundle.name} gave these clips before are replaced")
    if path != (PREDICTIONS,):
        logger.info(f"predict: {out.display(PREDICTIONS)} is {_describe_owner(out)}, and stays")
    out.write_table(table, *path)
    return path


def describe_origin(bundle: AnyBundle, features: Root, out: Root, job: str) -> dict[str, Any]:
    """Describe what made scores, as their file, and those that belong to it, keep it.

    Args:
        bundle: The bundle that scores.
        features: Root, or workspace, with the clips' catalogue and features.
        out: Root that the scores go to.
        job: Name of the job.
    Returns:
        JSON values: `bundle`, `untrained`, `job`, `catalogue` (the workspace below the root), `source` (a fingerprint
        of the bundle and the catalogue: another may have this name), and of a pretrained scorer its `provenance`.
    """
    # Names are those of this catalogue: another folder may hold other videos of the same names.
    catalogue = _name_catalogue(features, out)
    origin: dict[str, Any] = {"bundle": bundle.name, "untrained": bundle.untrained, "job": job, "catalogue": catalogue}
    origin["source"] = identify_source(bundle, catalogue)
    return origin | ({"provenance": bundle.provenance()} if isinstance(bundle, PretrainedBundle) else {})


def choose_path(bundle: AnyBundle, features: Root, out: Root) -> tuple[str, ...]:
    """Choose where the job predict writes a bundle's scores, before work is spent on them.

    Args:
        bundle: AnyBundle to score with.
        features: Root, or workspace, with the clips' catalogue and features.
        out: Root that the predictions go to.
    Returns:
        Path parts of the file below `out`, as `choose_predictions_path` says.
    Raises:
        ConfigError: If all that are left are files that m3ray did not make.
    """
    return choose_predictions_path(out, _name_catalogue(features, out) or PREDICT_FOLDER, bundle.name)


def _name_catalogue(features: Root, out: Root) -> str:
    return features.uri.removeprefix(out.uri).strip("/")


def _describe_owner(out: Root) -> str:
    """Whose the scores are that the root's own `predictions.parquet` holds."""
    owners = {"predict": "of other clips or by another bundle", "nobody": "not m3ray's", "reproduce": "the study's"}
    return owners[find_predictions_maker(out) or "nobody"]


def _find_splits(clips: pd.Series, features: Root, out: Root) -> pd.Series:
    """Split of each clip in the study of its root; null for new clips, whose own split nothing was trained by."""
    if features.uri != out.uri or not has_catalogue(features):
        return pd.Series(None, index=clips.index, dtype=pd.ArrowDtype(pa.string()))
    catalogue = read_catalogue(features, ["clip_id", "split"])
    rows = pc.index_in(pa.array(clips, pa.string()), value_set=catalogue["clip_id"].cast(pa.string()).combine_chunks())
    splits = catalogue["split"].cast(pa.string()).combine_chunks().take(rows)
    return pd.Series(pd.arrays.ArrowExtensionArray(splits), index=clips.index)


def score_clips(
    bundle: AnyBundle,
    features: Root,
    delay: tuple[float, float] | None = None,
    neighbours: NeighbourCollector | None = None,
) -> pd.DataFrame:
    """Score the clips that have all tiers that a bundle sees.

    The similarity tier is the root's own where it was applied with the bundle's fit: train clips are then compared with
    the others, as in training. Otherwise it is computed, as for new clips.

    Args:
        bundle: AnyBundle to score with.
        features: Root, or workspace, with the features; with a catalogue, clips that it does not list are left out.
        delay: Videos shown since viewing for a further score, and those that the training scores stand for; None: no
            further score.
        neighbours: Gathers what clips are compared to, and adds the column `inside`; None: nothing of that.
    Returns:
        A row a clip, as of `Bundle.score`.
    Raises:
        ConfigError: If there is a delay, and the training data had no decay rates.
        BundleError: If the features were made with other settings, weights or columns than the bundle's.
        FeatureError: If no clip has all tiers that the bundle sees.
    """
    parts = []
    for part in iter_features(bundle, features):
        scores = bundle.score(part, delay)
        parts.append(scores if neighbours is None else neighbours.add(part, scores))
    return pd.concat(parts, ignore_index=True)


def iter_features(bundle: AnyBundle, features: Root) -> Iterator[Features]:
    """Read the features of the clips that have all tiers that a bundle sees, some 20,000 clips at a time.

    Args:
        bundle: The bundle.
        features: Root, or workspace, with the features; with a catalogue, clips that it does not list are left out.
    Yields:
        The matrix that the bundle's model sees, of the next clips by id.
    Raises:
        BundleError: If the features were made with other settings, weights or columns than the bundle's.
        FeatureError: If no clip has all tiers that the bundle sees.
    """
    fitted = load_similarity(bundle)
    current = read_tier_index(features)
    others = (tier for tier, entry in current.items() if entry.user_provided or is_captions(tier))
    names = [*select_computed(current), *others]
    needed = [t for t in names if t in bundle.tiers or (fitted is not None and t in fitted.parts)]
    for tier in needed:
        check_identity(bundle, tier, current[tier].identity or {})
    shards = {tier: features.open_shards(*current[tier].path) for tier in needed}
    ids = read_shared_ids(features, [current[tier].folder for tier in needed])
    # A part of the clips at a time: of ten million, the vectors alone would be 100 GB.
    parts = [ids.slice(k, _CHUNK) for k in range(0, len(ids), _CHUNK)]
    if not parts:
        raise FeatureError(f"{bundle.name}: no clip of {features.uri} has all of {', '.join(needed)}: nothing to score")
    own = _open_similarity(bundle, features, current)
    for part in parts:
        yield _read_part(bundle, shards, part, own)


def _open_similarity(bundle: AnyBundle, features: Root, index: Mapping[str, TierEntry]) -> ds.Dataset | None:
    """A root's own rows of the similarity tier, where the bundle's fit made them; None: there are none."""
    entry = index.get(SIMILARITY)
    if entry is None or "similarity.safetensors" not in bundle.files:
        return None
    fit = [("artifacts", f"{entry.folder}.{ending}") for ending in ("safetensors", "json")]
    if not all(features.exists(*path) for path in fit):
        return None
    if [features.read_bytes(*path) for path in fit] != [
        bundle.files[f"similarity.{path[1].rpartition('.')[2]}"] for path in fit
    ]:
        return None
    return features.open_shards(*entry.path)


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


def check_identity(bundle: AnyBundle, tier: str, identity: Mapping[str, Any]) -> None:
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


def check_user_tiers(bundle: AnyBundle, tiers: Sequence[UserTier]) -> None:
    """Check that user-provided tiers have the columns that a bundle was trained on.

    Args:
        bundle: The bundle.
        tiers: The tiers, as their files have them.
    Raises:
        BundleError: If columns differ.
    """
    for tier in tiers:
        check_identity(bundle, tier.name, tier.identity())


def _read_part(
    bundle: AnyBundle, shards: Mapping[str, ds.Dataset], ids: pa.Array, similarity: ds.Dataset | None
) -> Features:
    columns: dict[str, np.ndarray] = {}
    for tier, dataset in shards.items():
        table = read_range(dataset, ids[0].as_py(), ids[-1].as_py())
        rows = table.take(pc.index_in(ids, value_set=table["clip_id"]))
        for name in feature_names(rows.schema):
            columns[f"{tier}/{name}"] = column_values(rows[name])
    fitted = load_similarity(bundle)
    if fitted is not None:
        columns |= _find_similarity(fitted, columns, similarity, ids)
    return select_features(bundle, ids.to_pylist(), columns)


def _find_similarity(
    fitted: FittedSimilarity, columns: dict[str, np.ndarray], own: ds.Dataset | None, ids: pa.Array
) -> dict[str, np.ndarray]:
    """The similarity tier of clips: a root's own rows, and what it lacks computed."""
    if own is None:
        return compute_similarity(fitted, columns)
    table = read_range(own, ids[0].as_py(), ids[-1].as_py())
    rows = pc.index_in(ids, value_set=table["clip_id"].cast(pa.string()).combine_chunks())
    known = rows.is_valid().to_numpy(zero_copy_only=False)
    values = np.empty((len(ids), len(fitted.columns)), np.float32)
    values[known] = column_values(table[SIMILARITY].take(rows.drop_null()))
    if not known.all():
        missing = compute_similarity(fitted, {name: column[~known] for name, column in columns.items()})
        values[~known] = np.stack(list(missing.values()), axis=1)
    return {f"{SIMILARITY}/{name}": values[:, k] for k, name in enumerate(fitted.columns)}
