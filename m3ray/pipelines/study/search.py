"""Search over hyper-parameters: Optuna's TPE under Tune, settings that fall behind stopped early by ASHA."""

from __future__ import annotations

import logging
import shlex
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import optuna
import pandas as pd
import pyarrow as pa
import torch
from ray import tune
from ray.tune.search import ConcurrencyLimiter

from m3ray.config import as_json, fingerprint
from m3ray.errors import StudyError
from m3ray.features.dataset import StudyData
from m3ray.pipelines.runtime.cluster import Resources
from m3ray.pipelines.runtime.devices import take_device
from m3ray.pipelines.runtime.search_state import (
    TrialRecorder,
    make_optimiser,
    make_scheduler,
    resume_search,
    run_to_end,
)
from m3ray.pipelines.runtime.tune import make_reporter, silence_tune, temporary_tune_folder, trial_resources
from m3ray.storage.csv_writing import csv_bytes
from m3ray.study.search_history import DONE, SearchHistory, Setting
from m3ray.study.search_space import MODES, SPACE, point_from_training, training_from_point
from m3ray.study.statistics import Difference, compare_runs, measure_runs
from m3ray.study.study import Study
from m3ray.study.trial import run_trial
from m3ray.study.variants import Variant

logger = logging.getLogger(__name__)

_DRIVER = torch.device("cpu")  # Ray gives a driver no GPU
_FRESH = 1_000  # seeds that the search never saw start here


def search_settings(study: Study, variant: Variant, trials: int, metric: str, resources: Resources) -> pd.DataFrame:
    """Try settings of a variant's training; the same call goes on where an earlier one was cut.

    Args:
        study: Data, seeds of each setting's runs, and the folder of the search.
        variant: Its tiers are what every setting sees; its training is the first setting tried.
        trials: Number of settings to try.
        metric: `spearman` or `mse`, as the mean over runs at the last epoch.
        resources: CPUs and GPUs of the cluster.
    Returns:
        A row a setting, best first.
    Raises:
        ConfigError: If an earlier search of this name was on other data or settings.
        DamagedFileError: If what an earlier search left cannot be read.
        StudyError: If every setting failed.
    """
    silence_tune()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    first = point_from_training(variant.training)
    tried = resume_search(study, SPACE, first, _identify_search(study, variant, trials, metric))
    left = trials - len(tried.ended)
    if left > 0:
        with temporary_tune_folder() as folder:
            run_to_end(_make_tuner(study, variant, tried, left, metric, resources, folder), tried, trials)
    rows = [_make_row(setting, variant.training.epochs) for setting in tried.ended]
    frame = _add_preset(pd.DataFrame(rows), study, variant).sort_values(
        ["complete", metric], ascending=[False, metric == "mse"], na_position="last", ignore_index=True
    )
    if not frame["complete"].any():
        raise StudyError("search: no setting was trained to its last epoch; the lines above say why")
    text = frame.assign(hidden=frame["hidden"].map(str))
    study.root.write_table(pa.Table.from_pandas(text, preserve_index=False), *study.folder, "trials.parquet")
    study.root.write_bytes(csv_bytes(text), *study.folder, "trials.csv")
    _write_best(study, variant, frame.iloc[0], metric)
    return frame


