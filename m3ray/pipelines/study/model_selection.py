"""Choice of a variant's training settings: a Ray task a candidate."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import ray
import torch

from m3ray.config import TrainConfig, as_json, from_json
from m3ray.config.options import FitOptions
from m3ray.features.dataset import StudyData
from m3ray.features.load import StudyFeatures
from m3ray.pipelines.runtime.cluster import Resources
from m3ray.pipelines.runtime.devices import hide_gpus
from m3ray.schema import SIMILARITY
from m3ray.storage.root import Root
from m3ray.study.study import Study
from m3ray.study.trial import select_columns
from m3ray.study.variants import Variant
from m3ray.tiers.user import user_tiers
from m3ray.training.model_selection import Candidate, best_candidate, can_select, make_candidates, score_candidate

logger = logging.getLogger(__name__)

SETTINGS_FILE = "settings.json"


def choose_training(
    root: Root, loaded: StudyFeatures, variant: Variant, options: FitOptions, resources: Resources
) -> TrainConfig:
    """Choose a variant's training settings: its own, or those that suit its tiers best.

    Args:
        root: Root with the features.
        loaded: Joined features and scores of the study.
        variant: The variant.
        options: Options with `fit`: `paper`, `select`, `each`, or `auto`, which selects for user-provided tiers alone.
        resources: CPUs and GPUs of the cluster.
    Returns:
        The settings.
    """
    return (
        select_training(loaded.data, variant, resources) if _is_selected(root, variant, options) else variant.training
    )


def _is_selected(root: Root, variant: Variant, options: FitOptions) -> bool:
    """Whether the settings are to be selected: on request, or for tiers of the user's own."""
    # Similarity of user-provided vectors is as small and weak as they are.
    others = {tier for tier in variant.tiers if tier.partition(":")[0] != SIMILARITY}
    weak = bool(others) and others <= set(user_tiers(root)) and getattr(options, "config", None) is None
    return options.fit in ("select", "each") or (options.fit == "auto" and weak)


def describe_selection(root: Root, data: StudyData, full: Variant, options: FitOptions) -> dict[str, str]:
    """Describe whose training settings the rows of a study have, for below its tables.

    Args:
        root: Root with the features.
        data: Data of the study.
        full: The full model.
        options: Options with `fit`.
    Returns:
        `settings` to a sentence; nothing where every row has the preset's.
    """
    if not _is_selected(root, full, options) or not can_select(data):
        return {}
    if options.fit == "each":
        return {"settings": "Settings were selected for each row on its own, among the same candidates."}
    return {
        "settings": f"Settings were selected for {full.name} and are shared by every row: a row that needs others may "
        "look worse than it could be. Rows of raw features alone or of one measure alone keep the preset's."
    }


def select_training(data: StudyData, variant: Variant, resources: Resources, seed: int = 0) -> TrainConfig:
    """Select the settings that rank held-out parts of the train split best.

    Args:
        data: Features and scores of the study.
        variant: The variant.
        resources: CPUs and GPUs of the cluster.
        seed: Seed of the parts and of the runs.
    Returns:
        The settings; the variant's own where the train split is too small.
    """
    if not can_select(data):
        logger.info(f"train: {_describe_train(data)} too few to choose settings on: the paper's are taken")
        return variant.training
    tasks = _start_candidates(data, ray.put(data), variant, seed)
    logger.info(
        f"train: choosing among {len(tasks)} settings on held-out fifths of the train split ({resources.cpus} CPUs)"
    )
    candidates: dict[str, Candidate] = {name: ray.get(task) for name, task in tasks.items()}
    best = best_candidate(candidates)
    for name, candidate in candidates.items():
        mark = "  <- chosen" if name == best else ""
        spearman, epochs = candidate.best_spearman, candidate.best_config.epochs
        logger.info(f"  {name:<30} held-out spearman {spearman:.4f} after {epochs} epochs{mark}")
    return candidates[best].best_config


def select_each(study: Study, variants: Sequence[Variant], resources: Resources, seed: int = 0) -> list[Variant]:
    """Select the settings of each variant of a study; what an earlier job selected is not selected again.

    Args:
        study: The study.
        variants: Its variants; of two of one name the later one counts.
        resources: CPUs and GPUs of the cluster.
        seed: Seed of the held-out parts and of the runs.
    Returns:
        The variants with their settings, once each; as they are where the train split is too small.
    """
    unique = list({variant.name: variant for variant in variants}.values())
    if not can_select(study.data):
        logger.info(f"study: {_describe_train(study.data)} too few to choose settings on: the paper's are taken")
        return unique
    kept = {v.name: v for v in unique if study.root.exists(*study.trial_folder(v), SETTINGS_FILE)}
    missing, shared = [v for v in unique if v.name not in kept], ray.put(study.data)
    logger.info(f"study: choosing settings for each of {len(unique)} rows, {len(kept)} cached ({resources.cpus} CPUs)")
    started = [(v, _start_candidates(study.data, shared, v, seed)) for v in missing]
    for variant, tasks in started:
        _keep_best(study, variant, {name: ray.get(task) for name, task in tasks.items()})
    return [replace(v, training=_read_selected(study, v)) for v in unique]


def _start_candidates(data: StudyData, shared: ray.ObjectRef, variant: Variant, seed: int) -> dict[str, ray.ObjectRef]:
    columns = select_columns(data.features, variant)
    return {
        name: _score_task.options(num_cpus=1).remote(shared, columns, config, seed)
        for name, config in make_candidates(variant.training).items()
    }


def _keep_best(study: Study, variant: Variant, candidates: dict[str, Candidate]) -> None:
    """Keep what was selected for a variant in the folder that it would have with its own settings."""
    best = best_candidate(candidates)
    chosen = candidates[best]
    logger.info(
        f"  {variant.name:<34} {best}, {chosen.best_config.epochs} epochs: held-out spearman {chosen.best_spearman:.4f}"
    )
    study.root.write_json(as_json(chosen.best_config), *study.trial_folder(variant), SETTINGS_FILE)


def _read_selected(study: Study, variant: Variant) -> TrainConfig:
    return from_json(TrainConfig, study.root.read_json(*study.trial_folder(variant), SETTINGS_FILE))


def _describe_train(data: StudyData) -> str:
    groups = "" if data.groups is None else f" of {len(np.unique(data.groups[data.train]))} groups"
    return f"{len(data.train)} train clips{groups} are"


@ray.remote
def _score_task(data: StudyData, columns: object, config: TrainConfig, seed: int) -> Candidate:
    hide_gpus()
    torch.set_num_threads(1)
    return score_candidate(data, columns, config, seed)  # type: ignore[arg-type]
