"""The paper's tables: their variants are trained on what a root holds."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd
import pyarrow as pa

from m3ray.config import LimitsConfig, SimilarityConfig
from m3ray.config.options import AblateOptions, ReproduceOptions
from m3ray.config.serialization import from_json
from m3ray.console import log_details
from m3ray.errors import ConfigError, StudyError
from m3ray.features.load import list_study_tiers
from m3ray.features.target_columns import TARGETS_TABLE
from m3ray.pipelines.extraction.run import ExtractionResult
from m3ray.pipelines.finetuning.train import add_finetuning
from m3ray.pipelines.runtime.cluster import Resources
from m3ray.pipelines.runtime.failures import as_m3ray_error
from m3ray.pipelines.similarity.fit import fit_every_measure, fit_similarity_tier
from m3ray.pipelines.study.ablation import run_study
from m3ray.pipelines.study.cautions import log_study_cautions
from m3ray.pipelines.study.folds import describe_splits, run_splits
from m3ray.pipelines.study.model_selection import choose_training, describe_selection, select_each
from m3ray.pipelines.study.regressors import needs_ensemble, train_beside
from m3ray.pipelines.study.targets import describe_weights, load_study_data, run_targets
from m3ray.reports.tables.table7 import describe_best
from m3ray.request.baselines import choose_pretrained
from m3ray.request.settings import choose_study_tiers, find_row_training
from m3ray.schema import CAPTIONS, PRETRAINED, SIMILARITY
from m3ray.storage.ownership import STUDY
from m3ray.storage.root import Root
from m3ray.storage.tier_index import read_tier_index
from m3ray.study.pretrained import add_pretrained
from m3ray.study.store import collect_trials
from m3ray.study.study import Study
from m3ray.study.table_list import MeasureNotes, TableList, write_table_list
from m3ray.study.variants import REGRESSORS_TABLE, Variant, describe_reported_epoch, study_variants
from m3ray.tiers.network import WeightSource

logger = logging.getLogger(__name__)


def fit_similarity(
    root: Root,
    tiers: tuple[str, ...] | list[str],
    done: ExtractionResult,
    resources: Resources,
    *,
    needed: bool = False,
) -> None:
    """Fit the measure that M3-S uses, if there is a vector to compare, and enough clips to compare it on.

    Args:
        root: Root with the features.
        tiers: Names of the tiers that were computed or provided.
        done: What the extraction left.
        resources: CPUs and GPUs of the cluster.
        needed: Whether the model is to see it, so that it is an error where it cannot be fitted.
    Raises:
        StudyError: If it is needed, and cannot be fitted on these clips.
    """
    if all(tier in ("raw", CAPTIONS, *PRETRAINED) for tier in tiers):
        logger.info("similarity: skipped: it needs a tier that is a vector: scene, event or torchvision:NAME")
        return
    try:
        fit_similarity_tier(root, done.catalogue, done.configs.similarity, resources)
    except Exception as error:
        failure = as_m3ray_error(error)
        if needed or not isinstance(failure, StudyError):
            raise
        logger.info(f"similarity: skipped: {failure}")


def has_scores(catalogue: pa.Table) -> bool:
    """Tell whether any clip has a score.

    Args:
        catalogue: Clips with the column `score`.
    Returns:
        Whether one has.
    """
    return catalogue["score"].null_count < catalogue.num_rows


def make_seeds(first: int, runs: int) -> tuple[int, ...]:
    """Make a seed a run.

    Args:
        first: Seed of the first run.
        runs: Number of runs.
    Returns:
        `first`, `first + 1`, ...
    Raises:
        ConfigError: If there is no run.
    """
    if runs < 1:
        raise ConfigError(f"--runs {runs}: expected at least 1")
    return tuple(range(first, first + runs))


def run_tables(
    root: Root,
    catalogue: pa.Table,
    options: ReproduceOptions | AblateOptions,
    resources: Resources,
    sources: Mapping[str, WeightSource],
    limits: LimitsConfig,
) -> tuple[Study, Variant, Variant | None]:
    """Train the variants of the paper's tables.

    Args:
        root: Root with the features.
        catalogue: Catalogue of the root.
        options: Tables, runs, epochs, and whether the networks are finetuned too.
        resources: CPUs and GPUs of the cluster.
        sources: Name of each tier that has a network to where the job knows its weights to be.
        limits: Per-clip resource limits, for reading clips again.
    Returns:
        The study; the full model among its variants; the finetuned variant, None where networks stay frozen.
    """
    tiers = choose_study_tiers(list_study_tiers(root, options.tiers), options)
    scorers = choose_pretrained(root, options)
    skipped: dict[str, str] = {}
    if 4 in options.tables and SIMILARITY in tiers:
        skipped = fit_every_measure(root, catalogue, read_similarity_config(root), resources)
        tiers = choose_study_tiers(list_study_tiers(root, options.tiers), options)  # with those of the measures
    loaded = load_study_data(root, [*tiers, *(name for name in scorers if name not in tiers)], options)
    study = Study(root, STUDY, loaded, make_seeds(options.seed, options.runs))
    rows = _choose_rows(study, tiers, options, resources)
    run_study(study, rows.variants, resources)
    beside, finetuned = train_beside(study, rows.main, resources, ensemble=needs_ensemble(options)), None
    if options.unfrozen != "none":
        finetuned = add_finetuning(study, rows.main, options, sources, limits, resources)
    pretrained = add_pretrained(study, rows.main, scorers, options.calibrate)
    names = _name_rows(rows, beside, finetuned, pretrained)
    variants = [*rows.variants, *beside, *pretrained]
    trials = collect_trials(study, [*variants, *([] if finetuned is None else [finetuned])])
    if options.folds:
        trials = run_splits(study, variants, trials, options.folds, options.seed, resources)
    run_targets(study, tiers, [rows.main, *rows.without_tiers, *rows.alone, *variants], options.tables, resources)
    _show_trials(
        trials, [rows.main, *rows.without_tiers, *beside, *pretrained, *([] if finetuned is None else [finetuned])]
    )
    if beside:
        logger.info(f"study: {describe_best(trials, names[REGRESSORS_TABLE])}")
    own = read_similarity_config(root).measure if SIMILARITY in read_tier_index(root) else None
    notes = describe_selection(root, study.data, rows.preset, options) | describe_reported_epoch(rows.main)
    notes |= describe_splits(root, study.data, options.folds) | describe_weights(study.data)
    write_table_list(TableList(names, MeasureNotes(own, rows.main.name, skipped), notes), root, study.folder)
    log_study_cautions(study)
    return study, rows.main, finetuned


@dataclass(frozen=True)
class _StudyRows:
    """The rows of a study with the settings that they are trained with.

    Args:
        main: The full model.
        preset: The same with the settings of its preset.
        tables: Number of each table that was asked for to its rows.
        without_tiers: The rows of Table 3 below the full model.
        alone: The rows of Table 1.
        variants: All that is trained, the full model first.
    """

    main: Variant
    preset: Variant
    tables: Mapping[int, Sequence[Variant]]
    without_tiers: Sequence[Variant]
    alone: Sequence[Variant]
    variants: Sequence[Variant]


def _choose_rows(
    study: Study, tiers: Sequence[str], options: ReproduceOptions | AblateOptions, resources: Resources
) -> _StudyRows:
    """Choose the settings of the full model, which the rows share, or of each row on its own."""
    train_as = find_row_training(study.root, options.preset, options.loss)
    preset = study_variants([3], tiers, options.epochs, train_as=train_as)[3][0]
    is_each = options.fit == "each"
    chosen = {}
    if not is_each:
        chosen = {preset.training: choose_training(study.root, study.loaded, preset, options, resources)}
    asked = [number for number in options.tables if number not in (TARGETS_TABLE, REGRESSORS_TABLE)]
    tables = study_variants(asked, tiers, options.epochs, chosen, train_as)
    main, *rest = study_variants([3], tiers, options.epochs, chosen, train_as)[3]
    # Table 4's gains are over M3: the full model without similarity.
    plain = [v for v in rest if 4 in options.tables and set(v.tiers) == set(main.tiers) - {SIMILARITY}]
    variants = [main, *plain, *(variant for rows in tables.values() for variant in rows)]
    if is_each:
        main, *_ = variants = select_each(study, variants, resources)
    alone = study_variants([1], tiers, options.epochs, chosen, train_as)[1]
    return _StudyRows(main, preset, tables, rest, alone, variants)


def _name_rows(
    rows: _StudyRows, beside: Sequence[Variant], finetuned: Variant | None, pretrained: Sequence[Variant]
) -> dict[int, tuple[str, ...]]:
    """Names of the rows of each table, in the order in which it shows them."""
    names = {number: tuple(variant.name for variant in table) for number, table in rows.tables.items()}
    if 3 in names:
        names[3] = (*names[3], *(variant.name for variant in pretrained))
    if finetuned is not None:
        names[2] = (finetuned.name, *(names.get(2) or (rows.main.name,)))
    names[REGRESSORS_TABLE] = (rows.main.name, *(variant.name for variant in beside)) if beside else ()
    return names


def _show_trials(trials: pd.DataFrame, main: Sequence[Variant]) -> None:
    """Show the rows that are compared first; all of them stand in the log."""
    columns = ["variant", "features", "parameters", "runs", "spearman", "mse", "delta_spearman"]
    log_details(logger, trials[columns].to_string(index=False, na_rep=""))
    shown = trials[trials["variant"].isin([variant.name for variant in main])]
    logger.info(f"study: {len(shown)} of {len(trials)} rows; all stand in the log, with notes in the report's tables:")
    logger.info(shown[columns].to_string(index=False, na_rep=""))


def read_similarity_config(root: Root) -> SimilarityConfig:
    """Read the settings that a root's similarity tier was made with.

    Args:
        root: Root with a similarity tier.
    Returns:
        The settings.
    """
    return from_json(SimilarityConfig, read_tier_index(root)[SIMILARITY].config)
