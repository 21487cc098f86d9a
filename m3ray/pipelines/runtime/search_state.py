"""A search in Tune that goes on from our own table of settings: nothing that Tune keeps is read in another process."""

from __future__ import annotations

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

from optuna.distributions import BaseDistribution
from optuna.samplers import TPESampler
from ray import tune
from ray.tune.experiment import Trial
from ray.tune.schedulers import ASHAScheduler
from ray.tune.search.optuna import OptunaSearch

from m3ray.console import say
from m3ray.errors import ConfigError, M3RayError
from m3ray.storage.root import damaged
from m3ray.study.search_space import MODES
from m3ray.study.study import Study
from m3ray.study.tried import DONE, FAILED, Setting, Tried, checked_setting, read_settings

_REPORTED = ("epoch", "spearman", "mse", "spearman_std")
_WHAT = "search.json"


class Keeper(tune.Callback):
    """Notes on the root, from the driver, what Tune's trials do."""

    def __init__(self, tried: Tried) -> None:
        self.tried = tried

    def on_trial_start(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        self.tried.begin(trial.trial_id, trial.config)

    def on_trial_result(
        self, iteration: int, trials: list[Trial], trial: Trial, result: dict[str, Any], **info: Any
    ) -> None:
        self.tried.report(trial.trial_id, {name: result[name] for name in _REPORTED if name in result})

    def on_trial_complete(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        self.tried.end(trial.trial_id, DONE)

    def on_trial_error(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        self.tried.end(trial.trial_id, FAILED)


def begun(
    study: Study, space: Mapping[str, BaseDistribution], first: Mapping[str, Any], asked: Mapping[str, Any]
) -> Tried:
    """The settings that an earlier call of the same search has tried, if there was one.

    Args:
        study: where it is kept.
        space: that it draws from.
        first: the first point.
        asked: all that must be as it was.
    Raises:
        ConfigError: the earlier search was on other data or settings.
        DamagedFileError: its table of settings is none.
    """
    was_there = _check_same(study, asked)
    before = read_settings(study.root, study.folder, space, first)
    if before is None and was_there:
        before = _of_older(study, space, first)
    tried = Tried(study.root, study.folder, space, before or ())
    if before:
        say(
            f"search: goes on from {study.root.display(*study.folder)}; {len(tried.ended)} finished settings are kept, "
            f"{len(tried.waiting)} that were cut short or failed are tried again first"
        )
    return tried


def _check_same(study: Study, asked: Mapping[str, Any]) -> bool:
    """Whether the search was begun before; it goes on only as what it began as."""
    kept = (*study.folder, _WHAT)
    there = study.root.exists(*kept)
    if there and (before := study.root.read_json(*kept)) != asked:
        changed = [name for name in {**before, **asked} if before.get(name) != asked.get(name)]
        raise ConfigError(
            f"the search {study.name} was begun with other {', '.join(changed)}: give this one another --name"
        )
    study.root.write_json(asked, *kept)
    return there


def _of_older(study: Study, space: Mapping[str, BaseDistribution], first: Mapping[str, Any]) -> list[Setting]:
    """What an older m3ray's search left, from its table alone: its other files are Tune's, and would run code."""
    root, folder = study.root, study.folder
    if not root.exists(*folder, "tune"):
        return []
    table = (*folder, "trials.parquet")
    finished = root.exists(*table) and {*space, "epochs"} <= set(root.read_schema(*table).names)
    say(
        f"search: {root.display(*folder, 'tune')} is an older m3ray's, and going on from it would run code out of the "
        f"root: {'its finished table is taken' if finished else 'the search begins anew'}, that folder may be deleted"
    )
    rows = root.read_table(*table).to_pylist() if finished else []
    try:
        return [checked_setting(_entry(row, space), space, first) for row in rows]
    except (KeyError, TypeError, ValueError) as error:
        raise damaged(root.display(*table), error) from error


def _entry(row: Mapping[str, Any], space: Mapping[str, BaseDistribution]) -> dict[str, Any]:
    """A row of an older search's table as an entry of ours."""
    last = {"epoch": row["epochs"], **{name: row[name] for name in _REPORTED[1:]}}
    done = row["status"] == DONE
    return {"point": {name: row[name] for name in space}, "epochs": [last] if done else [], "status": row["status"]}


def optimiser_of(tried: Tried, first: Mapping[str, Any], metric: str, seed: int) -> OptunaSearch:
    """TPE that knows what has ended, and tries first what was cut short."""
    known = tried.all()
    waiting = [dict(setting.point) for setting in tried.waiting]
    optimiser = OptunaSearch(
        tried.space,
        metric=metric,
        mode=MODES[metric],
        points_to_evaluate=waiting if known else [dict(first)],
        # Of the same seed it would draw again the settings that are known.
        sampler=TPESampler(seed=seed + len(known)),
    )
    for setting in tried.inside():
        optimiser.add_evaluated_point(dict(setting.point), setting.last[metric])
    return optimiser


def early_stopping(tried: Tried, metric: str, epochs: int) -> ASHAScheduler:
    """ASHA that judges new settings against those that have ended too."""
    scheduler = ASHAScheduler(
        time_attr="epoch", metric=metric, mode=MODES[metric], max_t=epochs, grace_period=max(1, epochs // 4)
    )
    for number, setting in enumerate(tried.ended):
        trial: Any = SimpleNamespace(trial_id=f"before-{number}")
        scheduler.on_trial_add(None, trial)  # type: ignore[arg-type]
        for epoch in setting.epochs:
            scheduler.on_trial_result(None, trial, dict(epoch))  # type: ignore[arg-type]
        scheduler.on_trial_complete(None, trial, dict(setting.last))  # type: ignore[arg-type]
    return scheduler


def run_to_end(tuner: tune.Tuner, tried: Tried, trials: int) -> None:
    """Tries what is left.

    Raises:
        M3RayError: it was stopped before the last setting.
    """
    for error in tuner.fit().errors:
        say(f"search: a setting failed: {str(error).splitlines()[-1][:300]}")
    if len(tried.ended) < trials:
        raise M3RayError(
            f"search: stopped after {len(tried.ended)} of {trials} settings: the same call goes on from there"
        )
