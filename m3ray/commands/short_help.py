"""Short help: the options that most people need, with the first sentence of what each one's docstring says."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import re
import textwrap
from importlib import import_module
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

from m3ray.commands.catalogue import Command

WIDTH = 100
_INDENT = 26
_LINES = 3  # of an option's text
_SENTENCE = re.compile(r"(?<=\.)\s")


def load_options(command: Command) -> type[Any]:
    """Import the dataclass that a command line is made from.

    Args:
        command: Subcommand.
    Returns:
        The dataclass.
    """
    module, _, name = command.options.partition(":")
    options: type[Any] = getattr(import_module(module), name)
    return options


def describe_briefly(command: Command) -> str:
    """Write a subcommand's short help.

    Args:
        command: Subcommand.
    Returns:
        Lines of at most 100 characters.
    """
    options = load_options(command)
    lines = [
        f"usage: m3ray {command.name}{''.join(_usage(options, command))} [options]",
        "",
        f"{command.line[0].upper()}{command.line[1:]}.",
        "",
    ]
    for path in command.common:
        lines += _describe_option(options, path)
    total = count_options(options)
    lines += _describe_row("--help", "This text.")
    if total > len(command.common):
        lines += _describe_row("--help-all", f"All {total} options.")
    return "\n".join(lines)


def count_options(options: type[Any]) -> int:
    """Count the options of a dataclass, those of its groups too.

    Args:
        options: Dataclass that a command line is made from.
    Returns:
        The number of its fields that are no groups.
    """
    hints = get_type_hints(options)
    kinds: list[Any] = [hints[field.name] for field in dataclasses.fields(options)]
    groups: list[Any] = [kind for kind in kinds if dataclasses.is_dataclass(kind)]
    inner: list[int] = [count_options(group) for group in groups]
    return len(kinds) - len(groups) + sum(inner)


def find_option(options: type[Any], path: str) -> tuple[type[Any], dataclasses.Field[Any]]:
    """Find an option in a dataclass or its groups.

    Args:
        options: Dataclass that a command line is made from.
        path: Name of the field, after those of its groups, with dots between them.
    Returns:
        The dataclass that has the field, and the field.
    Raises:
        KeyError: If there is none of this name.
    """
    *groups, name = path.split(".")
    for group in groups:
        options = get_type_hints(options)[group]
    fields = {field.name: field for field in dataclasses.fields(options)}
    return options, fields[name]


def _usage(options: type[Any], command: Command) -> list[str]:
    """What must be given, as it is written."""
    words = []
    for path in command.common:
        owner, field = find_option(options, path)
        if _is_required(field):
            value = _metavar(get_type_hints(owner)[field.name], field.name)
            words.append(f" {value}" if _is_positional(owner, field) else f" {_flag(path)} {value}")
    return words


def _describe_option(options: type[Any], path: str) -> list[str]:
    owner, field = find_option(options, path)
    kind = get_type_hints(owner)[field.name]
    value = _metavar(kind, field.name)
    head = value if _is_positional(owner, field) else " ".join(filter(None, (_flag(path), value)))
    text = _first_sentence(_read_docstrings(owner).get(field.name, ""))
    default = None if _is_required(field) else field.default
    if isinstance(default, str | int | float) and not isinstance(default, bool) and default != "":
        text += f" Default: {default}."
    elif isinstance(default, tuple) and default:
        text += f" Default: {' '.join(map(str, default))}."
    return _describe_row(head, text)


def _describe_row(head: str, text: str) -> list[str]:
    """An option in the left column, its text in the right one; below it where it is too long."""
    body = textwrap.wrap(text, WIDTH - _INDENT, max_lines=_LINES, placeholder=" ...")
    if len(head) + 4 > _INDENT:
        return [f"  {head}", *(" " * _INDENT + line for line in body)]
    first, rest = body[0] if body else "", body[1:]
    return [f"  {head}".ljust(_INDENT) + first, *(" " * _INDENT + line for line in rest)]


def _flag(path: str) -> str:
    return f"--{path.replace('_', '-')}"


def _is_required(field: dataclasses.Field[Any]) -> bool:
    return field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING


def _is_positional(owner: type[Any], field: dataclasses.Field[Any]) -> bool:
    annotated = get_type_hints(owner, include_extras=True)[field.name]
    return get_origin(annotated) is Annotated and "Positional" in repr(annotated.__metadata__).title()


def _metavar(kind: Any, name: str) -> str:
    """What stands for an option's value; nothing for a switch."""
    if kind is bool:
        return ""
    choices = [kind, *get_args(kind)]
    literal = next((choice for choice in choices if get_origin(choice) is Literal), None)
    if literal is not None:
        return "{" + ",".join(map(str, get_args(literal))) + "}"
    plain = {int: "N", float: "X", str: name.upper()}
    inner = next((plain[choice] for choice in choices if choice in plain), name.upper())
    return f"{inner} ..." if get_origin(kind) is tuple else inner


def _first_sentence(text: str) -> str:
    first = _SENTENCE.split(" ".join(text.split()), maxsplit=1)[0]
    return f"{first.rstrip(';.')}." if first else ""


def _read_docstrings(options: type[Any]) -> dict[str, str]:
    """Texts below the fields of a dataclass and of what it derives from."""
    texts: dict[str, str] = {}
    for owner in reversed(options.__mro__):
        if dataclasses.is_dataclass(owner):
            texts |= _read_own_docstrings(owner)
    return texts


def _read_own_docstrings(owner: type[Any]) -> dict[str, str]:
    body = ast.parse(textwrap.dedent(inspect.getsource(owner))).body[0]
    assert isinstance(body, ast.ClassDef)
    texts = {}
    for field, text in zip(body.body, body.body[1:], strict=False):
        if (
            isinstance(field, ast.AnnAssign)
            and isinstance(field.target, ast.Name)
            and isinstance(text, ast.Expr)
            and isinstance(text.value, ast.Constant)
            and isinstance(text.value.value, str)
        ):
            texts[field.target.id] = text.value.value
    return texts
