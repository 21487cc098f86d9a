"""A mapping of names to measures that imports a class at its first use, so that command lines start fast."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import Any


class Measures(Mapping[str, type[Any]]):
    """Name of a measure to its class, a `Measure` with settings of its own.

    Args:
        paths: name to `module.Class` below `m3ray.similarity`.
    """

    def __init__(self, paths: Mapping[str, str]) -> None:
        self._paths = dict(paths)

    def __getitem__(self, name: str) -> type[Any]:
        module, _, kind = self._paths[name].partition(".")
        return getattr(import_module(f"m3ray.similarity.{module}"), kind)

    def __contains__(self, name: object) -> bool:
        return name in self._paths

    def __iter__(self) -> Iterator[str]:
        return iter(self._paths)

    def __len__(self) -> int:
        return len(self._paths)
