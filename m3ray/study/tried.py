"""The settings that a search has tried, as JSON on the root: what Tune itself keeps runs code when it is read."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from optuna.distributions import BaseDistribution
from optuna.trial import create_trial

from m3ray.config import as_json
from m3ray.storage.root import Root, damaged

NAME = "settings.json"
RUNNING, DONE, FAILED = "running", "done", "failed"
JUDGED = {"spearman", "mse"}


@dataclass(frozen=True)
class Setting:
    """A setting that is tried, or was.

    Args:
        point: of the search's space.
        epochs: what each epoch reported: `epoch`, from 1, and means of metrics.
        status: `running`, `done` (early stopping included: the last epoch says where) or `failed`.
    """

    point: Mapping[str, Any]
    epochs: tuple[Mapping[str, float], ...] = ()
    status: str = RUNNING

    @property
    def last(self) -> Mapping[str, float]:
        """What the last epoch reported; empty where none did."""
        return self.epochs[-1] if self.epochs else {}


class Tried:
    """All settings of a search; each change is on the root, whole, before the search goes on.

    Args:
        root: keeps them.
        folder: of the search.
        space: that points are drawn from.
        before: settings of an earlier call, in the order in which they ended.
    """

    def __init__(
        self, root: Root, folder: Sequence[str], space: Mapping[str, BaseDistribution], before: Sequence[Setting] = ()
    ) -> None:
        self.root, self.place, self.space = root, (*folder, NAME), dict(space)
        self.ended = [setting for setting in before if setting.status == DONE]
        self.waiting = [Setting(setting.point) for setting in before if setting.status != DONE]
        self._live: dict[str, Setting] = {}

    def all(self) -> list[Setting]:
        """Those that ended, in that order, then those that run, then those that wait to be tried again."""
        return [*self.ended, *self._live.values(), *self.waiting]

    def inside(self) -> Iterator[Setting]:
        """Those that ended well and lie in the space; a first setting that a user gave may lie outside."""
        return (s for s in self.ended if s.status == DONE and is_inside(s.point, self.space))

    def begin(self, key: str, config: Mapping[str, Any]) -> None:
        """A setting starts, or starts again after a failure."""
        point = {name: config[name] for name in self.space}
        self.waiting = [setting for setting in self.waiting if setting.point != point]
        self._live[key] = Setting(point)
        self._write()

    def report(self, key: str, epoch: Mapping[str, float]) -> None:
        """An epoch ended. Not written: a setting that is cut short is tried from its start."""
        setting = self._live[key]
        self._live[key] = replace(setting, epochs=(*setting.epochs, dict(epoch)))

    def end(self, key: str, status: str) -> None:
        """A setting ended; one that never reported anything failed."""
        setting = self._live.pop(key)
        self.ended.append(replace(setting, status=status if setting.epochs else FAILED))
        self._write()

    def _write(self) -> None:
        self.root.write_json({"settings": [as_json(setting) for setting in self.all()]}, *self.place)


def read_settings(
    root: Root, folder: Sequence[str], space: Mapping[str, BaseDistribution], first: Mapping[str, Any]
) -> list[Setting] | None:
    """The settings of an earlier call; None where there are none.

    Args:
        root: keeps them.
        folder: of the search.
        space: that every point must lie in.
        first: the point that may lie elsewhere.
    Raises:
        DamagedFileError: the file is no such table.
    """
    if not root.exists(*folder, NAME):
        return None
    found = root.read_json(*folder, NAME)
    try:
        return [checked_setting(entry, space, first) for entry in found["settings"]]
    except (KeyError, TypeError, ValueError) as error:
        raise damaged(root.display(*folder, NAME), error) from error


def checked_setting(
    entry: Mapping[str, Any], space: Mapping[str, BaseDistribution], first: Mapping[str, Any]
) -> Setting:
    """A setting out of plain values that others may have written.

    Raises:
        KeyError: it lacks something.
        TypeError: it is none.
        ValueError: a point outside the space, a metric that is no finite number.
    """
    point = {name: entry["point"][name] for name in space}
    if point != first and not is_inside(point, space):
        raise ValueError(f"the setting {point} lies outside the search's space")
    epochs = tuple({str(name): _number(value) for name, value in epoch.items()} for epoch in entry["epochs"])
    if entry["status"] == DONE and not (epochs and epochs[-1].keys() >= JUDGED):
        raise ValueError(f"the setting {point} is done, and has no {' and '.join(sorted(JUDGED))}")
    return Setting(point, epochs, str(entry["status"]))


def _number(value: Any) -> float:
    if not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(f"got {value!r} for a metric, expected a finite number")
    return value


def is_inside(point: Mapping[str, Any], space: Mapping[str, BaseDistribution]) -> bool:
    """Whether a search could have drawn the point."""
    with suppress(ValueError, TypeError):
        create_trial(value=0.0, params=dict(point), distributions=dict(space))
        return True
    return False
