"""Threads of this process while networks are set up."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def use_one_thread() -> Iterator[None]:
    """Compute on this thread alone.

    A network is set up in thousands of small steps. Threads that share them wait for each other after each, for long
    where other programs keep the cores busy.

    Yields:
        Nothing.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
