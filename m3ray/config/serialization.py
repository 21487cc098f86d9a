"""Settings to JSON and back, and the short hashes that name what was made with them."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from dataclasses import fields, is_dataclass
from typing import Any, TypeVar, get_type_hints


def as_json(config: Any) -> Any:
    """A dataclass (or a structure of them) as plain JSON values."""
    if dataclasses.is_dataclass(config) and not isinstance(config, type):
        return {f.name: as_json(getattr(config, f.name)) for f in dataclasses.fields(config)}
    if isinstance(config, dict):
        return {str(key): as_json(value) for key, value in config.items()}
    if isinstance(config, list | tuple):
        return [as_json(value) for value in config]
    return config


def fingerprint(*parts: Any) -> str:
    """Ten hexadecimal digits that change when any of `parts` does."""
    text = json.dumps([as_json(part) for part in parts], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:10]


T = TypeVar("T")


def from_json(kind: type[T], values: dict[str, Any]) -> T:
    """A frozen dataclass of `m3ray.config.tiers` from the JSON that `as_json` made of it."""
    hints = get_type_hints(kind)
    arguments = {}
    for field in fields(kind):  # type: ignore[arg-type]
        if field.name not in values:
            continue  # a setting that came after the JSON was written keeps its default
        value, hint = values[field.name], hints[field.name]
        if is_dataclass(hint):
            value = from_json(hint, value)  # type: ignore[arg-type]
        arguments[field.name] = tuple(value) if isinstance(value, list) else value
    return kind(**arguments)
