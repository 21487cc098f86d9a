"""Search over hyper-parameters: Optuna's TPE under Tune, settings that fall behind stopped early by ASHA."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import optuna
import pandas as pd
import pyarrow as pa
import torch
from ray import tune
from ray.tune.schedulers import ASHAScheduler
from ray.tune.search import ConcurrencyLimiter
from ray.tune.search.optuna import OptunaSearch

from m3ray.config import as_json, fingerprint
from m3ray.errors import ConfigError, StudyError
from m3ray.pipelines.cluster import Resources
from m3ray.pipelines.loading import Study
from m3ray.pipelines.progress import say
from m3ray.pipelines.study import quiet_tune, trial_resources, tune_table
from m3ray.study.space import SPACE, as_point, training_of
from m3ray.study.statistics import paired_difference
from m3ray.study.trial import run_trial
from m3ray.study.variants import Variant

MODES = {"spearman": "max", "mse": "min"}
_FRESH = 1_000  # seeds that the search never saw start here


def search(study: Study, variant: Variant, trials: int, metric: str, on: Resources) -> pd.DataFrame:
    """Tries settings of a variant's training; the same call goes on where an earlier one was cut.

    Args:
        study: data, seeds of a setting's runs, and where results go.
        variant: its tiers are what every setting sees; its training is the first one tried.
        trials: settings to try.
        metric: `spearman` or `mse`, mean over runs at the last epoch.
        on: the cluster.
    Returns:
        A row a setting, best first.
    Raises:
        ConfigError: an earlier search of this name was on other data or settings.
        StudyError: every setting failed.
    """
    quiet_tune()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    _check_same(study, variant, trials, metric)
    results = _tuner(study, variant, trials, metric, on).fit()
    rows = [_row(result.metrics or {}, result.error, variant.training.epochs) for result in results]
    frame = _with_preset(pd.DataFrame(rows), study, variant).sort_values(
        ["complete", metric], ascending=[False, metric == "mse"], na_position="last", ignore_index=True
    )
    if not frame["complete"].any():
        raise StudyError("search: no setting was trained to its last epoch; the lines above say why")
    text = frame.assign(hidden=frame["hidden"].map(str))
    study.root.write_table(pa.Table.from_pandas(text, preserve_index=False), *study.folder, "trials.parquet")
    study.root.write_bytes(text.to_csv(index=False).encode(), *study.folder, "trials.csv")
    _write_best(study, variant, frame.iloc[0], metric)
    return frame


def _tuner(study: Study, variant: Variant, trials: int, metric: str, on: Resources) -> tune.Tuner:
    resources = trial_resources(on)
    trainable = tune.with_resources(tune.with_parameters(_setting, study=study, variant=variant), resources)
    path = study.root.display(*study.folder, "tune")
    if tune.Tuner.can_restore(path):
        say(f"search: goes on from {path}; finished settings are kept")
        return tune.Tuner.restore(path, trainable=trainable, resume_unfinished=True, restart_errored=True)
    seed = study.seeds[0]
    optimiser = OptunaSearch(
        SPACE,
        metric=metric,
        mode=MODES[metric],
        points_to_evaluate=[as_point(variant.training)],
        sampler=optuna.samplers.TPESampler(seed=seed),
    )
    epochs = variant.training.epochs
    return tune.Tuner(
        trainable,
        tune_config=tune.TuneConfig(
            metric=metric,
            mode=MODES[metric],
            num_samples=trials,
            # More at once would be drawn blindly: TPE learns from those that have ended.
            search_alg=ConcurrencyLimiter(optimiser, max_concurrent=max(2, min(trials // 4, on.cpus))),
            scheduler=ASHAScheduler(time_attr="epoch", max_t=epochs, grace_period=max(1, epochs // 4)),
            reuse_actors=True,
        ),
        run_config=tune.RunConfig(
            name="tune",
            storage_path=study.root.display(*study.folder),
            failure_config=tune.FailureConfig(max_failures=1),
            progress_reporter=tune_table(*SPACE),
            verbose=1,
        ),
    )


def _setting(config: dict[str, Any], study: Study, variant: Variant) -> None:
    """One Tune trial: all runs of a setting as one model, so that an epoch's mean can be judged."""
    torch.set_num_threads(1)

    def report(epoch: int, metrics: Mapping[str, np.ndarray]) -> None:
        means = {name: float(np.mean(metrics[name])) for name in MODES}
        # Tune wants numbers: a setting whose runs are constant, or diverged, is as bad as can be.
        found = {n: v if np.isfinite(v) else {"spearman": -1.0, "mse": 1.0}[n] for n, v in means.items()}
        deviation = float(np.std(metrics["spearman"], ddof=1)) if len(study.seeds) > 1 else 0.0
        tune.report({**found, "spearman_std": deviation if np.isfinite(deviation) else 0.0, "epoch": epoch + 1})

    tried = replace(variant, training=training_of(config, variant.training))
    run_trial(tried, study.data, study.seeds, _device(), on_epoch=report, stack=len(study.seeds))