def _make_tuner(
    study: Study, variant: Variant, tried: SearchHistory, left: int, metric: str, resources: Resources, folder: str
) -> tune.Tuner:
    """Tune on the settings that are left; its own files go to `folder`."""
    optimiser = make_optimiser(tried, point_from_training(variant.training), metric, study.seeds[0])
    return tune.Tuner(
        tune.with_resources(
            tune.with_parameters(_run_setting, study=study, variant=variant, gpu=bool(resources.gpus)),
            trial_resources(resources),
        ),
        tune_config=tune.TuneConfig(
            num_samples=left,
            # More at once would be drawn blindly: TPE learns from those that have ended.
            search_alg=ConcurrencyLimiter(optimiser, max_concurrent=max(2, min(left // 4, resources.cpus))),
            scheduler=make_scheduler(tried, metric, variant.training.epochs),
            reuse_actors=True,
        ),
        run_config=tune.RunConfig(
            name="tune",
            storage_path=folder,
            callbacks=[TrialRecorder(tried)],
            failure_config=tune.FailureConfig(max_failures=1),
            progress_reporter=make_reporter(*SPACE),
            verbose=1,
        ),
    )


def _run_setting(config: dict[str, Any], study: Study, variant: Variant, gpu: bool = False) -> None:
    """One Tune trial: all runs of a setting as one model, so that ASHA sees their mean after each epoch."""
    torch.set_num_threads(1)
    device = take_device(gpu=gpu)

    def report(epoch: int, metrics: Mapping[str, np.ndarray]) -> None:
        means = {name: float(np.mean(metrics[name])) for name in MODES}
        # Tune wants numbers: a setting whose runs are constant, or diverged, is as bad as can be.
        finite = {n: v if np.isfinite(v) else {"spearman": -1.0, "mse": 1.0}[n] for n, v in means.items()}
        deviation = float(np.std(metrics["spearman"], ddof=1)) if len(study.seeds) > 1 else 0.0
        tune.report({**finite, "spearman_std": deviation if np.isfinite(deviation) else 0.0, "epoch": epoch + 1})

    tried = replace(variant, training=training_from_point(config, variant.training))
    run_trial(tried, study.data, study.seeds, device, on_epoch=report, stack=len(study.seeds))


def _make_row(setting: Setting, most: int) -> dict[str, Any]:
    """A setting: what it was, what it reached, and whether ASHA let it train all `most` epochs."""
    shown = {name: setting.last.get(name, np.nan) for name in ("spearman", "spearman_std", "mse")}
    epochs = int(setting.last.get("epoch", 0))
    complete = setting.status == DONE and epochs == most
    return {**setting.point, **shown, "epochs": epochs, "status": setting.status, "complete": complete}


def _add_preset(frame: pd.DataFrame, study: Study, variant: Variant) -> pd.DataFrame:
    """The first setting trained to its last epoch even where ASHA stopped it: the best one is compared with it."""
    point = point_from_training(variant.training)
    itself = np.logical_and.reduce([frame[name] == value for name, value in point.items()])
    if frame.loc[itself, "complete"].any():
        return frame
    metrics = run_trial(variant, study.data, study.seeds, _DRIVER, cores=torch.get_num_threads()).trained.metrics
    reached = {name: float(np.mean(metrics[name][:, -1])) for name in MODES}
    deviation = float(np.std(metrics["spearman"][:, -1], ddof=1)) if len(study.seeds) > 1 else 0.0
    ended = {"spearman_std": deviation, "epochs": variant.training.epochs, "status": "done", "complete": True}
    return pd.concat([frame[~itself], pd.DataFrame([{**point, **reached, **ended}])], ignore_index=True)


def _write_best(study: Study, variant: Variant, row: pd.Series, metric: str) -> None:
    """The best setting as a file for `train.py --config`, compared with the first one on seeds that chose nothing."""
    best = training_from_point(row.to_dict(), variant.training)
    seeds, data = [seed + _FRESH for seed in study.seeds], study.data
    tuned, preset = (
        run_trial(replace(variant, training=training), data, seeds, _DRIVER, cores=torch.get_num_threads())
        for training in (best, variant.training)
    )
    fresh, gap = _compare(tuned.trained.val, preset.trained.val, data, data.val, metric)
    test = _compare(tuned.test, preset.test, data, data.test, metric)[0] if len(data.test) > 1 else None
    result = {
        "training": as_json(best),
        "chosen_on": "val",
        "metric": metric,
        f"val_{metric}": float(row[metric]),
        "fresh_seeds": fresh,
        "test": test,
        "preset_holds": _preset_holds(gap, metric),
        "note": "chosen on val, so optimistic; fresh_seeds had no part in the choice, on the same val; test had none",
    }
    study.root.write_json(result, *study.folder, "best.json")
    on_test = "" if test is None else f"; on test {_number(test['best'])}, the preset {_number(test['preset'])}"
    logger.info(
        f"search: best {metric} {row[metric]:.4f} on val; on {len(seeds)} fresh seeds {_number(fresh['best'])}, the "
        f"preset {_number(fresh['preset'])}{on_test}: {_train_command(study, variant)}"
    )
    logger.info(f"search: {_describe_gap(gap, metric)}")


def _train_command(study: Study, variant: Variant) -> str:
    """The command that makes a bundle of the best setting: of the tiers, target and weights that were searched."""
    arguments = ["--out", study.root.uri, "--config", study.root.display(*study.folder, "best.json")]
    arguments += ["--tiers", *variant.tiers]
    if study.data.target.name != "score":
        arguments += ["--target", study.data.target.name]
    if study.data.weights is not None:
        arguments += ["--weigh", "responses"]
    return shlex.join(["python", "jobs/train.py", *arguments, "--name", "tuned"])


def _compare(
    tuned: np.ndarray, preset: np.ndarray, data: StudyData, rows: np.ndarray, metric: str
) -> tuple[dict[str, Any], Difference]:
    """The best setting's metric beside the preset's on some clips, None where it is undefined, and their difference."""
    weights = None if data.weights is None else data.weights[rows]
    measured = [measure_runs(runs, data.scores[rows], metric, weights) for runs in (tuned, preset)]
    gap = compare_runs(full=measured[1], row=measured[0])
    means = [float(m.values.mean()) if np.isfinite(m.values).all() else None for m in measured]
    return {"best": means[0], "preset": means[1], "difference": as_json(gap)}, gap


def _preset_holds(gap: Difference, metric: str) -> bool | None:
    """Whether the best setting is not shown to be better than the preset; None where nothing can be shown."""
    if gap.estimate is None or (gap.low is None and gap.estimate != 0):
        return None
    is_better = gap.estimate > 0 if metric == "spearman" else gap.estimate < 0
    return not (gap.excludes_zero and is_better)


def _describe_gap(gap: Difference, metric: str) -> str:
    """Sentence on whether the search was worth it."""
    holds = _preset_holds(gap, metric)
    if holds is None:
        return f"whether the preset holds is open: {gap.reason}"
    if gap.low is None or gap.high is None:
        return "the preset holds: the best setting predicts no differently on fresh seeds"
    size = f"{gap.estimate:+.4f} [{gap.low:+.4f}, {gap.high:+.4f}]"
    if not holds:
        return f"the best setting beats the preset on fresh seeds: {metric} {size}"
    better = "worse than it by" if gap.excludes_zero else "not shown to be better:"
    return f"the preset holds: on fresh seeds the best setting is {better} {metric} {size}"


def _number(value: float | None) -> str:
    return "undefined" if value is None else f"{value:.4f}"


def _identify_search(study: Study, variant: Variant, trials: int, metric: str) -> dict[str, Any]:
    """What a search that goes on must have in common with what it began as."""
    return {
        "data": fingerprint(study.loaded.key, dict(study.loaded.folders)),
        "variant": as_json(variant),
        "seeds": list(study.seeds),
        "trials": trials,
        "metric": metric,
    }
