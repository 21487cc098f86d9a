"""The study through Tune: a trial a variant, its runs stacked; variants trained before are not trained again."""

from __future__ import annotations

import logging
import os
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import torch
from ray import tune
from safetensors.numpy import load, save

from m3ray.config import as_json
from m3ray.data.rooms import current_tiers
from m3ray.data.store import Root
from m3ray.errors import StudyError
from m3ray.pipelines.cluster import Resources
from m3ray.pipelines.loading import Study
from m3ray.pipelines.progress import say
from m3ray.study.results import with_differences
from m3ray.study.trial import TrialResult, run_trial
from m3ray.study.variants import Variant

_TEXT = ["variant", "tiers", "full", "status"]


def run_study(study: Study, variants: Sequence[Variant], on: Resources) -> pd.DataFrame:
    """Trains what was not trained before and writes the study's tables.

    Returns:
        `trials.parquet`: a row a variant.
    """
    unique = list({variant.name: variant for variant in variants}.values())
    missing = [variant for variant in unique if not study.root.exists(*study.part(variant), "trial.json")]
    say(f"study: {len(unique)} variants x {len(study.seeds)} runs; {len(unique) - len(missing)} cached")
    if missing:
        _tune(study, missing, on)
    return collect(study, unique)


def _tune(study: Study, variants: Sequence[Variant], on: Resources) -> None:
    quiet_tune()
    by_name = {variant.name: variant for variant in variants}
    # The matrix goes to the object store once; trials on a node share it.
    trainable = tune.with_parameters(_trial, study=study, variants=by_name)
    with tune_folder() as folder:
        tuner = tune.Tuner(
            tune.with_resources(trainable, trial_resources(on)),
            param_space={"variant": tune.grid_search(list(by_name))},
            tune_config=tune.TuneConfig(metric="spearman", mode="max", reuse_actors=True),
            run_config=tune.RunConfig(
                name="tune",
                storage_path=folder,
                failure_config=tune.FailureConfig(max_failures=2),
                progress_reporter=tune_table("variant"),
                verbose=1,
            ),
        )
        for error in tuner.fit().errors:
            say(f"study: a trial failed, the table marks it: {str(error).splitlines()[-1][:300]}")


@contextmanager
def tune_folder() -> Iterator[str]:
    """A folder for Tune's own files, for the length of the block: on the driver's disk, readable by its user alone.

    Tune unpickles what it keeps there (a trial's error, while it still runs), so it must not be the root, where others
    may write. Trials report numbers and no checkpoints, so workers on other machines need not reach it.
    """
    with tempfile.TemporaryDirectory(prefix="m3ray-tune-", ignore_cleanup_errors=True) as folder:
        yield folder


def trial_resources(on: Resources) -> dict[str, float]:
    """What Tune reserves for a trial: several share a GPU, as these models fill a small part of one."""
    return {"cpu": 1, "gpu": 0.25} if on.gpus else {"cpu": 1}


def tune_table(*parameters: str) -> tune.CLIReporter:
    """Tune's table, every half minute and at the end."""
    shown = ["features", "parameters", "spearman", "mse", "best_epoch", "epoch"]
    return tune.CLIReporter(
        metric_columns=shown,
        parameter_columns=list(parameters),
        max_report_frequency=30,
        max_column_length=40,
        max_progress_rows=100,
        max_error_rows=10,
    )


def quiet_tune() -> None:
    """Tune's table, not its advice nor a page for each trial; Ctrl-C ends the job, as it does in every other stage.

    Tune's own handler takes the first Ctrl-C for the end of its trials alone, and stays when they are done.
    """
    os.environ.setdefault("TUNE_DISABLE_SIGINT_HANDLER", "1")
    os.environ.setdefault("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")
    os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")
    logging.getLogger("ray.tune").setLevel(logging.ERROR)


