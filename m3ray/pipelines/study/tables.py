"""The variants of the tables asked for, trained on what a root holds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from m3ray.config import LimitsConfig, SimilarityConfig
from m3ray.config.options import AblateOptions, ReproduceOptions
from m3ray.config.serialization import from_json
from m3ray.console import say
from m3ray.errors import ConfigError, StudyError
from m3ray.features.load import load_data, study_tiers
from m3ray.pipelines.extraction.run import Extracted
from m3ray.pipelines.finetuning.train import add_unfrozen
from m3ray.pipelines.runtime.cluster import Resources
from m3ray.pipelines.runtime.failures import foreseen
from m3ray.pipelines.similarity.fit import every_measure, similarity_tier
from m3ray.pipelines.study.ablation import run_study
from m3ray.pipelines.study.model_selection import chosen_training
from m3ray.schema import SIMILARITY
from m3ray.storage.ownership import STUDY
from m3ray.storage.root import Root
from m3ray.storage.tier_index import current_tiers
from m3ray.study.store import collect
from m3ray.study.study import Study
from m3ray.study.variants import Variant, study_variants
from m3ray.tiers.network import WeightSource


def fit_similarity(
    root: Root, tiers: tuple[str, ...] | list[str], done: Extracted, on: Resources, *, needed: bool = False
) -> None:
    """The measure that M3-S uses, where there is a vector to compare, and clips enough to compare it on.

    Args:
        needed: whether the model was asked to see it: then it is an error where it cannot be had.
    Raises:
        StudyError: it is needed, and cannot be fitted on these clips.
    """
    if all(tier == "raw" for tier in tiers):
        say("similarity: skipped: it needs a tier that is a vector: scene, event or torchvision:NAME")
        return
    try:
        similarity_tier(root, done.catalogue, done.configs.similarity, on)
    except Exception as error:
        failure = foreseen(error)
        if needed or not isinstance(failure, StudyError):
            raise
        say(f"similarity: skipped: {failure}")


def has_scores(catalogue: pa.Table) -> bool:
    """Whether any clip has a score."""
    return catalogue["score"].null_count < catalogue.num_rows


def seeds_from(first: int, runs: int) -> tuple[int, ...]:
    """One seed a run.

    Raises:
        ConfigError: no run is asked for.
    """
    if runs < 1:
        raise ConfigError(f"--runs {runs}: expected at least 1")
    return tuple(range(first, first + runs))


def run_tables(
    root: Root,
    catalogue: pa.Table,
    options: ReproduceOptions | AblateOptions,
    on: Resources,
    sources: Mapping[str, WeightSource],
    limits: LimitsConfig,
) -> tuple[Study, Variant, Variant | None]:
    """Trains the variants of the tables asked for; returns the full model among them, and the unfrozen one if any."""
    skipped: dict[str, str] = {}
    if 4 in options.tables and SIMILARITY in current_tiers(root):
        skipped = every_measure(root, catalogue, similarity_config(root), on)
    tiers = study_tiers(root)
    loaded = load_data(root, tiers, allow_missing=options.allow_missing)
    study = Study(root, STUDY, loaded, seeds_from(options.seed, options.runs))
    main = study_variants([3], tiers, options.epochs)[3][0]
    chosen = {main.training: chosen_training(root, loaded, main, options, on)}
    tables = study_variants(options.tables, tiers, options.epochs, chosen)
    main, *rest = study_variants([3], tiers, options.epochs, chosen)[3]
    # Table 4's gains are over M3.
    plain = [variant for variant in rest if variant.name == "M3" and 4 in options.tables]
    variants = [main, *plain, *(variant for rows in tables.values() for variant in rows)]
    trials, tuned = run_study(study, variants, on), None
    names: dict[str, Any] = {str(number): [variant.name for variant in rows] for number, rows in tables.items()}
    if options.unfrozen != "none":
        tuned = add_unfrozen(study, main, options, sources, limits, on)
        trials = collect(study, [*variants, tuned])
        names["2"] = [tuned.name, *(names.get("2") or [main.name])]
    say("trials:")
    shown = ["variant", "features", "parameters", "runs", "spearman", "mse", "delta_spearman"]
    say(trials[shown].to_string(index=False))
    names["measures"] = {
        "own": similarity_config(root).measure if SIMILARITY in current_tiers(root) else None,
        "full": main.name,
        "skipped": skipped,
    }
    root.write_json(names, *study.folder, "tables.json")
    return study, main, tuned


def similarity_config(root: Root) -> SimilarityConfig:
    """The settings that the root's similarity tier was made with."""
    return from_json(SimilarityConfig, current_tiers(root)[SIMILARITY]["identity"]["config"])
