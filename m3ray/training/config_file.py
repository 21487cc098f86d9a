"""Training settings as a file: what a search writes and `train.py --config` takes."""

from __future__ import annotations

import json
from dataclasses import fields
from typing import Any, get_args, get_type_hints

from m3ray.config import TrainConfig
from m3ray.errors import ConfigError
from m3ray.storage.root import Root


def load_training(uri: str) -> TrainConfig:
    """The settings in a JSON file: an object of `TrainConfig`'s fields, or one with them under `training`.

    Raises:
        ConfigError: no such file, not JSON, an unknown setting, or a value of the wrong kind.
    """
    folder, _, name = uri.rpartition("/")
    try:
        found = json.loads(Root(folder or ".").read_bytes(name))
    except FileNotFoundError as error:
        raise ConfigError(f"--config {uri}: no such file; jobs/tune.py writes one under study/") from error
    except ValueError as error:
        raise ConfigError(f"--config {uri} is not JSON: {error}") from error
    settings = found.get("training", found) if isinstance(found, dict) else found
    if not isinstance(settings, dict):
        raise ConfigError(f"--config {uri} holds {type(settings).__name__}, expected an object of training settings")
    return training_from(settings, uri)


def training_from(settings: dict[str, Any], what: str) -> TrainConfig:
    """`TrainConfig` from plain values, each checked against the kind of its field."""
    known = {field.name: getattr(TrainConfig(), field.name) for field in fields(TrainConfig)}
    unknown = sorted(set(settings) - set(known))
    if unknown:
        raise ConfigError(f"{what}: unknown setting {', '.join(unknown)}; there are {', '.join(known)}")
    return TrainConfig(**{name: _checked(name, value, known[name], what) for name, value in settings.items()})


def _checked(name: str, value: Any, default: Any, what: str) -> Any:
    if isinstance(default, tuple):
        if isinstance(value, list | tuple) and all(isinstance(v, int) and v > 0 for v in value):
            return tuple(value)
        raise ConfigError(f"{what}: {name} is {value!r}, expected a list of widths")
    if isinstance(default, str):
        choices = get_args(get_type_hints(TrainConfig)[name])
        if value in choices:
            return value
        raise ConfigError(f"{what}: {name} is {value!r}, expected one of {', '.join(choices)}")
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or (isinstance(default, int) and value != int(value)):
        raise ConfigError(
            f"{what}: {name} is {value!r}, expected {'an integer' if isinstance(default, int) else 'a number'}"
        )
    return int(value) if isinstance(default, int) else float(value)
