"""Settings that a search has tried, as JSON on the root: Tune's own files are pickles, which run code when read."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from optuna.distributions import BaseDistribution
from optuna.trial import create_trial

from m3ray.config import as_json
from m3ray.storage.parquet_tables import file_damage_error
from m3ray.storage.root import Root

FILE = "settings.json"
RUNNING, DONE, FAILED = "running", "done", "failed"
REQUIRED_METRICS = {"spearman", "mse"}


@dataclass(frozen=True)
class Setting:
    """A setting that a search has tried, or is trying.

    Args:
        point: Name of each searched setting to its value.
        epochs: What each epoch reported: `epoch`, from 1, and metrics on val, means over the runs.
        status: `running`, `done` (early stopping included: the last epoch says where) or `failed`.
    """

    point: Mapping[str, Any]
    epochs: tuple[Mapping[str, float], ...] = ()
    status: str = RUNNING

    @property
    def last(self) -> Mapping[str, float]:
        """Report of the last epoch; empty where no epoch ended."""
        return self.epochs[-1] if self.epochs else {}


class SearchHistory:
    """All settings of a search; each change is written to the root, whole, before the search goes on.

    Args:
        root: Root of the study.
        folder: Folder of the search below the root.
        space: Distribution of each searched setting.
        before: Settings of an earlier call, in the order in which they ended.
    """

    def __init__(
        self, root: Root, folder: Sequence[str], space: Mapping[str, BaseDistribution], before: Sequence[Setting] = ()
    ) -> None:
        self.root, self.path, self.space = root, (*folder, FILE), dict(space)
        self.ended = [setting for setting in before if setting.status == DONE]
        self.waiting = [Setting(setting.point) for setting in before if setting.status != DONE]
        self._live: dict[str, Setting] = {}

    def all(self) -> list[Setting]:
        """Settings that ended, in that order, then those that run, then those that wait to be tried again."""
        return [*self.ended, *self._live.values(), *self.waiting]

    def settings_in_space(self) -> Iterator[Setting]:
        """Settings that ended well and lie in the space; a first setting that a user gave may lie outside."""
        return (s for s in self.ended if s.status == DONE and is_inside(s.point, self.space))

    def begin(self, key: str, config: Mapping[str, Any]) -> None:
        """Note that a setting starts, or starts again after a failure.

        Args:
            key: Name of the trial.
            config: Value of each searched setting; others are ignored.
        """
        point = {name: config[name] for name in self.space}
        self.waiting = [setting for setting in self.waiting if setting.point != point]
        self._live[key] = Setting(point)
        self._write()

    def report(self, key: str, epoch: Mapping[str, float]) -> None:
        """Note what an epoch reported; it is not written, as a setting that is cut short is tried from its start.

        Args:
            key: Name of the trial.
            epoch: `epoch`, from 1, and metrics.
        """
        setting = self._live[key]
        self._live[key] = replace(setting, epochs=(*setting.epochs, dict(epoch)))

    def end(self, key: str, status: str) -> None:
        """Note that a setting ended; one that never reported anything failed.

        Args:
            key: Name of the trial.
            status: `done` or `failed`.
        """
        setting = self._live.pop(key)
        self.ended.append(replace(setting, status=status if setting.epochs else FAILED))
        self._write()

    def _write(self) -> None:
        self.root.write_json({"settings": [as_json(setting) for setting in self.all()]}, *self.path)


def read_settings(
    root: Root, folder: Sequence[str], space: Mapping[str, BaseDistribution], first: Mapping[str, Any]
) -> list[Setting] | None:
    """Read the settings of an earlier call of a search.

    Args:
        root: Root of the study.
        folder: Folder of the search below the root.
        space: Distribution of each searched setting, which every point must lie in.
        first: The point that may lie elsewhere, as a user gave it.
    Returns:
        The settings in the order in which they were written; None where there is no file.
    Raises:
        DamagedFileError: If the file is no list of settings.
    """
    if not root.exists(*folder, FILE):
        return None
    content = root.read_json(*folder, FILE)
    try:
        return [parse_setting(entry, space, first) for entry in content["settings"]]
    except (KeyError, TypeError, ValueError) as error:
        raise file_damage_error(root.display(*folder, FILE), error) from error


def parse_setting(entry: Mapping[str, Any], space: Mapping[str, BaseDistribution], first: Mapping[str, Any]) -> Setting:
    """Read a setting from plain values that others may have written.

    Args:
        entry: JSON object of a setting.
        space: Distribution of each searched setting, which the point must lie in.
        first: The point that may lie elsewhere.
    Returns:
        The setting.
    Raises:
        KeyError: If the object lacks a key.
        TypeError: If the entry is no object.
        ValueError: If the point lies outside the space, or a metric is no finite number.
    """
    point = {name: entry["point"][name] for name in space}
    if point != first and not is_inside(point, space):
        raise ValueError(f"a setting lies outside the search's space: {point}")
    epochs = tuple({str(name): _number(value) for name, value in epoch.items()} for epoch in entry["epochs"])
    if entry["status"] == DONE and not (epochs and epochs[-1].keys() >= REQUIRED_METRICS):
        raise ValueError(f"the setting {point} is done, and has no {' and '.join(sorted(REQUIRED_METRICS))}")
    return Setting(point, epochs, str(entry["status"]))


def _number(value: Any) -> float:
    if not is_number(value):
        raise ValueError(f"got {value!r} for a metric, expected a finite number")
    return value


def is_number(value: Any) -> bool:
    """Whether a plain value is a finite number.

    Args:
        value: What JSON or a table holds.
    """
    return isinstance(value, int | float) and math.isfinite(value)


def is_inside(point: Mapping[str, Any], space: Mapping[str, BaseDistribution]) -> bool:
    """Whether a search could have drawn the point.

    Args:
        point: Name of each searched setting to its value.
        space: Distribution of each searched setting.
    """
    with suppress(ValueError, TypeError):
        create_trial(value=0.0, params=dict(point), distributions=dict(space))
        return True
    return False
