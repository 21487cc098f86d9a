"""A search in Tune that resumes from our own table of settings; no file of Tune's is ever read again."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import Any

from optuna.distributions import BaseDistribution
from optuna.samplers import TPESampler
from ray import tune
from ray.tune.experiment import Trial
from ray.tune.schedulers import ASHAScheduler
from ray.tune.search.optuna import OptunaSearch

from m3ray.errors import ConfigError, M3RayError
from m3ray.storage.parquet_tables import file_damage_error
from m3ray.study.search_choice import REPORTED
from m3ray.study.search_history import (
    DONE,
    FAILED,
    REQUIRED_METRICS,
    SearchHistory,
    Setting,
    is_number,
    parse_setting,
    read_settings,
)
from m3ray.study.search_space import MODES
from m3ray.study.study import Study

logger = logging.getLogger(__name__)

_REPORTED = ("epoch", *REPORTED, "spearman_std")
_REQUEST = "search.json"


class TrialRecorder(tune.Callback):
    """Callback that records on the root, from the driver, what Tune's trials do.

    Args:
        history: the search's settings so far.
    """

    def __init__(self, history: SearchHistory) -> None:
        self.history = history

    def on_trial_start(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """Record that a setting is being tried.

        Args:
            iteration: count of Tune's loop.
            trials: all trials of the tuner.
            trial: trial that begins.
            **info: further values of Tune's, not used.
        """
        self.history.begin(trial.trial_id, trial.config)

    def on_trial_result(
        self, iteration: int, trials: list[Trial], trial: Trial, result: dict[str, Any], **info: Any
    ) -> None:
        """Record the metrics of an epoch.

        Args:
            iteration: count of Tune's loop.
            trials: all trials of the tuner.
            trial: trial that reports.
            result: metrics of the epoch, as the trial reported them.
            **info: further values of Tune's, not used.
        """
        self.history.report(trial.trial_id, {name: result[name] for name in _REPORTED if name in result})

    def on_trial_complete(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """Record that a setting has ended.

        Args:
            iteration: count of Tune's loop.
            trials: all trials of the tuner.
            trial: trial that ended.
            **info: further values of Tune's, not used.
        """
        self.history.end(trial.trial_id, DONE)

    def on_trial_error(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """Record that a setting has failed.

        Args:
            iteration: count of Tune's loop.
            trials: all trials of the tuner.
            trial: trial that failed.
            **info: further values of Tune's, not used.
        """
        self.history.end(trial.trial_id, FAILED)


def resume_search(
    study: Study, space: Mapping[str, BaseDistribution], first: Mapping[str, Any], request: Mapping[str, Any]
) -> SearchHistory:
    """Resume the search with the settings that an earlier call of it has tried, if there was one.

    Args:
        study: study that the search belongs to.
        space: hyper-parameter to the distribution that it is drawn from.
        first: point that a new search tries first, hyper-parameter to value.
        request: all that must be as it was: number of trials, metric, data and so on; plain JSON.
    Returns:
        The table of settings; empty for a new search.
    Raises:
        ConfigError: If the earlier search was on other data or settings.
        DamagedFileError: If its table of settings cannot be read.
    """
    was_there = _check_same(study, request)
    before = read_settings(study.root, study.folder, space, first)
    if before is None and was_there:
        before = _read_older_search(study, space, first)
    history = SearchHistory(study.root, study.folder, space, before or ())
    if before:
        logger.info(
            f"search: goes on from {study.root.display(*study.folder)}; {len(history.ended)} finished settings are "
            f"kept, {len(history.waiting)} that were cut short or failed are tried again first"
        )
    return history


def _check_same(study: Study, request: Mapping[str, Any]) -> bool:
    """Whether the search was begun before; raise ConfigError if it was another one."""
    path = (*study.folder, _REQUEST)
    was_there = study.root.exists(*path)
    if was_there and (before := study.root.read_json(*path)) != request:
        changed = [name for name in {**before, **request} if before.get(name) != request.get(name)]
        raise ConfigError(
            f"the search {study.name} was begun with other {', '.join(changed)}: give this one another --name"
        )
    study.root.write_json(request, *path)
    return was_there


def _read_older_search(study: Study, space: Mapping[str, BaseDistribution], first: Mapping[str, Any]) -> list[Setting]:
    """Read what an older m3ray's search left from its table alone: its other files are Tune's, and would run code."""
    root, folder = study.root, study.folder
    if not root.exists(*folder, "tune"):
        return []
    table = (*folder, "trials.parquet")
    finished = root.exists(*table) and {*space, "epochs"} <= set(root.read_schema(*table).names)
    logger.info(
        f"search: {root.display(*folder, 'tune')} is an older m3ray's, and going on from it would run code out of the "
        f"root: {'its finished table is taken' if finished else 'the search begins anew'}, that folder may be deleted"
    )
    rows = root.read_table(*table).to_pylist() if finished else []
    try:
        return [parse_setting(_entry(row, space), space, first) for row in rows]
    except (KeyError, TypeError, ValueError) as error:
        raise file_damage_error(root.display(*table), error) from error


def _entry(row: Mapping[str, Any], space: Mapping[str, BaseDistribution]) -> dict[str, Any]:
    """A row of an older search's table as an entry of ours."""
    last = {"epoch": row["epochs"], **{name: row[name] for name in _REPORTED[1:] if is_number(row.get(name))}}
    # A setting whose numbers are undefined is tried again.
    done = row["status"] == DONE and last.keys() >= REQUIRED_METRICS
    ended = {"epochs": [last], "status": DONE} if done else {"epochs": [], "status": FAILED}
    return {"point": {name: row[name] for name in space}, **ended}


