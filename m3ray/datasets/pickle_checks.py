"""What a pickle would build, found from its opcodes before it is loaded: plain values, of a bounded size."""

from __future__ import annotations

import pickletools
from dataclasses import dataclass
from typing import Any

from m3ray.errors import SchemaError

# Opcodes that import or call something, or reach outside the file; no plain value needs them.
_FORBIDDEN = frozenset(
    [
        "GLOBAL",
        "STACK_GLOBAL",
        "REDUCE",
        "BUILD",
        "INST",
        "OBJ",
        "NEWOBJ",
        "NEWOBJ_EX",
        "EXT1",
        "EXT2",
        "EXT4",
        "PERSID",
        "BINPERSID",
        "NEXT_BUFFER",
        "READONLY_BUFFER",
    ]
)
_PUT, _GET = ("PUT", "BINPUT", "LONG_BINPUT"), ("GET", "BINGET", "LONG_BINGET")
_GROWING = ("APPEND", "APPENDS", "SETITEM", "SETITEMS", "ADDITEMS")
_MAX_DEPTH = 50  # lists within lists; a split needs three
_MAX_NUMBER = 10**18
# Values that are named again, each as often as it is: a few lists that name each other twice stand for endless ones.
_MAX_VALUES = 10_000_000


@dataclass
class _Value:
    """A value that the pickle builds: how many values it holds, how deep, and whether it is named again later."""

    size: int = 1
    depth: int = 0
    is_shared: bool = False

    def take(self, parts: list[_Value]) -> None:
        self.size += sum(part.size for part in parts)
        self.depth = max([self.depth, *(part.depth + 1 for part in parts)])


def check_plain(data: bytes, what: str) -> None:
    """Check that a pickle builds nothing but plain values, and not more of them than a split can hold.

    Args:
        data: bytes of the pickle.
        what: name of the file, for the message.
    Raises:
        SchemaError: If it would import or run something, holds itself, or is nested or repeated beyond bounds.
    """
    building, names = _Building(what), []
    for opcode, argument, _ in pickletools.genops(data):
        names += [str(argument)] if isinstance(argument, str) else []
        # A memo index beyond the file's length would make the loader reserve memory for it.
        if opcode.name in _FORBIDDEN or (opcode.name in _PUT and int(argument or 0) > len(data)):
            raise SchemaError(f"{what}: {_describe_refusal(opcode.name, names)}")
        if isinstance(argument, int) and abs(argument) >= _MAX_NUMBER:
            raise SchemaError(f"{what} holds a number of more than 18 digits; expected names or numbers of videos")
        building.follow(opcode, argument)


def _describe_refusal(opcode: str, names: list[str]) -> str:
    """What a pickle would run, and how to write it otherwise."""
    # What a pickle imports is the argument of GLOBAL, module and name; STACK_GLOBAL takes the two strings before it.
    imported = {"GLOBAL": names[-1:], "STACK_GLOBAL": names[-2:]}.get(opcode, [])
    called = ".".join(imported).replace(" ", ".")
    advice = "save its tolist(), or " if called.startswith(("numpy", "pandas")) else ""
    return (
        f"this pickle would run {opcode}{f' ({called})' if called else ''}; only plain lists, dictionaries, strings "
        f"and numbers are read: {advice}write the split as CSV (video,split) instead"
    )


class _Building:
    """The stack of a pickle's loader, with sizes in place of values; None is a mark."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._stack: list[_Value | None] = []
        self._memo: dict[int, _Value] = {}
        self._repeated = 0

    def follow(self, opcode: pickletools.OpcodeInfo, argument: Any) -> None:
        """Do what the loader would do."""
        if opcode.name in _PUT or opcode.name == "MEMOIZE":
            value = self._take(1)[0]
            self._memo[len(self._memo) if opcode.name == "MEMOIZE" else int(argument)] = value
            self._stack.append(value)
        elif opcode.name in _GET:
            self._name_again(self._memo[int(argument)])
        elif opcode.name == "DUP":
            raise self._refuse("names a value twice by DUP, as no program writes it")
        elif opcode.name == "MARK":
            self._stack.append(None)
        elif opcode.name == "POP":
            self._stack.pop()
        else:
            self._build(opcode)

    def _name_again(self, value: _Value) -> None:
        value.is_shared = True
        self._repeated += value.size
        if self._repeated > _MAX_VALUES:
            raise self._refuse("names the same lists again and again")
        self._stack.append(value)

    def _build(self, opcode: pickletools.OpcodeInfo) -> None:
        before = opcode.stack_before
        if pickletools.markobject in before:
            parts = self._take_to_mark()
            parts = self._take(before.index(pickletools.markobject)) + parts
        else:
            parts = self._take(len(before))
        if not opcode.stack_after:
            return
        value = parts.pop(0) if opcode.name in _GROWING else _Value()
        if opcode.name in _GROWING and value.is_shared:
            raise self._refuse("holds a list that holds itself, or grows after it was named again")
        value.take(parts)
        if value.depth > _MAX_DEPTH:
            raise self._refuse(f"nests more than {_MAX_DEPTH} lists")
        self._stack.append(value)

    def _take(self, count: int) -> list[_Value]:
        parts = [self._stack.pop() for _ in range(count)][::-1]
        if any(part is None for part in parts):
            raise self._refuse("is damaged: a mark stands in place of a value")
        return [part for part in parts if part is not None]

    def _take_to_mark(self) -> list[_Value]:
        parts: list[_Value] = []
        while (part := self._stack.pop()) is not None:
            parts.append(part)
        return parts[::-1]

    def _refuse(self, why: str) -> SchemaError:
        return SchemaError(f"{self._what}: this pickle {why}; write the split as CSV (video,split) instead")
