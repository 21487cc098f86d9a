"""From a command line to a call, and from errors to exit statuses."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import TypeVar

import tyro

from m3ray.errors import M3RayError

T = TypeVar("T")


def main(options: type[T], job: Callable[[T], None], description: str) -> int:
    """Parses `options`, runs `job`, and returns the exit status.

    0: done, perhaps with rejects (their count is said); 1: failed; 2: the request cannot be carried out.
    """
    parsed = tyro.cli(options, description=description, args=spelled_out(sys.argv[1:]))
    try:
        job(parsed)
    except M3RayError as error:
        print(f"error: {error}", file=sys.stderr, flush=True)
        return error.exit_status
    return 0


def spelled_out(arguments: Sequence[str]) -> list[str]:
    """`--unfrozen` without a value as `--unfrozen auto`."""
    out: list[str] = []
    for position, word in enumerate(arguments):
        out.append(word)
        following = arguments[position + 1 : position + 2]
        if word == "--unfrozen" and (not following or following[0].startswith("--")):
            out.append("auto")
    return out
