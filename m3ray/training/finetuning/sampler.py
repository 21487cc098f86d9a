"""Which clip each index of the stream of all epochs holds: the same for any number of workers, after any restart."""

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
class ClipSampler:
    """A stream of clips in shuffled epochs, `batch` of them a step, all epochs one after the other.

    The last step of an epoch is filled up with the epoch's first clips, which a mask then leaves out of the loss.

    Args:
        clips: Number of clips of an epoch.
        batch: Number of clips of a step.
        seed: Seed of the shuffles; None: every epoch in the clips' own order.
    """

    clips: int
    batch: int
    seed: int | None = None

    @property
    def steps(self) -> int:
        """Steps an epoch."""
        return math.ceil(self.clips / self.batch)

    def samples(self, indices: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Clips at indices of the stream.

        Args:
            indices: Positions in the stream, from 0, int64, (B,).
        Returns:
            Positions among the clips, (B,), int64; the mask of those that count, (B,), bool; their epochs, (B,), int64.
        """
        length = self.steps * self.batch
        epochs, offsets = np.divmod(indices, length)
        orders = {epoch: shuffle_clips(self.clips, self.seed, int(epoch)) for epoch in np.unique(epochs)}
        rows = [orders[epoch][k % self.clips] for epoch, k in zip(epochs, offsets, strict=True)]
        return np.array(rows, np.int64), offsets < self.clips, epochs

    def count_clips(self, step: int) -> int:
        """Number of a step's clips that the mask lets count.

        Args:
            step: Step of the stream, from 0.
        Returns:
            At most `batch`.
        """
        return min(self.batch, self.clips - step % self.steps * self.batch)


@lru_cache(maxsize=8)
def shuffle_clips(clips: int, seed: int | None, epoch: int) -> np.ndarray:
    """Order of the clips in an epoch.

    Args:
        clips: Number of clips.
        seed: Seed of the training; None: their own order.
        epoch: Epoch, from 0.
    Returns:
        A permutation of the clips' positions, (clips,), int64.
    """
    if seed is None:
        return np.arange(clips)
    return np.random.default_rng([seed, epoch]).permutation(clips)


@dataclass(frozen=True)
class StepLayout:
    """How the clips of a step are shared out.

    Args:
        workers: Number of training workers.
        micro_batch: Clips that a worker computes at once.
        accumulation_steps: Micro-batches whose gradients a worker adds up in a step.
    """

    workers: int
    micro_batch: int
    accumulation_steps: int

    @property
    def batch(self) -> int:
        """Clips a step."""
        return self.workers * self.micro_batch * self.accumulation_steps


def plan_step(batch: int, workers: int, micro_batch: int, clips: int) -> StepLayout:
    """Lay out a step in as few micro-batches as the device allows.

    Args:
        batch: Clips a step, over all workers.
        workers: Number of training workers.
        micro_batch: Clips that a worker may compute at once, at most.
        clips: Clips of the train split.
    Returns:
        The layout, whose batch is `batch`.
    Raises:
        ConfigError: If there are fewer clips than workers, or the batch cannot be shared out evenly.
    """
    if clips < workers:
        raise ConfigError(f"{clips} train clips for {workers} workers: a worker would have no clip; use fewer workers")
    if batch % workers or batch < 1 or micro_batch < 1:
        raise ConfigError(f"a batch of {batch} clips cannot be shared evenly by {workers} workers: choose a multiple")
    share = batch // workers
    steps = next(n for n in range(1, share + 1) if share % n == 0 and share // n <= micro_batch)
    return StepLayout(workers, share // steps, steps)


def group_micro_batches(micro_batches: Iterable[T], accumulation_steps: int) -> Iterator[list[T]]:
    """Put micro-batches together to steps.

    Args:
        micro_batches: Micro-batches in the stream's order.
        accumulation_steps: Number of micro-batches of a step.
    Yields:
        The micro-batches of a step; the last step may have fewer.
    """
    stream = iter(micro_batches)
    while step := list(itertools.islice(stream, accumulation_steps)):
        yield step
