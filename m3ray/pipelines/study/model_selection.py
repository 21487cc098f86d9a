"""Choice of a variant's training settings: a Ray task a candidate."""

from __future__ import annotations

import logging

import ray
import torch

from m3ray.config import TrainConfig
from m3ray.config.options import FitOptions
from m3ray.features.dataset import StudyData
from m3ray.features.load import StudyFeatures
from m3ray.pipelines.runtime.cluster import Resources
from m3ray.pipelines.runtime.devices import hide_gpus
from m3ray.schema import SIMILARITY
from m3ray.storage.root import Root
from m3ray.study.trial import select_columns
from m3ray.study.variants import Variant
from m3ray.tiers.user import user_tiers
from m3ray.training.model_selection import Candidate, best_candidate, can_select, make_candidates, score_candidate

logger = logging.getLogger(__name__)


def choose_training(
    root: Root, loaded: StudyFeatures, variant: Variant, options: FitOptions, resources: Resources
) -> TrainConfig:
    """Choose a variant's training settings: its own, or those that suit its tiers best.

    Args:
        root: Root with the features.
        loaded: Joined features and scores of the study.
        variant: The variant.
        options: Options with `fit`: `paper`, `select`, or `auto`, which selects for user-provided tiers alone.
        resources: CPUs and GPUs of the cluster.
    Returns:
        The settings.
    """
    config = getattr(options, "config", None)
    # Similarity of user-provided vectors is as small and weak as they are.
    others = {tier for tier in variant.tiers if tier.partition(":")[0] != SIMILARITY}
    weak = bool(others) and others <= set(user_tiers(root)) and config is None
    if options.fit == "select" or (options.fit == "auto" and weak):
        return select_training(loaded.data, variant, resources)
    return variant.training


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
        logger.info(f"train: {len(data.train)} train clips are too few to choose settings on: the paper's are taken")
        return variant.training
    columns, shared = select_columns(data.features, variant), ray.put(data)
    tasks = {
        name: _score_task.options(num_cpus=1).remote(shared, columns, config, seed)
        for name, config in make_candidates(variant.training).items()
    }
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


@ray.remote
def _score_task(data: StudyData, columns: object, config: TrainConfig, seed: int) -> Candidate:
    hide_gpus()
    torch.set_num_threads(1)
    return score_candidate(data, columns, config, seed)  # type: ignore[arg-type]
