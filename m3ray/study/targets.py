"""Table 6: what viewers did, each measure of it as a target, by the models that predict it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from m3ray.config import as_json
from m3ray.features.target_columns import read_numbers
from m3ray.model.metrics import METRICS
from m3ray.schema import SIMILARITY
from m3ray.storage.catalogue_file import read_catalogue
from m3ray.storage.root import Root
from m3ray.study.ceiling import measure_study_ceilings
from m3ray.study.cross_dataset import spearman_confidence_interval
from m3ray.study.reliability import share_of_ceiling
from m3ray.study.statistics import LEAST_CLIPS
from m3ray.study.study import Study
from m3ray.study.variants import Variant, table1

TABLE_FILE, CORRELATIONS_FILE = "targets.parquet", "target_correlations.parquet"
MADE_OF_FILE = "targets.json"


def select_models(tiers: Sequence[str], rows: Sequence[Variant]) -> list[Variant]:
    """Select the models of Table 6 among a study's variants.

    Args:
        tiers: Tiers of the root.
        rows: The rows of Table 3 as the study trains them, and others.
    Returns:
        The full model, that without similarity, and raw perception alone; those that there are, each once.
    """
    full = rows[0]
    plain = tuple(tier for tier in full.tiers if tier != SIMILARITY)
    first = next(iter(table1(tiers)), None)
    names = {variant.name: variant for variant in [*([first] if first else []), *rows]}
    others = [v for v in names.values() if v.tiers == plain and v.tiers != full.tiers and not v.without]
    raw = [names[first.name]] if first is not None and len(full.tiers) > 1 else []
    return list({variant.tiers: variant for variant in [full, *others[:1], *raw]}.values())


def collect_targets(studies: Mapping[str, Study], models: Sequence[Variant]) -> pd.DataFrame:
    """Put Table 6 together from the files of its trials, and write it beside the study's own, with what it is of.

    Args:
        studies: Target to a study on it, the study's own first or among them; all on one root.
        models: The models that each study has trained.
    Returns:
        A row a target and model: `target, variant, runs, clips, spearman, spearman_std, ensemble_spearman, mse,
        test_clips, test_spearman, test_ensemble_spearman, reliability, ceiling, share, share_low, share_high, status,
        reason`; undefined numbers are missing, and `status` or `reason` say why.
    """
    first = next(iter(studies.values()))
    catalogue, root = read_catalogue(first.root), first.root
    frame = pd.DataFrame([row for study in studies.values() for row in _make_rows(study, models, catalogue)])
    root.write_table(pa.Table.from_pandas(frame, preserve_index=False), *first.folder, TABLE_FILE)
    correlations = correlate_targets(catalogue, first.data.features.clip_ids, list(studies))
    root.write_table(pa.Table.from_pandas(correlations, preserve_index=False), *first.folder, CORRELATIONS_FILE)
    return frame


def write_made_of(study: Study, models: Sequence[Variant]) -> None:
    """Write what Table 6 was made of, so that it is not taken for that of a later study on the root.

    Args:
        study: The study, on its own target.
        models: The models that it has trained, the full one first.
    """
    made_of = {
        "key": study.loaded.key,
        "seeds": study.seeds,
        "models": [as_json(model) for model in models],
        "folders": dict(study.loaded.folders),
    }
    study.root.write_json(made_of, *study.folder, MADE_OF_FILE)


def is_of_study(root: Root, folder: tuple[str, ...], config: Mapping[str, Any]) -> bool:
    """Tell whether Table 6 is of the study beside it.

    Args:
        root: Root that holds the study.
        folder: The study's folder below the root.
        config: The study's `config.json`.
    Returns:
        Whether both have the same clips, scores and target, seeds, features, and settings of the full model; not where
        the table does not say what it was made of.
    """
    if not root.exists(*folder, MADE_OF_FILE):
        return False
    made_of = root.read_json(*folder, MADE_OF_FILE)
    if any(made_of[name] != config.get(name) for name in ("key", "seeds")) or not made_of["models"]:
        return False
    full, *others = made_of["models"]
    variants = {variant["name"]: variant for variant in config["variants"]}
    folders = {tier: entry["folder"] for tier, entry in config["tiers"].items()}
    seen = {tier for model in made_of["models"] for tier in model["tiers"]}
    return (
        variants.get(full["name"]) == full
        and all(variants.get(model["name"], model) == model for model in others)
        and all(made_of["folders"].get(tier) == folders.get(tier) for tier in seen)
    )


def read_targets(root: Root, folder: tuple[str, ...]) -> tuple[pd.DataFrame, pd.DataFrame] | None:
    """Read Table 6.

    Args:
        root: Root that holds the study.
        folder: The study's folder below the root.
    Returns:
        Its rows, and the rank correlations among the targets; None where the study has no such table.
    """
    if not root.exists(*folder, TABLE_FILE) or not root.exists(*folder, CORRELATIONS_FILE):
        return None
    rows, correlations = (root.read_table(*folder, name).to_pandas() for name in (TABLE_FILE, CORRELATIONS_FILE))
    return rows, correlations


_FROM_TRIAL = ("runs", "spearman", "spearman_std", "mse", "test_spearman", "status")


def _make_rows(study: Study, models: Sequence[Variant], catalogue: pa.Table) -> list[dict[str, Any]]:
    """Rows of one target."""
    ceiling = measure_study_ceilings(study.data, catalogue).of("val")
    rows = []
    for variant in models:
        folder = study.trial_folder(variant)
        is_done = study.root.exists(*folder, "trial.json")
        trial = study.root.read_json(*folder, "trial.json") if is_done else {"status": "failed"}
        rho = _read_ensemble_spearman(study, folder) if is_done else None
        clips = len(study.data.val)
        low, high = (None, None) if rho is None or clips < LEAST_CLIPS else spearman_confidence_interval(rho, clips)
        share = share_of_ceiling(rho, low, high, ceiling)
        rows.append(
            {
                "target": study.data.target.name,
                "variant": variant.name,
                "clips": clips,
                "test_clips": len(study.data.test),
                **{name: trial.get(name) for name in _FROM_TRIAL},
                "ensemble_spearman": rho,
                "reliability": ceiling.reliability,
                "ceiling": ceiling.spearman,
                "share": share.share,
                "share_low": share.low,
                "share_high": share.high,
                "reason": ceiling.reason,
            }
        )
    return rows


def _read_ensemble_spearman(study: Study, folder: tuple[str, ...]) -> float | None:
    """Rank correlation of the mean of the runs; None where it is undefined, as after a run that diverged."""
    predictions = study.root.read_table(*folder, "predictions.parquet").to_pandas()
    score, truth = predictions["score"].to_numpy(float), predictions["truth"].to_numpy(float)
    weights = None if study.data.weights is None else study.data.weights[study.data.val]
    rho = float(METRICS["spearman"](score, truth, weights)) if np.isfinite(score).all() else float("nan")
    return rho if np.isfinite(rho) else None


def correlate_targets(catalogue: pa.Table, ids: Sequence[str], targets: Sequence[str]) -> pd.DataFrame:
    """Rank correlations among targets.

    Args:
        catalogue: Clips and their columns.
        ids: Ids of the study's clips.
        targets: Columns of the catalogue.
    Returns:
        A row a target, with a column `target` and one for each of them: Spearman's correlation over the clips that
        have both; not a number where fewer than 3 have, or one is constant.
    """
    columns = {name: read_numbers(catalogue, ids, name) for name in targets}
    frame = pd.DataFrame({name: values for name, values in columns.items() if values is not None})
    finite = frame.where(np.isfinite(frame))
    return finite.corr(method="spearman", min_periods=3).rename_axis("target").reset_index()
