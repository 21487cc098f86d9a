"""Repeated splits of a study: similarity is fitted anew in each, and every variant trained, each in a Ray task."""

from __future__ import annotations

import logging
import time
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import ray
import torch
from safetensors.numpy import load, save

from m3ray.config import SimilarityConfig
from m3ray.config.serialization import from_json
from m3ray.datasets.duplicates import number_sources
from m3ray.datasets.groups import DUPLICATES, choose_group, join_numbers
from m3ray.datasets.identity import number_videos, video_keys
from m3ray.errors import StudyError
from m3ray.features.dataset import StudyData
from m3ray.pipelines.runtime.cluster import Resources
from m3ray.pipelines.runtime.devices import take_assigned_device
from m3ray.pipelines.runtime.failures import as_m3ray_error
from m3ray.pipelines.runtime.rate import RecentRate, duration
from m3ray.pipelines.similarity.fit import request_fit_resources
from m3ray.pipelines.similarity.inputs import select_source_tiers
from m3ray.pipelines.study.layout import lay_out_folds
from m3ray.schema import SIMILARITY
from m3ray.storage.catalogue_file import read_catalogue, read_catalogue_schema
from m3ray.storage.dataset_folders import ChangeCheck
from m3ray.storage.root import Root
from m3ray.storage.root_record import group_column, read_record
from m3ray.storage.tier_index import read_tier_index
from m3ray.study.fold_results import FoldResult, add_splits, make_fold_frame
from m3ray.study.folds import Projected, SimilaritySource, Splits, check_folds, train_fold
from m3ray.study.study import Study
from m3ray.study.variants import ENSEMBLE, Variant

logger = logging.getLogger(__name__)

_LINE_SECONDS = 10.0  # between two lines of progress


def check_enough_clips(folds: int, clips: pa.Table | None, group: str | None, root: Root | None = None) -> None:
    """Check that clips can be cut into so many folds, before work is spent on them.

    Args:
        folds: Number of folds; 0: none are made.
        clips: The catalogue, or the clips that will be in it; None: not known yet.
        group: Value of `--group`; None: each clip is on its own.
        root: Root that has their near duplicates; None: none does yet.
    Raises:
        ConfigError: If there cannot be so many folds.
    """
    check_folds(folds)
    if not folds or clips is None:
        return
    inside = pc.and_(pc.is_valid(clips["score"]), pc.fill_null(pc.not_equal(clips["split"], "test"), True))
    used = clips.filter(inside)
    column = choose_group(group, used.column_names).column  # near duplicates are not known before an extraction
    check_folds(folds, used.num_rows, len(np.unique(_number_together(used, root, column if root is None else group))))


def check_root_clips(folds: int, root: Root) -> None:
    """Check that a root's clips can be cut into so many folds, before work is spent on them.

    Args:
        folds: Number of folds; 0: none are made.
        root: Root with a catalogue.
    Raises:
        ConfigError: If there cannot be so many folds.
    """
    check_folds(folds)
    if folds:
        check_enough_clips(folds, read_catalogue(root), group_column(root), root)


def run_splits(
    study: Study, variants: Sequence[Variant], trials: pd.DataFrame, folds: int, seed: int, resources: Resources
) -> pd.DataFrame:
    """Train the variants in repeated splits, and add what they reached to the study's table.

    What an earlier job trained is not trained again. Variants whose networks are trained too are left out, as is the
    ensemble: it would train the MLP on fifths of each split.

    Args:
        study: The study.
        variants: Its variants; of two of one name the later one counts.
        trials: Content of `trials.parquet`.
        folds: Number of splits.
        seed: Seed of their draw.
        resources: CPUs and GPUs of the cluster.
    Returns:
        Content of `trials.parquet` with the columns of `add_splits`; it is written, as is `folds.parquet`.
    """
    splits = read_splits(study, folds, seed)
    unique = [v for v in {variant.name: variant for variant in variants}.values() if _is_split(v)]
    results = _read_results(study, unique, splits)
    logger.info(
        f"splits: {len(unique)} variants x {folds} splits x {len(study.seeds)} runs; {len(results)} trainings cached"
    )
    results |= _train_missing(study, unique, splits, set(results), resources)
    ordered = [results[variant.name, fold] for variant in unique for fold in range(folds)]
    out = add_splits(trials, ordered, folds)
    frames = {"folds.parquet": make_fold_frame(ordered), "trials.parquet": out}
    for name, frame in frames.items():
        study.root.write_table(pa.Table.from_pandas(frame, preserve_index=False), *study.folder, name)
    return out


