"""Training settings in a file: what a search writes and `train.py --config` takes."""

from __future__ import annotations

import json
import math
from dataclasses import fields
from typing import Any, get_args, get_type_hints

from m3ray.config import TrainConfig
from m3ray.errors import ConfigError
from m3ray.storage.root import Root

_ABOVE_ZERO = ("epochs", "batch", "learning_rate", "step_size", "gamma", "strength")


def read_tiers(uri: str) -> tuple[str, ...] | None:
    """Read which tiers a file's settings were chosen for.

    Args:
        uri: Path or URI of the file.
    Returns:
        Names of the tiers; None where the file does not say, as one that a user wrote.
    Raises:
        ConfigError: If there is no such file, or it is not JSON.
    """
    content = _read_content(uri)
    tiers = content.get("tiers") if isinstance(content, dict) else None
    return tuple(tiers) if isinstance(tiers, list) and tiers and all(isinstance(t, str) for t in tiers) else None


def load_training(uri: str) -> TrainConfig:
    """Read training settings from a JSON file: an object of `TrainConfig`'s fields, or one with them under `training`.

    Args:
        uri: Path or URI of the file.
    Returns:
        The settings; those that the file lacks keep their default.
    Raises:
        ConfigError: If there is no such file, it is not JSON, or it has an unknown setting or a value of another kind.
    """
    content = _read_content(uri)
    settings = content.get("training", content) if isinstance(content, dict) else content
    if not isinstance(settings, dict):
        raise ConfigError(f"--config {uri} holds {type(settings).__name__}, expected an object of training settings")
    return parse_training(settings, uri)


def was_chosen_on_val(uri: str | None) -> bool:
    """Tell whether a file's settings were chosen on val, as those of a search are.

    Args:
        uri: Path or URI of the file; None: there is none.
    Returns:
        Whether it says so, by `chosen_on`, or in an older file by its note.
    Raises:
        ConfigError: If there is no such file, or it is not JSON.
    """
    content = None if uri is None else _read_content(uri)
    if not isinstance(content, dict):
        return False
    return content.get("chosen_on") == "val" or str(content.get("note", "")).startswith("chosen on val")


def _read_content(uri: str) -> Any:
    folder, _, name = uri.rpartition("/")
    try:
        return json.loads(Root(folder or ".").read_bytes(name))
    except FileNotFoundError as error:
        raise ConfigError(f"--config {uri}: no such file; jobs/tune.py writes one under study/") from error
    except ValueError as error:
        raise ConfigError(f"--config {uri} is not JSON: {error}") from error


def parse_training(settings: dict[str, Any], origin: str) -> TrainConfig:
    """Make training settings of plain values, each checked against the kind of its field.

    Args:
        settings: Name of a setting to its value, as JSON gives it.
        origin: Where the settings come from, for messages.
    Returns:
        The settings; those that are not given keep their default.
    Raises:
        ConfigError: If a setting is unknown, or its value is of another kind.
    """
    defaults = {field.name: getattr(TrainConfig(), field.name) for field in fields(TrainConfig)}
    unknown = sorted(set(settings) - set(defaults))
    if unknown:
        raise ConfigError(f"{origin}: unknown setting {', '.join(unknown)}; there are {', '.join(defaults)}")
    return TrainConfig(**{name: _parse_value(name, value, defaults[name], origin) for name, value in settings.items()})


def _parse_value(name: str, value: Any, default: Any, origin: str) -> Any:
    if isinstance(default, tuple):
        if isinstance(value, list | tuple) and all(type(v) is int and v > 0 for v in value):
            return tuple(value)
        raise ConfigError(f"{origin}: {name} is {value!r}, expected a list of widths")
    if isinstance(default, str):
        choices = get_args(get_type_hints(TrainConfig)[name])
        if value in choices:
            return value
        raise ConfigError(f"{origin}: {name} is {value!r}, expected one of {', '.join(choices)}")
    number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    if not number or (isinstance(default, int) and value != int(value)):
        raise ConfigError(
            f"{origin}: {name} is {value!r}, expected {'an integer' if isinstance(default, int) else 'a finite number'}"
        )
    if value < 0 or (value == 0 and name in _ABOVE_ZERO):
        raise ConfigError(
            f"{origin}: {name} is {value!r}, expected {'more than 0' if name in _ABOVE_ZERO else '0 or more'}"
        )
    return int(value) if isinstance(default, int) else float(value)
