"""A small search over the two learning rates of the unfrozen training, with the same trainer."""

from __future__ import annotations

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
from m3ray.config.finetuning import UnfrozenConfig
from m3ray.console import say
from m3ray.errors import StudyError
from m3ray.pipelines.finetuning.train import frozen_heads, train_unfrozen
from m3ray.pipelines.runtime.cluster import Resources
from m3ray.pipelines.runtime.search_state import Keeper, begun, optimiser_of, run_to_end
from m3ray.pipelines.runtime.tune import quiet_tune, tune_folder, tune_table
from m3ray.study.search_space import MODES
from m3ray.study.study import Study
from m3ray.study.tried import DONE, Setting
from m3ray.study.variants import Variant, unfrozen_variant
from m3ray.tiers.network import WeightSource

RATES: dict[str, BaseDistribution] = {
    "backbone_learning_rate": FloatDistribution(1e-6, 1e-4, log=True),
    "head_learning_rate": FloatDistribution(1e-5, 1e-3, log=True),
}
_TRIAL_BYTES = 256 << 20


def search_unfrozen(
    study: Study,
    main: Variant,
    config: UnfrozenConfig,
    sources: Mapping[str, WeightSource],
    trials: int,
    metric: str,
    on: Resources,
) -> pd.DataFrame:
    """Tries learning rates, one training after the other, as each takes all devices; the preset's are the first.

    Args:
        study: where `main` was trained.
        main: the frozen model, whose head every training starts from.
        config: of the unfrozen training.
        sources: of the networks' weights.
        trials: to try.
        metric: `spearman` or `mse` on val, last epoch.
        on: the cluster.
    Returns:
        A row a trial, best first; also `study/<name>/trials.parquet`, and `unfrozen.json` with the rates.
    Raises:
        ConfigError: an earlier search of this name was on other data or settings.
        StudyError: every training failed.
    """
    quiet_tune()
    heads = frozen_heads(study, main, study.seeds[:1])
    trial = partial(_trial, study=study, main=main, config=config, heads=heads, sources=dict(sources), on=on)
    first = {name: getattr(config, name) for name in RATES}
    tried = begun(study, RATES, first, _asked(study, main, config, trials, metric))
    left = trials - len(tried.ended)
    if left > 0:
        with tune_folder() as folder:
            optimiser = optimiser_of(tried, first, metric, study.seeds[0])
            run_to_end(_tuner(trial, Keeper(tried), optimiser, left, folder), tried, trials)
    rows = [_row(setting) for setting in tried.ended if setting.status == DONE]
    if not rows:
        raise StudyError("search: every training failed; the lines above say why")
    frame = pd.DataFrame(rows).sort_values(metric, ascending=metric == "mse", ignore_index=True)
    _write(study, frame, metric)
    return frame


def _tuner(
    trial: Callable[[dict[str, Any]], None], keeper: Keeper, optimiser: OptunaSearch, left: int, folder: str
) -> tune.Tuner:
    """What tries the rates that are left; Tune's own files go to `folder`."""
    return tune.Tuner(
        # The trial itself waits for the workers that it starts; a part of a CPU, and no decoder would fit beside them.
        tune.with_resources(trial, {"cpu": 0, "memory": _TRIAL_BYTES}),
        tune_config=tune.TuneConfig(num_samples=left, search_alg=ConcurrencyLimiter(optimiser, 1)),
        run_config=tune.RunConfig(
            name="tune",
            storage_path=folder,
            callbacks=[keeper],
            progress_reporter=tune_table(*RATES),
            verbose=1,
        ),
    )


def _asked(study: Study, main: Variant, config: UnfrozenConfig, trials: int, metric: str) -> dict[str, Any]:
    """What a search that goes on must have in common with what it began as."""
    return {
        "data": fingerprint(study.loaded.key, dict(study.loaded.folders)),
        "variant": as_json(main),
        "unfrozen": as_json(config.deciding()),
        "seeds": list(study.seeds),
        "trials": trials,
        "metric": metric,
    }


def _trial(
    rates: dict[str, Any],
    study: Study,
    main: Variant,
    config: UnfrozenConfig,
    heads: Mapping[int, Mapping[str, np.ndarray]],
    sources: Mapping[str, WeightSource],
    on: Resources,
) -> None:
    """One training with the rates that Tune drew; its checkpoints go when it has ended."""
    variant = unfrozen_variant(main, replace(config, **{name: rates[name] for name in RATES}))
    _, (outcome,) = train_unfrozen(study, variant, heads, sources, on, LimitsConfig())
    found = {name: float(outcome.metrics[name][-1]) for name in MODES}
    worst = {"spearman": -1.0, "mse": 1.0}
    tune.report({name: value if np.isfinite(value) else worst[name] for name, value in found.items()})
    study.root.delete_folder(*study.folder, "unfrozen")


def _row(setting: Setting) -> dict[str, Any]:
    return {**setting.point, **{name: setting.last[name] for name in MODES}}


def _write(study: Study, frame: pd.DataFrame, metric: str) -> None:
    """The table, and the best rates as a file and as the options that take them."""
    study.root.write_table(pa.Table.from_pandas(frame, preserve_index=False), *study.folder, "trials.parquet")
    best = {name: float(frame.iloc[0][name]) for name in RATES}
    facts = {"full": best, "metric": metric, "note": "chosen on val, so optimistic"}
    study.root.write_json(facts, *study.folder, "unfrozen.json")
    options = " ".join(f"--full.{name.replace('_', '-')} {value:.3g}" for name, value in best.items())
    say(f"search: best: {options} ({metric} {frame.iloc[0][metric]:.4f} on val)")
