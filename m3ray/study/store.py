"""A study on disk: the files of each trial, and the tables that are put together from them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from safetensors.numpy import load, save

from m3ray.config import as_json
from m3ray.errors import StudyError
from m3ray.storage.tier_index import read_tier_index
from m3ray.study.ceiling import write_ceilings
from m3ray.study.differences import SplitPredictions, add_differences, add_mean_errors
from m3ray.study.regressor_results import OutOfFold, RegressorResult
from m3ray.study.study import Study
from m3ray.study.trial import TrialResult
from m3ray.study.variants import Variant

OUT_OF_FOLD_FILE = "out_of_fold.safetensors"
_TEXT = ["variant", "tiers", "full", "status"]


def write_trial(study: Study, variant: Variant, result: TrialResult) -> None:
    """Write the files of a trial, `trial.json` last, so that a folder with one is complete.

    Args:
        study: The study.
        variant: Variant of the trial.
        result: What the trial gave.
    """
    model = result.trained.model
    tensors = {name: np.ascontiguousarray(value.detach().cpu().numpy()) for name, value in model.state_dict().items()}
    model_file = (*study.trial_folder(variant), "model.safetensors")
    study.root.write_bytes(save({**tensors, "columns": result.columns}), *model_file)
    _write_tables(study, variant, result, {"val": result.trained.val, "test": result.test})


def write_regressor_trial(study: Study, variant: Variant, result: RegressorResult) -> None:
    """Write the files of a regressor's trial, or of the ensemble's, `trial.json` last.

    Args:
        study: The study.
        variant: Variant of the trial.
        result: What the trial gave.
    """
    folder = study.trial_folder(variant)
    tensors = {name: np.ascontiguousarray(values) for name, values in result.tensors.items()}
    study.root.write_bytes(save(tensors), *folder, "regressor.safetensors")
    study.root.write_json(dict(result.settings), *folder, "regressor.json")
    study.root.write_json(dict(result.chosen), *folder, "chosen.json")
    if result.out_of_fold is not None:
        write_out_of_fold(study, variant, result.out_of_fold)
    _write_tables(study, variant, result, {"val": result.val, "test": result.test})


def _write_tables(
    study: Study, variant: Variant, result: TrialResult | RegressorResult, predictions: Mapping[str, np.ndarray]
) -> None:
    """Write what every trial leaves: its tables and its predictions of val and test."""
    folder = study.trial_folder(variant)
    for name, frame in {"runs.parquet": result.runs, "predictions.parquet": result.predictions}.items():
        study.root.write_table(pa.Table.from_pandas(frame, preserve_index=False), *folder, name)
    kept = {name: np.ascontiguousarray(values) for name, values in predictions.items()}
    study.root.write_bytes(save(kept), *folder, "val.safetensors")
    study.root.write_json(result.summary, *folder, "trial.json")


def write_out_of_fold(study: Study, variant: Variant, kept: OutOfFold) -> None:
    """Write what a variant predicts of train clips that it did not train on.

    Args:
        study: The study.
        variant: A variant of it.
        kept: The predictions.
    """
    tensors = {
        "predictions": np.ascontiguousarray(kept.predictions, np.float64),
        "folds": np.ascontiguousarray(kept.folds, np.int64),
        "seconds": np.array([kept.seconds]),
    }
    study.root.write_bytes(save(tensors), *study.trial_folder(variant), OUT_OF_FOLD_FILE)


def read_out_of_fold(study: Study, variant: Variant) -> OutOfFold | None:
    """Read what a variant predicts of train clips that it did not train on.

    Args:
        study: The study.
        variant: A variant of it.
    Returns:
        The predictions; None where there are none.
    """
    file = (*study.trial_folder(variant), OUT_OF_FOLD_FILE)
    if not study.root.exists(*file):
        return None
    tensors = load(study.root.read_bytes(*file))
    return OutOfFold(tensors["predictions"], tensors["folds"], float(tensors["seconds"][0]))


def is_trained(study: Study, variant: Variant) -> bool:
    """Whether the trial of a variant is complete.

    Args:
        study: The study.
        variant: A variant of it.
    """
    return study.root.exists(*study.trial_folder(variant), "trial.json")


def read_trial_tensors(study: Study, variant: Variant) -> dict[str, np.ndarray]:
    """Read the trained runs of a variant.

    Args:
        study: The study.
        variant: A variant that it has trained.
    Returns:
        Parameters of the stacked model, and `columns`, the positions of the columns that it sees.
    """
    return load(study.root.read_bytes(*study.trial_folder(variant), "model.safetensors"))


def collect_trials(study: Study, variants: Sequence[Variant]) -> pd.DataFrame:
    """Write the tables of a study from its trials' files; a variant without such files failed.

    Args:
        study: The study.
        variants: All its variants.
    Returns:
        Content of `trials.parquet`, a row a variant.
    Raises:
        StudyError: If every trial failed.
    """
    root, variants = study.root, list({variant.name: variant for variant in variants}.values())
    done = [v for v in variants if is_trained(study, v)]
    if not done:
        raise StudyError("study: every trial failed; the lines above say why")
    runs = pd.concat(
        [root.read_table(*study.trial_folder(v), "runs.parquet").to_pandas() for v in done], ignore_index=True
    )
    summaries = {v.name: root.read_json(*study.trial_folder(v), "trial.json") for v in done}
    rows = [summaries.get(v.name) or {"variant": v.name, "full": v.full, "status": "failed"} for v in variants]
    val, test = _read_predictions(study, done)
    trials = add_mean_errors(add_differences(_trials_frame(rows), runs, val, test), val)
    predictions = [
        root.read_table(*study.trial_folder(v), "predictions.parquet").to_pandas().assign(variant=v.name) for v in done
    ]
    root.write_table(pa.Table.from_pandas(runs, preserve_index=False), *study.folder, "runs.parquet")
    root.write_table(pa.Table.from_pandas(trials, preserve_index=False), *study.folder, "trials.parquet")
    all_predictions = pd.concat(predictions, ignore_index=True)
    root.write_table(pa.Table.from_pandas(all_predictions, preserve_index=False), *study.folder, "predictions.parquet")
    write_ceilings(study)
    config = {"seeds": study.seeds, "key": study.loaded.key, "variants": [as_json(v) for v in variants]}
    root.write_json(config | {"tiers": _tier_entries(study)}, *study.folder, "config.json")
    return trials


def _read_predictions(study: Study, done: Sequence[Variant]) -> tuple[SplitPredictions, SplitPredictions]:
    """Predictions of val and of test; those of trials that are older than the latter lack them."""
    kept = {v.name: load(study.root.read_bytes(*study.trial_folder(v), "val.safetensors")) for v in done}

    def of_split(name: str, rows: np.ndarray) -> SplitPredictions:
        predictions = {variant: splits[name] for variant, splits in kept.items() if name in splits}
        weights = None if study.data.weights is None else study.data.weights[rows]
        return SplitPredictions(predictions, study.data.scores[rows], weights)

    return of_split("val", study.data.val), of_split("test", study.data.test)


def _trials_frame(rows: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    frame = pd.DataFrame(list(rows))
    for name in frame.columns.difference(_TEXT):
        frame[name] = pd.to_numeric(frame[name])  # a column of which no variant has a value would be one of objects
    for name in ("features", "parameters", "runs", "best_epoch"):
        frame[name] = frame[name].astype("Int64")
    return frame


def _tier_entries(study: Study) -> dict[str, Any]:
    """Entries of the tier index for the tiers that the study sees, as `config.json` holds them."""
    index = read_tier_index(study.root)
    return {tier: index[tier].as_json() for tier in study.data.features.tiers if tier in index}
