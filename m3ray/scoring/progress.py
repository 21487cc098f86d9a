"""A progress bar, in notebooks and terminals, where there is something to wait for."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from typing import TypeVar

T = TypeVar("T")
_FEW = 3  # clips that are not worth a bar


def show_progress(items: Iterable[T], *, wanted: bool | None) -> Iterable[T]:
    """Show a progress bar while items are taken.

    Args:
        items: Clips to score; their number is known if they are a sequence.
        wanted: Whether a bar is shown; None: for more than a few clips, in a notebook or a terminal.
    Returns:
        The same items.
    """
    if wanted is None:
        known_few = isinstance(items, Sequence) and len(items) <= _FEW
        wanted = not known_few and (is_notebook() or sys.stderr.isatty())
    if not wanted:
        return items
    from tqdm.auto import tqdm  # imported with the first bar

    return tqdm(items, unit="clip", desc="scoring")


def is_notebook() -> bool:
    """Tell whether this process is a notebook's kernel."""
    shell = sys.modules.get("IPython")
    current = None if shell is None else shell.get_ipython()
    return type(current).__name__ == "ZMQInteractiveShell"
