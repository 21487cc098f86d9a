"""Groups of runs on threads of their own, so that cores which would idle train other runs of the variant."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

import torch

Group = TypeVar("Group")
Result = TypeVar("Result")


def train_side_by_side(train: Callable[[Group], Result], groups: Sequence[Group], cores: int | None) -> list[Result]:
    """Train groups of runs, as many at once as there are cores; threads left over compute inside each.

    PyTorch and the compiled Adam let go of the interpreter's lock while they compute, so threads suffice.

    Args:
        train: Function that trains a group. It runs in threads where there are several groups and cores.
        groups: Groups of runs.
        cores: Number of cores; None: one group after the other, with PyTorch's threads as they are.
    Returns:
        What `train` returned, in the order of the groups.
    """
    if cores is None:
        return [train(group) for group in groups]
    at_once = max(1, min(cores, len(groups)))
    with _limit_threads(max(1, cores // at_once)):
        if at_once == 1:
            return [train(group) for group in groups]
        with ThreadPoolExecutor(at_once) as pool:
            return list(pool.map(train, groups))


@contextmanager
def _limit_threads(threads: int) -> Iterator[None]:
    """Let each thread that starts in the block, and this one, compute with so many threads of PyTorch's."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)
