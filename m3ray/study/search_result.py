"""What a search was worth: its best setting beside what there was without it, on seeds that chose nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from m3ray.config import TrainConfig, as_json
from m3ray.features.dataset import StudyData
from m3ray.study.search_baselines import DEFAULT, PRESET, Baselines
from m3ray.study.search_choice import COLUMNS, measure_objective
from m3ray.study.search_space import MODES
from m3ray.study.statistics import Difference, MeasuredRuns, compare_runs
from m3ray.study.study import Study
from m3ray.study.trial import TrialResult, run_trial
from m3ray.study.variants import Variant

BEST = "best"
WORDS = {"spearman": "Spearman", "mse": "recalibrated MSE", "balanced": "mean of Spearman and R^2"}
NAMES = {DEFAULT: "what jobs/train.py takes by the same options", PRESET: "the preset"}

_FRESH = 1_000  # seeds that the search never saw start here
_DRIVER = torch.device("cpu")  # Ray gives a driver no GPU


@dataclass(frozen=True)
class Contest:
    """The best setting and the baselines on the clips of a split, trained with seeds that chose nothing.

    Args:
        metric: What is measured, one of `OBJECTIVES`.
        values: `best` and each baseline to the mean over its runs; None where it is undefined.
        errors: The same for the recalibrated MSE.
        gains: Baseline to how much better the best setting is; above 0 is better, for an error too.
    """

    metric: str
    values: Mapping[str, float | None]
    errors: Mapping[str, float | None]
    gains: Mapping[str, Difference]

    def as_json(self) -> dict[str, Any]:
        """The numbers as `best.json` has them."""
        gains = {f"gain_over_{name}": as_json(gain) for name, gain in self.gains.items()}
        return {**self.values, **gains, "calibrated_mse": dict(self.errors)}

    def describe(self) -> str:
        """The numbers in words."""
        return ", ".join(f"{NAMES.get(name, name)} {show(value, self.metric)}" for name, value in self.values.items())


def hold_contests(
    study: Study, variant: Variant, best: TrainConfig, baselines: Baselines, metric: str
) -> tuple[Contest, Contest | None]:
    """Train the best setting and the baselines on fresh seeds, and measure them.

    Args:
        study: Data, and the seeds that the search saw.
        variant: Its tiers are what every setting sees.
        best: The best setting.
        baselines: What it is compared with.
        metric: One of `OBJECTIVES`.
    Returns:
        The contest on val, which chose the setting, and that on test; None where fewer than two clips are test.
    """
    trained: dict[TrainConfig, TrialResult] = {}
    for training in (best, baselines.default, baselines.preset):
        if training not in trained:
            trained[training] = _train_fresh(study, variant, training)
    contestants = {BEST: trained[best], **{name: trained[training] for name, training in baselines.named()}}
    data = study.data
    val = _measure({n: t.trained.val for n, t in contestants.items()}, data, data.val, metric)
    if len(data.test) < 2 or np.ptp(data.scores[data.test]) == 0:
        return val, None
    return val, _measure({n: t.test for n, t in contestants.items()}, data, data.test, metric)


def _train_fresh(study: Study, variant: Variant, training: TrainConfig) -> TrialResult:
    seeds = [seed + _FRESH for seed in study.seeds]
    return run_trial(replace(variant, training=training), study.data, seeds, _DRIVER, cores=torch.get_num_threads())


def _measure(runs: Mapping[str, np.ndarray], data: StudyData, rows: np.ndarray, metric: str) -> Contest:
    truth, weights = data.scores[rows], None if data.weights is None else data.weights[rows]
    measured = {name: measure_objective(predictions, truth, metric, weights) for name, predictions in runs.items()}
    errors = {name: _mean(measure_objective(predictions, truth, "mse", weights)) for name, predictions in runs.items()}
    gains = {name: _gain(measured[BEST], other, metric) for name, other in measured.items() if name != BEST}
    return Contest(metric, {name: _mean(m) for name, m in measured.items()}, errors, gains)


def _gain(best: MeasuredRuns, other: MeasuredRuns, metric: str) -> Difference:
    gap = compare_runs(full=other, row=best)
    return gap if MODES[COLUMNS[metric]] == "max" else gap.reverse()


def _mean(measured: MeasuredRuns) -> float | None:
    return float(measured.values.mean()) if np.isfinite(measured.values).all() else None


def holds(gain: Difference) -> bool | None:
    """Whether a baseline holds: the best setting is not shown to be better.

    Args:
        gain: How much better the best setting is.
    Returns:
        None where nothing can be shown, as there is no interval.
    """
    if gain.estimate is None or (gain.low is None and gain.estimate != 0):
        return None
    return not (gain.excludes_zero and gain.estimate > 0)


def is_gain_shown(val: Contest, test: Contest | None) -> bool:
    """Whether the best setting is shown to be better than the default: on val, and no worse on test where there is one.

    Args:
        val: Contest on val.
        test: Contest on test; None: there are no such clips.
    """
    is_worse = test is not None and (test.gains[DEFAULT].estimate or 0.0) < 0
    return holds(val.gains[DEFAULT]) is False and not is_worse


def describe_gain(val: Contest, test: Contest | None, name: str) -> str:
    """Describe whether the search was worth it, beside a baseline.

    Args:
        val: Contest on val.
        test: Contest on test; None: there are no such clips.
        name: The baseline's name in `NAMES`.
    Returns:
        A sentence without its end.
    """
    on_test = "" if test is None else f"; on test {_describe_size(test.gains[name], test.metric)}"
    return f"{_describe_on_val(val.gains[name], name, val.metric)}{on_test}"


def _describe_on_val(gain: Difference, name: str, metric: str) -> str:
    baseline, held = NAMES[name], holds(gain)
    if held is None:
        return f"whether the best setting is better than {baseline} is open: {gain.reason}"
    if gain.low is None:
        return f"no gain over {baseline}: the best setting predicts no differently on fresh seeds"
    size = f"{WORDS[metric]} better by {_describe_size(gain, metric)} on fresh seeds"
    if not held:
        return f"gain over {baseline}: {size}, on the val that chose the setting, so optimistic"
    state = "worse" if gain.excludes_zero else "not shown to be better"
    return f"no gain over {baseline}: the best setting is {state}: {size}"


def _describe_size(gain: Difference, metric: str) -> str:
    if gain.estimate is None or gain.low is None or gain.high is None:
        return show(gain.estimate, metric, "+")
    return f"{show(gain.estimate, metric, '+')} [{show(gain.low, metric, '+')}, {show(gain.high, metric, '+')}]"


def show(value: float | None, metric: str, sign: str = "") -> str:
    """Write a value of an objective, or a gain in it.

    Args:
        value: The value; None: it is undefined.
        metric: One of `OBJECTIVES`.
        sign: `+`: with its sign.
    Returns:
        Four decimals, five for an error.
    """
    return "undefined" if value is None else f"{value:{sign}.{5 if metric == 'mse' else 4}f}"
