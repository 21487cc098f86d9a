"""The measures by name; a class is imported once it is asked for, so that a command line knows all names at once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from m3ray.similarity.base import Measure


class Measures(Mapping[str, "type[Measure]"]):
    """Name to class.

    Args:
        homes: name to `module.Class` below `m3ray.similarity`.
    """

    def __init__(self, homes: Mapping[str, str]) -> None:
        self._homes = dict(homes)

    def __getitem__(self, name: str) -> type[Measure]:
        module, _, kind = self._homes[name].partition(".")
        return getattr(import_module(f"m3ray.similarity.{module}"), kind)

    def __contains__(self, name: object) -> bool:
        return name in self._homes

    def __iter__(self) -> Iterator[str]:
        return iter(self._homes)

    def __len__(self) -> int:
        return len(self._homes)