def _row(metrics: Mapping[str, Any], error: Exception | None, most: int) -> dict[str, Any]:
    """A setting: what it was, what it reached, and whether ASHA let it train all `most` epochs."""
    config = metrics.get("config", {})
    settings = {name: config.get(name) for name in SPACE}
    shown = {name: metrics.get(name, np.nan) for name in ("spearman", "spearman_std", "mse")}
    epochs = int(metrics.get("epoch", 0))
    ended = {"epochs": epochs, "status": "failed" if error else "done", "complete": error is None and epochs == most}
    return {**settings, **shown, **ended}


def _with_preset(frame: pd.DataFrame, study: Study, variant: Variant) -> pd.DataFrame:
    """The first setting trained to its last epoch even where ASHA stopped it: the best one is compared with it."""
    point = as_point(variant.training)
    itself = np.logical_and.reduce([frame[name] == value for name, value in point.items()])
    if frame.loc[itself, "complete"].any():
        return frame
    metrics = run_trial(variant, study.data, study.seeds, _device()).trained.metrics
    reached = {name: float(np.mean(metrics[name][:, -1])) for name in MODES}
    deviation = float(np.std(metrics["spearman"][:, -1], ddof=1)) if len(study.seeds) > 1 else 0.0
    ended = {"spearman_std": deviation, "epochs": variant.training.epochs, "status": "done", "complete": True}
    return pd.concat([frame[~itself], pd.DataFrame([{**point, **reached, **ended}])], ignore_index=True)


def _device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def _write_best(study: Study, variant: Variant, row: pd.Series, metric: str) -> None:
    """The best setting as a file for `train.py --config`, compared with the first one on seeds that chose nothing."""
    best = training_of(row.to_dict(), variant.training)
    fresh = [seed + _FRESH for seed in study.seeds]
    found, given = (
        run_trial(replace(variant, training=training), study.data, fresh, _device()).trained.metrics[metric][:, -1]
        for training in (best, variant.training)
    )
    gap = paired_difference(found, given)
    facts = {
        "training": as_json(best),
        "metric": metric,
        f"val_{metric}": float(row[metric]),
        "fresh_seeds": {"best": float(found.mean()), "preset": float(given.mean()), "difference": as_json(gap)},
        "note": "chosen on val, so optimistic; fresh_seeds had no part in the choice, on the same val",
    }
    study.root.write_json(facts, *study.folder, "best.json")
    say(
        f"search: best {metric} {row[metric]:.4f} on val; on {len(fresh)} fresh seeds {found.mean():.4f}, the preset "
        f"{given.mean():.4f}: python jobs/train.py --out {study.root.uri} --config "
        f"{study.root.display(*study.folder, 'best.json')} --name tuned"
    )


def _check_same(study: Study, variant: Variant, trials: int, metric: str) -> None:
    """A search goes on only as what it began as."""
    asked = {
        "data": fingerprint(study.loaded.key, dict(study.loaded.folders)),
        "variant": as_json(variant),
        "seeds": list(study.seeds),
        "trials": trials,
        "metric": metric,
    }
    kept = (*study.folder, "search.json")
    if study.root.exists(*kept) and (before := study.root.read_json(*kept)) != asked:
        changed = [name for name in asked if before.get(name) != asked[name]]
        raise ConfigError(
            f"the search {study.name} was begun with other {', '.join(changed)}: give this one another --name"
        )
    study.root.write_json(asked, *kept)
