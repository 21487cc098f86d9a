"""Settings to JSON and back, and the short hashes that name what was made with them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import MISSING, Field, fields, is_dataclass
from typing import Any, TypeVar, get_args, get_type_hints

T = TypeVar("T")

_JSON_KEY = "json"
_ADDED = "added"


def json_key(name: str) -> dict[str, str]:
    """Metadata of a dataclass field that files on disk know by an older name, so that their hashes stay as they were.

    Args:
        name: Key of the field in JSON.
    Returns:
        What `dataclasses.field` takes as `metadata`.
    """
    return {_JSON_KEY: name}


def added_setting() -> dict[str, bool]:
    """Metadata of a dataclass field that came after files were written: JSON holds it where it is not its default.

    So the hash of settings that do not use it stays as it was, and what was computed under it is found.

    Returns:
        What `dataclasses.field` takes as `metadata`; the field needs a default.
    """
    return {_ADDED: True}


def as_json(config: Any) -> Any:
    """Plain JSON values of a dataclass, or of a structure of dataclasses.

    Args:
        config: Dataclass, mapping, list, tuple or plain value.
    Returns:
        Dictionaries with text as keys, lists, and plain values as they are.
    """
    if is_dataclass(config) and not isinstance(config, type):
        return {_key(f): as_json(getattr(config, f.name)) for f in fields(config) if not _is_left_out(f, config)}
    if isinstance(config, Mapping):
        return {str(key): as_json(value) for key, value in config.items()}
    if isinstance(config, list | tuple):
        return [as_json(value) for value in config]
    return config


def from_json(kind: type[T], values: Mapping[str, Any]) -> T:
    """Read a frozen dataclass from the JSON that `as_json` made of it.

    Args:
        kind: Dataclass to build; its fields may be dataclasses, or such or None.
        values: JSON object. Keys that `kind` does not know are ignored, and a setting that came after the JSON was
            written keeps its default.
    Returns:
        An instance of `kind`, lists turned into tuples.
    """
    hints = get_type_hints(kind)
    arguments = {}
    for field in fields(kind):  # type: ignore[arg-type]
        for key in (_key(field), field.name):
            if key in values:
                arguments[field.name] = _value_from_json(hints[field.name], values[key])
                break
    return kind(**arguments)


def fingerprint(*parts: Any) -> str:
    """Ten hexadecimal digits that change when any of `parts` does.

    Args:
        parts: Dataclasses or plain values, as `as_json` takes them.
    Returns:
        The first digits of the SHA-256 of the parts' JSON.
    """
    text = json.dumps([as_json(part) for part in parts], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:10]


def _is_left_out(field: Field[Any], config: Any) -> bool:
    """Whether a field is a later one that has its default."""
    if not field.metadata.get(_ADDED):
        return False
    default = field.default if field.default_factory is MISSING else field.default_factory()
    return bool(getattr(config, field.name) == default)


def _key(field: Field[Any]) -> str:
    """Key of a field in JSON."""
    return str(field.metadata.get(_JSON_KEY, field.name))


def _value_from_json(hint: Any, value: Any) -> Any:
    nested = next((kind for kind in (hint, *get_args(hint)) if isinstance(kind, type) and is_dataclass(kind)), None)
    if nested is not None and isinstance(value, Mapping):
        return from_json(nested, value)
    return tuple(value) if isinstance(value, list) else value