def _trial(config: dict[str, Any], study: Study, variants: Mapping[str, Variant]) -> None:
    """One Tune trial: all runs of a variant; its tables go to the root, its means to Tune."""
    torch.set_num_threads(1)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    variant = variants[config["variant"]]
    start = time.perf_counter()
    result = run_trial(variant, study.data, study.seeds, device)
    result.summary["seconds"] = time.perf_counter() - start
    write_part(study, variant, result)
    shown = ("features", "parameters", "runs", "spearman", "mse", "best_epoch", "best_spearman")
    # Tune's table wants numbers: a trial whose every run is constant reports no correlation as -1.
    tune.report({name: -1.0 if result.summary[name] is None else result.summary[name] for name in shown})


def write_part(study: Study, variant: Variant, result: TrialResult) -> None:
    """The variant's tables; `trial.json` last, so that what has one is complete."""
    part = study.part(variant)
    study.root.write_table(pa.Table.from_pandas(result.runs, preserve_index=False), *part, "runs.parquet")
    study.root.write_table(pa.Table.from_pandas(result.predictions, preserve_index=False), *part, "predictions.parquet")
    model = result.trained.model
    tensors = {name: np.ascontiguousarray(value.detach().cpu().numpy()) for name, value in model.state_dict().items()}
    study.root.write_bytes(save({**tensors, "columns": result.columns}), *part, "model.safetensors")
    study.root.write_bytes(save({"val": np.ascontiguousarray(result.trained.val)}), *part, "val.safetensors")
    study.root.write_json(result.summary, *part, "trial.json")


def part_tensors(study: Study, variant: Variant) -> dict[str, np.ndarray]:
    """The trained runs of a variant, and the columns that they see."""
    return load(study.root.read_bytes(*study.part(variant), "model.safetensors"))


def collect(study: Study, variants: Sequence[Variant]) -> pd.DataFrame:
    """Puts what was trained together to the study's tables; a variant without a part failed.

    Returns:
        `trials.parquet`: a row a variant.
    """
    root, variants = study.root, list({variant.name: variant for variant in variants}.values())
    done = [v for v in variants if root.exists(*study.part(v), "trial.json")]
    if not done:
        raise StudyError("study: every trial failed; the lines above say why")
    runs = pd.concat([root.read_table(*study.part(v), "runs.parquet").to_pandas() for v in done], ignore_index=True)
    summaries = {v.name: root.read_json(*study.part(v), "trial.json") for v in done}
    rows = [summaries.get(v.name) or {"variant": v.name, "full": v.full, "status": "failed"} for v in variants]
    val = {v.name: load(root.read_bytes(*study.part(v), "val.safetensors"))["val"] for v in done}
    trials = with_differences(_trials_frame(rows), runs, val, study.data.scores[study.data.val])
    predictions = [
        root.read_table(*study.part(v), "predictions.parquet").to_pandas().assign(variant=v.name) for v in done
    ]
    root.write_table(pa.Table.from_pandas(runs, preserve_index=False), *study.folder, "runs.parquet")
    root.write_table(pa.Table.from_pandas(trials, preserve_index=False), *study.folder, "trials.parquet")
    together = pd.concat(predictions, ignore_index=True)
    root.write_table(pa.Table.from_pandas(together, preserve_index=False), *study.folder, "predictions.parquet")
    config = {"seeds": study.seeds, "key": study.loaded.key, "variants": [as_json(v) for v in variants]}
    root.write_json(config | {"tiers": _tier_facts(root, study)}, *study.folder, "config.json")
    return trials


def _trials_frame(rows: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    frame = pd.DataFrame(list(rows))
    for name in frame.columns.difference(_TEXT):
        frame[name] = pd.to_numeric(frame[name])  # a column of which no variant has a value would be one of objects
    for name in ("features", "parameters", "runs", "best_epoch"):
        frame[name] = frame[name].astype("Int64")
    return frame


def _tier_facts(root: Root, study: Study) -> dict[str, Any]:
    current = current_tiers(root)
    return {tier: current[tier] for tier in study.data.features.tiers if tier in current}
