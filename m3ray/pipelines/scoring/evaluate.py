"""Evaluation of bundles on roots. What a root lacks for a bundle is computed under `--out`: the root stays as it is."""

from __future__ import annotations

import logging
from dataclasses import replace
from functools import partial

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from m3ray.config import fingerprint
from m3ray.config.options import EvaluateOptions
from m3ray.datasets.clip_contents import clip_stamps, read_canonical_folders
from m3ray.datasets.known_contents import note_contents, read_known_contents
from m3ray.features.captions import store_captions
from m3ray.pipelines.extraction import planning
from m3ray.pipelines.extraction.missing_features import check_reject_share, compute_missing
from m3ray.pipelines.extraction.preflight import check_weights
from m3ray.pipelines.extraction.row_updates import drop_stale_rows
from m3ray.pipelines.runtime.cluster import Resources
from m3ray.pipelines.runtime.job import Job
from m3ray.request.bundles import check_evaluated_root
from m3ray.schema import CATALOGUE_FILE, CONTENT
from m3ray.scoring.bundle import Bundle
from m3ray.scoring.bundle_archive import is_archive
from m3ray.scoring.bundle_tiers import load_captions, make_bundle_tiers
from m3ray.scoring.open_bundle import AnyBundle, describe, open_bundle
from m3ray.scoring.score_root import iter_features, score_clips
from m3ray.scoring.train_clips import TRAIN_CLIPS_FILE, find_seen
from m3ray.storage.catalogue_file import has_catalogue, read_catalogue
from m3ray.storage.compaction import replace_rows
from m3ray.storage.csv_writing import csv_bytes
from m3ray.storage.hashed_address import parse_address
from m3ray.storage.rejects import read_rejected_ids
from m3ray.storage.root import Root
from m3ray.storage.tier_index import TierEntry, feature_folder, read_tier_index, update_tier_index
from m3ray.storage.versions import read_folder_metadata
from m3ray.study.ceiling import measure_clips
from m3ray.study.cross_dataset import (
    Evaluation,
    as_markdown,
    describe_seen,
    evaluate_predictions,
    evaluate_unseen,
    evaluation_table,
)
from m3ray.tiers import Tier, tier_fingerprint

logger = logging.getLogger(__name__)

FOLDER = "evaluation"
_ORIGIN = "evaluated.json"


def evaluate_all(job: Job, options: EvaluateOptions, resources: Resources) -> list[Evaluation]:
    """Evaluate every bundle on every root, and write the table to `evaluation/`.

    Args:
        job: Its root gets the table, and the features that a root lacks.
        options: Bundles, roots, and how features are computed.
        resources: CPUs and GPUs of the cluster.
    Returns:
        A row a bundle and root.
    """
    roots, rows = [Root(uri) for uri in options.roots], []
    names, labels = _short_names([root.uri for root in roots]), set()
    for uri in options.bundles:
        bundle = open_bundle(uri, allow_other_weights=options.allow_other_weights)
        logger.info(f"evaluate: {describe(bundle)}")
        origin = _name_origin(uri, roots, names) if isinstance(bundle, Bundle) else bundle.facts.trained_on
        if isinstance(bundle, Bundle) and (origin, bundle.name) in labels:  # a copy under another folder's name
            bundle = replace(bundle, name=parse_address(uri).location.rstrip("/").rpartition("/")[2])
        labels.add((origin, bundle.name))
        for root, name in zip(roots, names, strict=True):
            rows.append(_evaluate(job.root, bundle, origin, root, name, options, resources))
    frame = evaluation_table(rows)
    job.root.write_table(pa.Table.from_pandas(frame, preserve_index=False), FOLDER, "evaluation.parquet")
    job.root.write_bytes(csv_bytes(frame), FOLDER, "evaluation.csv")
    job.root.write_bytes(as_markdown(rows).encode(), FOLDER, "evaluation.md")
    logger.info(as_markdown(rows).rstrip())
    return rows


def _short_names(uris: list[str]) -> list[str]:
    """The last part of each root's address; the whole where that is not unique."""
    short = [uri.rsplit("/", 1)[-1] for uri in uris]
    return short if len(set(short)) == len(short) else uris


def _name_origin(uri: str, roots: list[Root], names: list[str]) -> str:
    """The name of the root that a bundle lies in; else the bundle's own address."""
    location = parse_address(uri).location
    if is_archive(location):
        return location
    folder = Root(location).uri
    return next((name for root, name in zip(roots, names, strict=True) if folder.startswith(root.uri + "/")), folder)


def _evaluate(
    out: Root, bundle: AnyBundle, origin: str, root: Root, name: str, options: EvaluateOptions, resources: Resources
) -> Evaluation:
    catalogue, target = read_catalogue(root), bundle.metadata.units.name
    split = check_evaluated_root(bundle.name, bundle.metadata, bundle.tiers, root)
    scored = catalogue.filter(pc.is_valid(catalogue[target]))
    clips = scored.filter(pc.equal(scored["split"], split))
    workspace = _collect_features(_open_workspace(out, root, name), bundle, root, clips, options, resources)
    scores = score_clips(bundle, workspace).set_index("clip_id")["score"]
    truth = dict(zip(clips["clip_id"].to_pylist(), clips[target].to_pylist(), strict=True))
    scores = scores[[clip for clip in scores.index if clip in truth]]
    logger.info(f"evaluate: {bundle.name} of {origin} on {name}: {len(scores)} of {len(truth)} {split} clips")
    frame = pd.DataFrame({"score": scores, "truth": scores.index.map(truth).to_numpy(dtype=float, copy=True)})
    described = partial(_evaluate_frame, clips, origin=origin, name=name, split=split, bundle=bundle)
    whole, seen = described(frame), find_seen_clips(bundle, workspace, clips, frame["truth"])
    if seen is None:
        return whole
    left = frame[~(seen["train"] if whole.keeps_val else seen.any(axis=1))]
    row = evaluate_unseen(whole, described(left), int(seen["train"].sum()), int(seen["val"].sum()))
    if len(left) < len(frame):
        logger.warning(f"evaluate: {describe_seen(row)}")
    return row