def _is_split(variant: Variant) -> bool:
    return variant.finetuning is None and variant.regressor != ENSEMBLE


def describe_splits(root: Root, data: StudyData, folds: int) -> dict[str, str]:
    """Describe the repeated splits of a study, for below its tables.

    Args:
        root: Root of the study.
        data: Its data.
        folds: Number of splits; 0: there are none.
    Returns:
        `splits` to a sentence; nothing where there are none.
    """
    if not folds:
        return {}
    clips, group = len(data.train) + len(data.val), group_column(root)
    apart = f", clips of one {_name_group(root, group)} always in one part" if group is not None else ""
    return {
        "splits": f"Splits: {clips} scored clips outside test, cut into {folds} parts of like scores{apart}; each part "
        f"is val once while the others train. The spread is the standard deviation over the {folds}; it is no standard "
        "error, as their train clips overlap. Scaling and similarity are fitted anew in each; HOG's PCA and the "
        "captions' SVD, which no score goes into, and selected settings, where there are any, are those of the root's "
        "own train split."
    }


def _name_group(root: Root, group: str) -> str:
    """What clips that stay together have in common, in words."""
    choice = choose_group(group, read_catalogue_schema(root).names)
    parts = [choice.column, f"group of near {DUPLICATES}" if choice.duplicates else None]
    return " or ".join(part for part in parts if part)


def read_splits(study: Study, folds: int, seed: int) -> Splits:
    """Draw the splits of a study, by what its root knows of the clips.

    Args:
        study: The study.
        folds: Number of splits.
        seed: Seed of their draw.
    Returns:
        The splits: clips of one group, and clips that show one video, are on one side.
    Raises:
        ConfigError: If there are too few clips or groups for so many splits.
    """
    root, data = study.root, study.data
    catalogue = read_catalogue(root)
    position = {name: row for row, name in enumerate(catalogue["clip_id"].to_pylist())}
    clips = catalogue.take([position[name] for name in data.features.clip_ids])
    groups = _number_together(clips, root, group_column(root), _read_identity(root))
    labels = [row or () for row in clips["labels"].to_pylist()]
    return Splits.draw(data, groups, folds, seed, labels, _read_sources(root, data.features.tiers))


def _number_together(clips: pa.Table, root: Root | None, group: str | None, by: ChangeCheck = "fast") -> np.ndarray:
    """Number of each clip's set of clips that must stay together, (rows,)."""
    videos, sources = number_videos(video_keys(clips["uri"], by)), number_sources(root, clips, group)
    return videos if sources is None else join_numbers(videos, sources)


def _read_identity(root: Root) -> ChangeCheck:
    """What identifies the root's videos, as it was read."""
    record = read_record(root)
    return "hash" if record is not None and record.settings.get("identity") == "hash" else "fast"


def _read_sources(root: Root, tiers: Sequence[str]) -> dict[str, SimilaritySource]:
    """What each similarity tier of a study was fitted with."""
    index = read_tier_index(root)
    configs = {t: from_json(SimilarityConfig, index[t].config) for t in tiers if t.partition(":")[0] == SIMILARITY}
    return {tier: SimilaritySource(c, tuple(select_source_tiers(root, c))) for tier, c in configs.items()}


_Key = tuple[str, int]


