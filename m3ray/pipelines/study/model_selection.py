"""Choosing a variant's training settings: a Ray task a candidate."""

from __future__ import annotations

import ray
import torch

from m3ray.config import TrainConfig
from m3ray.config.options import FitOptions
from m3ray.console import say
from m3ray.features.dataset import StudyData
from m3ray.features.load import Loaded
from m3ray.pipelines.runtime.cluster import Resources
from m3ray.schema import SIMILARITY
from m3ray.storage.root import Root
from m3ray.study.trial import columns_of
from m3ray.study.variants import Variant
from m3ray.tiers.user import brought_tiers
from m3ray.training.model_selection import Candidate, best_of, can_select, candidates, judged


def chosen_training(root: Root, loaded: Loaded, variant: Variant, options: FitOptions, on: Resources) -> TrainConfig:
    """The variant's own settings, or those selected for its tiers."""
    config = getattr(options, "config", None)
    # Similarity of brought vectors is as small and weak as they are.
    others = {tier for tier in variant.tiers if tier.partition(":")[0] != SIMILARITY}
    weak = bool(others) and others <= set(brought_tiers(root)) and config is None
    if options.fit == "select" or (options.fit == "auto" and weak):
        return selected(loaded.data, variant, on)
    return variant.training


def selected(data: StudyData, variant: Variant, on: Resources, seed: int = 0) -> TrainConfig:
    """The settings that rank held-out parts of the train split best; the variant's own where it is too small."""
    if not can_select(data):
        say(f"train: {len(data.train)} train clips are too few to choose settings on: the paper's are taken")
        return variant.training
    columns, shared = columns_of(data.features, variant), ray.put(data)
    tasks = {
        name: _judge.options(num_cpus=1).remote(shared, columns, config, seed)
        for name, config in candidates(variant.training).items()
    }
    say(f"train: choosing among {len(tasks)} settings on held-out fifths of the train split ({on.cpus} CPUs)")
    found: dict[str, Candidate] = {name: ray.get(task) for name, task in tasks.items()}
    best = best_of(found)
    for name, candidate in found.items():
        mark = "  <- chosen" if name == best else ""
        say(f"  {name:<30} held-out spearman {candidate.best:.4f} after {candidate.chosen.epochs} epochs{mark}")
    return found[best].chosen


@ray.remote
def _judge(data: StudyData, columns: object, config: TrainConfig, seed: int) -> Candidate:
    torch.set_num_threads(1)
    return judged(data, columns, config, seed)  # type: ignore[arg-type]