def _evaluate_frame(
    clips: pa.Table, frame: pd.DataFrame, *, origin: str, name: str, split: str, bundle: AnyBundle
) -> Evaluation:
    """Compare the column `score` of a frame, by clip id, with `truth`."""
    predictions, truth, target = frame["score"].to_numpy(), frame["truth"].to_numpy(), bundle.metadata.units.name
    ceiling = measure_clips(clips, list(frame.index), target, truth) if len(frame) else None
    row = evaluate_predictions(origin, name, split, origin == name, predictions, truth, ceiling)
    return replace(
        row, bundle=bundle.name, untrained=bundle.untrained, target=target, pretrained=not isinstance(bundle, Bundle)
    )


def find_seen_clips(bundle: AnyBundle, workspace: Root, clips: pa.Table, truth: pd.Series) -> pd.DataFrame | None:
    """Find the clips that trained a bundle, and those that chose its settings or calibrated it.

    Args:
        bundle: The bundle.
        workspace: Root, or workspace, with the features of the clips.
        clips: The clips, as the catalogue of their root has them.
        truth: True score of each clip that is asked about, by its id.
    Returns:
        `train` and `val` of each of those clips, bool, by its id; None where an older bundle, or a pretrained
        scorer, does not tell.
    """
    recorded = bundle.files.get(TRAIN_CLIPS_FILE)
    if recorded is None or not isinstance(bundle, Bundle):
        return None
    parts = []
    for features in iter_features(bundle, workspace):
        scores = truth.reindex(features.clip_ids).to_numpy()
        seen = find_seen(recorded, bundle.scaling, features, clips, scores)
        parts.append(pd.DataFrame({"train": seen.train, "val": seen.val}, index=list(features.clip_ids)))
    return pd.concat(parts).loc[truth.index]


def _open_workspace(out: Root, root: Root, name: str) -> Root:
    """A folder for what is computed of a root's clips: its own, as clips of two roots may have one name."""
    name = name.replace("/", "_").replace(":", "_")
    workspace = out.subroot(FOLDER, name)
    is_used = has_catalogue(workspace)
    if is_used and (not workspace.exists(_ORIGIN) or workspace.read_json(_ORIGIN) != {"root": root.uri}):
        workspace = out.subroot(FOLDER, f"{name}-{fingerprint(root.uri)}")
    workspace.write_json({"root": root.uri}, _ORIGIN)
    return workspace


def _collect_features(
    workspace: Root, bundle: AnyBundle, root: Root, clips: pa.Table, options: EvaluateOptions, resources: Resources
) -> Root:
    """Copy the bundle's tiers of `clips` to the workspace where the root holds just those; compute the others."""
    configs, tiers = make_bundle_tiers(bundle)
    workspace.write_table(clips, CATALOGUE_FILE)
    stamps = pa.table({"clip_id": clips["clip_id"], CONTENT: clip_stamps(root, clips)})
    contents = read_known_contents(root, read_canonical_folders(clips.schema))
    note_contents(workspace, read_known_contents(workspace, {}), contents)
    missing = []
    for tier in tiers:
        folder = feature_folder(tier.name, tier_fingerprint(tier, configs.decode))
        if not _copy_features(workspace, root, tier, folder, stamps, contents):
            missing.append(tier)
    _copy_user_tiers(bundle, root, workspace)
    if (captions := load_captions(bundle)) is not None:
        logger.info(store_captions(workspace, clips, captions))
    if missing:
        check_weights(missing)
        plan = planning.plan(workspace, clips, missing, configs, retry=False, home=root)
        compute_missing(plan, clips, configs, options, resources)
        check_reject_share(workspace, clips["clip_id"], options)
    return workspace


def _copy_features(
    workspace: Root, root: Root, tier: Tier, folder: tuple[str, str], stamps: pa.Table, contents: pa.Table
) -> bool:
    """Copy a root's features of a tier, of clips that have not changed since; return whether none is missing."""
    shards = root.read_shards(*folder)
    if shards is None:
        return False
    wanted = read_catalogue(workspace, ["clip_id"])["clip_id"]
    rows = shards.filter(pc.is_in(shards["clip_id"], wanted.combine_chunks()))
    if rows.num_rows == 0:
        return False
    replace_rows(workspace, rows, folder, read_folder_metadata(root, *folder))
    drop_stale_rows(workspace, folder, stamps, known_contents=contents)
    update_tier_index(workspace, {tier.name: TierEntry(folder[1], tier.untrained, tier.identity())})
    # What the root rejected stays out; whatever else it lacks is computed.
    rejected = read_rejected_ids(root, permanent=True)
    in_workspace = pc.is_in(wanted, value_set=workspace.read_ids(*folder))
    return pc.all(pc.or_(in_workspace, pc.is_in(wanted, value_set=rejected))).as_py()


def _copy_user_tiers(bundle: AnyBundle, root: Root, workspace: Root) -> None:
    """Copy the user-provided tiers that the bundle sees; they have the same names in the evaluated root."""
    index = read_tier_index(root)
    for tier in bundle.metadata.user_provided:
        folder = index[tier].path
        rows = root.read_shards(*folder)
        assert rows is not None
        workspace.write_shard(rows, folder, root.read_shard_metadata(*folder))
        update_tier_index(workspace, {tier: index[tier]})