def _read_results(study: Study, variants: Sequence[Variant], splits: Splits) -> dict[_Key, FoldResult]:
    """Results that an earlier job left, by variant and fold."""
    results = {}
    for variant in variants:
        folder = study.splits_folder(variant, splits.key)
        for name in study.root.list_names(*folder, suffix=".json"):
            result = FoldResult(**study.root.read_json(*folder, name))
            results[variant.name, result.fold] = result
    return results


def _train_missing(
    study: Study, variants: Sequence[Variant], splits: Splits, done: set[_Key], resources: Resources
) -> dict[_Key, FoldResult]:
    """Train what has no result yet; one that failed is undefined, and tried again by the next job."""
    missing = [variant for variant in variants if any((variant.name, k) not in done for k in range(splits.count))]
    if not missing:
        return {}
    shared = ray.put((study.root, splits, study.seeds))
    wanted = [(v, k) for v in missing for k in range(splits.count) if (v.name, k) not in done]
    refits = _refit(study, splits, shared, wanted, resources)
    shares = lay_out_folds(splits.data, missing, splits.count, len(study.seeds), resources)
    order = {name: place for place, name in enumerate(shares)}
    tasks = {}
    for variant, fold in sorted(wanted, key=lambda pair: order[pair[0].name]):
        seen = [tier for tier in variant.tiers if tier in splits.similarity]
        folder = study.splits_folder(variant, splits.key)
        task = _train_task.options(**shares[variant.name]).remote(
            shared, variant, fold, folder, seen, *(refits[tier, fold] for tier in seen)
        )
        tasks[task] = (variant.name, fold)
    return _collect(tasks, splits)


def _refit(
    study: Study,
    splits: Splits,
    shared: ray.ObjectRef,
    wanted: Sequence[tuple[Variant, int]],
    resources: Resources,
) -> dict[_Key, ray.ObjectRef]:
    """Tasks that fit similarity anew, by tier and fold: those that some training needs."""
    needed = sorted({(tier, fold) for v, fold in wanted for tier in v.tiers if tier in splits.similarity})
    if needed:
        measures = ", ".join(sorted({splits.similarity[tier].config.measure for tier, _ in needed}))
        logger.info(f"splits: similarity ({measures}) is fitted anew in each split: {len(needed)} fits")
    request = request_fit_resources(len(splits.data.train) + len(splits.data.val), resources)
    projections: dict[tuple[Any, ...], ray.ObjectRef] = {}
    refits = {}
    for tier, fold in needed:
        source = splits.similarity[tier]
        alike = (fold, source.tiers, source.config.components, source.config.seed)
        folder = study.similarity_folder(tier, splits.key)
        cached = study.root.exists(*folder, name_columns(fold))
        if not cached and alike not in projections:
            projections[alike] = _project_task.options(**request).remote(shared, tier, fold)
        projected = None if cached else projections[alike]
        refits[tier, fold] = _refit_task.options(**request).remote(shared, tier, fold, folder, projected)
    return refits


def _collect(tasks: Mapping[ray.ObjectRef, _Key], splits: Splits) -> dict[_Key, FoldResult]:
    """Wait for trainings, with a line of progress now and then."""
    results, waiting, rate, last = {}, list(tasks), RecentRate(), time.monotonic()
    while waiting:
        ready, waiting = ray.wait(waiting, num_returns=len(waiting), timeout=_LINE_SECONDS / 2)
        for task in ready:
            results[tasks[task]] = _take_result(task, tasks[task], splits)
        rate.add(len(results))
        if waiting and time.monotonic() - last >= _LINE_SECONDS:
            left, last = rate.seconds_left(len(waiting)), time.monotonic()
            # The longest begin, and similarity is fitted before: the first tell nothing of the pace.
            early = len(results) < len(tasks) / 10
            pace = "pace not known yet" if early or left is None else f"about {duration(left)} left"
            logger.info(f"splits: {len(results)}/{len(tasks)} trainings, {pace}")
    return results


