"""Which clip stands where in the stream of all epochs: the same for any number of workers, and after any restart."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeVar

import numpy as np

from m3ray.errors import ConfigError

T = TypeVar("T")


@dataclass(frozen=True)
class Order:
    """The places of a stream: `batch` of them a step, all epochs one after the other.

    The last step of an epoch is filled up with its first clips, which then weigh nothing.

    Args:
        clips: to go through each epoch.
        batch: clips a step.
        seed: of the shuffles; None: in their own order.
    """

    clips: int
    batch: int
    seed: int | None = None

    @property
    def steps(self) -> int:
        """Steps an epoch."""
        return math.ceil(self.clips / self.batch)

    def at(self, places: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """What stands at places of the stream.

        Args:
            places: int64, (P,), from 0.
        Returns:
            Positions among the clips, whether each counts, and its epoch: (P,) each.
        """
        length = self.steps * self.batch
        epochs, inside = np.divmod(places, length)
        orders = {epoch: shuffled(self.clips, self.seed, int(epoch)) for epoch in np.unique(epochs)}
        rows = [orders[e][k % self.clips] for e, k in zip(epochs, inside, strict=True)]
        return np.array(rows, np.int64), inside < self.clips, epochs

    def counting(self, step: int) -> int:
        """Clips of a step that count."""
        return min(self.batch, self.clips - step % self.steps * self.batch)


@lru_cache(maxsize=8)
def shuffled(clips: int, seed: int | None, epoch: int) -> np.ndarray:
    """The order of an epoch."""
    if seed is None:
        return np.arange(clips)
    return np.random.default_rng([seed, epoch]).permutation(clips)


@dataclass(frozen=True)
class Layout:
    """How a step is shared out.

    Args:
        workers: that train.
        micro: clips that a worker computes at once.
        rounds: of `micro` clips that a worker computes a step.
    """

    workers: int
    micro: int
    rounds: int

    @property
    def batch(self) -> int:
        """Clips a step."""
        return self.workers * self.micro * self.rounds


def lay_out(batch: int, workers: int, micro: int, clips: int) -> Layout:
    """The layout that keeps a step's clips: as many at once as `micro` allows.

    Raises:
        ConfigError: fewer clips than workers, or a batch that cannot be shared out evenly.
    """
    if clips < workers:
        raise ConfigError(f"{clips} train clips for {workers} workers: a worker would have no clip; use fewer workers")
    if batch % workers or batch < 1 or micro < 1:
        raise ConfigError(f"a batch of {batch} clips cannot be shared evenly by {workers} workers: choose a multiple")
    each = batch // workers
    rounds = next(r for r in range(1, each + 1) if each % r == 0 and each // r <= micro)
    return Layout(workers, each // rounds, rounds)


def in_rounds(batches: Iterable[T], rounds: int) -> Iterator[list[T]]:
    """Micro-batches as they come, put together to steps."""
    stream = iter(batches)
    while step := list(itertools.islice(stream, rounds)):
        yield step