def make_optimiser(history: SearchHistory, first: Sequence[Mapping[str, Any]], metric: str, seed: int) -> OptunaSearch:
    """Make a TPE optimiser that knows the finished settings, and tries first those that were cut short.

    Args:
        history: the search's settings so far.
        first: points that a new search tries first, hyper-parameter to value.
        metric: metric of `MODES` that it improves.
        seed: seed of the search.
    Returns:
        The optimiser, for Tune.
    """
    earlier = history.all()
    waiting = [dict(setting.point) for setting in history.waiting]
    optimiser = OptunaSearch(
        history.space,
        metric=metric,
        mode=MODES[metric],
        points_to_evaluate=waiting if earlier else [dict(point) for point in first],
        # With the same seed it would draw the earlier settings again. The rest are Optuna 5's defaults, said so that
        # another version draws the same way: settings are drawn jointly, and apart from those that still run.
        sampler=TPESampler(seed=seed + len(earlier), multivariate=True, constant_liar=True),
    )
    for setting in history.settings_in_space():
        if metric in setting.last:
            optimiser.add_evaluated_point(dict(setting.point), setting.last[metric])
    return optimiser


def make_scheduler(history: SearchHistory, metric: str, epochs: int) -> ASHAScheduler:
    """Make an ASHA scheduler that compares new settings with the finished ones too.

    Args:
        history: the search's settings so far.
        metric: metric of `MODES` that tells which settings fall behind.
        epochs: number of epochs of a setting that is not stopped early.
    Returns:
        The scheduler, for Tune.
    """
    scheduler = ASHAScheduler(
        time_attr="epoch", metric=metric, mode=MODES[metric], max_t=epochs, grace_period=max(1, epochs // 4)
    )
    for number, setting in enumerate(history.ended):
        trial: Any = SimpleNamespace(trial_id=f"before-{number}")
        scheduler.on_trial_add(None, trial)
        for epoch in setting.epochs:
            if metric in epoch:
                scheduler.on_trial_result(None, trial, dict(epoch))
        scheduler.on_trial_complete(None, trial, dict(setting.last))
    return scheduler


def run_to_end(tuner: tune.Tuner, history: SearchHistory, trials: int) -> None:
    """Try the settings that are left.

    Args:
        tuner: tuner that tries them.
        history: the search's settings so far, which a `TrialRecorder` of the tuner fills.
        trials: number of settings of the whole search.
    Raises:
        M3RayError: If it was stopped before the last setting.
    """
    for error in tuner.fit().errors:
        logger.warning(f"search: a setting failed: {str(error).splitlines()[-1][:300]}")
    if len(history.ended) < trials:
        raise M3RayError(
            f"search: stopped after {len(history.ended)} of {trials} settings: the same call goes on from there"
        )