def _take_result(task: ray.ObjectRef, key: _Key, splits: Splits) -> FoldResult:
    try:
        result: FoldResult = ray.get(task)
    except Exception as error:
        reason = str(as_m3ray_error(error))[:300]
        logger.warning(f"splits: {key[0]} failed in split {key[1] + 1}, the table marks it: {reason}")
        train, val = splits.rows(key[1])
        return FoldResult(*key, len(train), len(val), reason=f"failed: {reason}")
    return result


def name_columns(fold: int) -> str:
    """Name of the file that keeps a similarity tier as it was fitted in a split.

    Args:
        fold: The fold that is val.
    Returns:
        The file's name.
    """
    return f"fold-{fold}.safetensors"


_Shared = tuple[Root, Splits, tuple[int, ...]]
_Refitted = np.ndarray | str  # the columns of a tier, or why it cannot be fitted on these clips


@ray.remote
def _project_task(shared: _Shared, tier: str, fold: int) -> Projected | str:
    take_assigned_device()
    splits = shared[1]
    try:
        return splits.project(fold, splits.similarity[tier])
    except StudyError as error:
        return str(error)


@ray.remote
def _refit_task(
    shared: _Shared, tier: str, fold: int, folder: Sequence[str], projected: Projected | str | None
) -> _Refitted:
    """Fit a similarity tier in a split, unless an earlier job did; its columns are kept."""
    take_assigned_device()
    root, splits, _ = shared
    return refit_tier(root, splits, tier, fold, folder, projected)


def refit_tier(
    root: Root, splits: Splits, tier: str, fold: int, folder: Sequence[str], projected: Projected | str | None
) -> _Refitted:
    """Fit a similarity tier in a split, or read what an earlier job fitted.

    Args:
        root: Root that keeps the columns.
        splits: The splits.
        tier: Name of the tier.
        fold: The fold that is val.
        folder: Folder of the tier's columns below the root.
        projected: Its projected vectors, or why there are none; None where the columns are kept.
    Returns:
        The tier's columns, (N, d), float32; or why it cannot be fitted on these clips.
    """
    name = (*folder, name_columns(fold))
    if projected is None:
        return load(root.read_bytes(*name))["columns"]
    if isinstance(projected, str):
        return projected
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # told once, where the root's own tier was fitted
        try:
            columns = splits.refit(fold, splits.similarity[tier], projected)
        except StudyError as error:
            return str(error)
    root.write_bytes(save({"columns": columns}), *name)
    return columns


@ray.remote
def _train_task(
    shared: _Shared, variant: Variant, fold: int, folder: Sequence[str], tiers: Sequence[str], *refits: _Refitted
) -> FoldResult:
    torch.set_num_threads(1)
    device = take_assigned_device()
    root, splits, seeds = shared
    result = train_in_split(splits, variant, fold, dict(zip(tiers, refits, strict=True)), seeds, device)
    root.write_json(result.as_json(), *folder, f"fold-{fold}.json")
    return result


def train_in_split(
    splits: Splits,
    variant: Variant,
    fold: int,
    refitted: Mapping[str, _Refitted],
    seeds: Sequence[int],
    device: torch.device,
) -> FoldResult:
    """Train a variant in a split, where its similarity tiers could be fitted.

    Args:
        splits: The splits.
        variant: The variant.
        fold: The fold that is val.
        refitted: Similarity tier that it sees to its columns, (N, d), or to why it cannot be fitted.
        seeds: Seed of each run.
        device: Device to train on.
    Returns:
        What it reached; undefined, with the reason, where a tier cannot be fitted.
    """
    impossible = [f"{tier}: {reason}" for tier, reason in refitted.items() if isinstance(reason, str)]
    if impossible:
        train, val = splits.rows(fold)
        return FoldResult(variant.name, fold, len(train), len(val), reason=impossible[0])
    columns = {tier: values for tier, values in refitted.items() if not isinstance(values, str)}
    return train_fold(variant, splits, fold, columns, seeds, device)
