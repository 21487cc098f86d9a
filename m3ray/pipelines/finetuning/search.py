"""Search over the two learning rates of a finetuning; each trial is a whole training."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from optuna.distributions import BaseDistribution, FloatDistribution
from ray import tune
from ray.tune.search import ConcurrencyLimiter
from ray.tune.search.optuna import OptunaSearch

from m3ray.config import LimitsConfig, as_json, fingerprint
from m3ray.config.finetuning import FinetuneConfig
from m3ray.config.options import TuneOptions
from m3ray.console import configure_console
from m3ray.errors import StudyError
from m3ray.features.dataset import StudyData
from m3ray.model.calibrated_error import calibrated_mse
from m3ray.pipelines.finetuning.train import finetune_variant, read_frozen_heads
from m3ray.pipelines.runtime.cluster import Resources
from m3ray.pipelines.runtime.search_state import TrialRecorder, make_optimiser, resume_search, run_to_end
from m3ray.pipelines.runtime.tune import make_reporter, silence_tune, temporary_tune_folder
from m3ray.study.finetuned_trial import FinetuneOutcome
from m3ray.study.search_choice import COLUMNS, OBJECTIVES, rank_settings, read_report, report_epoch
from m3ray.study.search_history import DONE, Setting
from m3ray.study.search_result import show
from m3ray.study.study import Study
from m3ray.study.variants import Variant, make_finetune_variant
from m3ray.tiers.network import WeightSource

logger = logging.getLogger(__name__)

RATES: dict[str, BaseDistribution] = {
    "backbone_learning_rate": FloatDistribution(1e-6, 1e-4, log=True),
    "head_learning_rate": FloatDistribution(1e-5, 1e-3, log=True),
}
_TRIAL_BYTES = 256 << 20


def search_finetuning(
    study: Study,
    main: Variant,
    config: FinetuneConfig,
    sources: Mapping[str, WeightSource],
    options: TuneOptions,
    resources: Resources,
) -> pd.DataFrame:
    """Try learning rates, the preset's first; one training after the other, as each takes all devices.

    Args:
        study: Study that `main` was trained in, and the folder of the search.
        main: The frozen model, whose head every training starts from.
        config: Settings of the finetuning.
        sources: Name of each network to where its weights are.
        options: Number of trials, the metric on val at the last epoch, and per-clip resource limits.
        resources: CPUs and GPUs of the cluster.
    Returns:
        A row a trial, best first, as in `study/<name>/trials.parquet`; `unfrozen.json` beside it has the best rates.
    Raises:
        ConfigError: If an earlier search of this name was on other data or settings.
        StudyError: If every training failed.
    """
    silence_tune()
    heads = read_frozen_heads(study, main, study.seeds[:1])
    trials, metric = options.trials, options.metric
    shared: dict[str, Any] = {"sources": dict(sources), "resources": resources, "limits": options.limits}
    trial = partial(_run_trial, study=study, main=main, config=config, heads=heads, **shared)
    first = {name: getattr(config, name) for name in RATES}
    tried = resume_search(study, RATES, first, _identify_search(study, main, config, trials, metric))
    left = trials - len(tried.ended)
    if left > 0:
        with temporary_tune_folder() as folder:
            optimiser = make_optimiser(tried, [first], COLUMNS[metric], study.seeds[0])
            run_to_end(_make_tuner(trial, TrialRecorder(tried), optimiser, left, folder), tried, trials)
    rows = [_make_row(setting) for setting in tried.ended if setting.status == DONE]
    if not rows:
        raise StudyError("search: every training failed; the lines above say why")
    frame = rank_settings(pd.DataFrame(rows), metric)
    if not frame["admissible"].iloc[0]:
        raise StudyError("search: no training gave clips different, finite scores; the lines above say why")
    _write(study, frame, metric)
    return frame


def _make_tuner(
    trial: Callable[[dict[str, Any]], None], recorder: TrialRecorder, optimiser: OptunaSearch, left: int, folder: str
) -> tune.Tuner:
    """Tune on the rates that are left; its own files go to `folder`."""
    return tune.Tuner(
        # The trial itself waits for the workers that it starts; a part of a CPU, and no decoder would fit beside them.
        tune.with_resources(trial, {"cpu": 0, "memory": _TRIAL_BYTES}),
        tune_config=tune.TuneConfig(num_samples=left, search_alg=ConcurrencyLimiter(optimiser, 1)),
        run_config=tune.RunConfig(
            name="tune",
            storage_path=folder,
            callbacks=[recorder],
            progress_reporter=make_reporter(*RATES),
            verbose=1,
        ),
    )


def _identify_search(study: Study, main: Variant, config: FinetuneConfig, trials: int, metric: str) -> dict[str, Any]:
    """What a search that goes on must have in common with what it began as."""
    return {
        "data": fingerprint(study.loaded.key, dict(study.loaded.folders)),
        "variant": as_json(main),
        "unfrozen": as_json(config.outcome_settings()),
        "seeds": list(study.seeds),
        "trials": trials,
        "metric": metric,
        "objective": OBJECTIVES[metric],
    }


def _run_trial(
    rates: dict[str, Any],
    study: Study,
    main: Variant,
    config: FinetuneConfig,
    heads: Mapping[int, Mapping[str, np.ndarray]],
    sources: Mapping[str, WeightSource],
    resources: Resources,
    limits: LimitsConfig,
) -> None:
    """One training with the rates that Tune drew; its checkpoints go when it has ended."""
    configure_console()  # in a worker, whose lines Ray prints on the driver
    variant = make_finetune_variant(main, replace(config, **{name: rates[name] for name in RATES}))
    _, (outcome,) = finetune_variant(study, variant, heads, sources, resources, limits)
    tune.report(_measure_run(study.data, outcome))
    study.root.delete_folder(*study.folder, "unfrozen")


def _measure_run(data: StudyData, outcome: FinetuneOutcome) -> dict[str, float]:
    """The last epoch's metrics on val, as Tune takes them."""
    truth, weights = data.scores[data.val], None if data.weights is None else data.weights[data.val]
    calibrated = calibrated_mse(outcome.predictions[None, : len(truth)], truth, weights)
    metrics = {name: outcome.metrics[name][-1:] for name in ("spearman", "mse")}
    return report_epoch({**metrics, "calibrated_mse": calibrated}, truth, weights)


def _make_row(setting: Setting) -> dict[str, Any]:
    return {**setting.point, **read_report(setting.last), "complete": True}


def _write(study: Study, frame: pd.DataFrame, metric: str) -> None:
    """Write the table and the best rates, and log these as options."""
    study.root.write_table(pa.Table.from_pandas(frame, preserve_index=False), *study.folder, "trials.parquet")
    best = {name: float(frame.iloc[0][name]) for name in RATES}
    note = "chosen on val, so optimistic"
    result = {"full": best, "metric": metric, "objective": OBJECTIVES[metric], "note": note}
    study.root.write_json(result, *study.folder, "unfrozen.json")
    options = " ".join(f"--finetune.{name.replace('_', '-')} {value:.3g}" for name, value in best.items())
    logger.info(f"search: best: {options} ({metric} {show(frame.iloc[0][COLUMNS[metric]], metric)} on val)")
