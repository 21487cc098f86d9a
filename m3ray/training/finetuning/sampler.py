"""Which clip each index of the stream of all epochs holds: the same for any number of workers, after any restart."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple, TypeVar

import numpy as np

from m3ray.errors import ConfigError

T = TypeVar("T")


class Samples(NamedTuple):
    """What B indices of the stream hold.

    Args:
        clips: Positions among the clips, (B,), int64.
        mask: Which of them count, (B,), bool.
        epochs: Their epochs, (B,), int64.
        empty: Which indices are places that the batch leaves empty, (B,), bool; what they hold is not looked at.
    """

    clips: np.ndarray
    mask: np.ndarray
    epochs: np.ndarray
    empty: np.ndarray


@dataclass(frozen=True)
class ClipSampler:
    """A stream of clips in shuffled epochs, `batch` of them a step, all epochs one after the other.

    The last step of an epoch is filled up with the epoch's first clips, which a mask then leaves out of the loss.
    Which clips a step has depends on `clips`, `batch` and `seed` alone; where the workers have more places than a batch
    has clips, a step's last places are empty.

    Args:
        clips: Number of clips of an epoch.
        batch: Number of clips of a step.
        seed: Seed of the shuffles; None: every epoch in the clips' own order.
        capacity: Indices a step, at least `batch`; None: `batch`.
    """

    clips: int
    batch: int
    seed: int | None = None
    capacity: int | None = None

    @property
    def steps(self) -> int:
        """Steps an epoch."""
        return math.ceil(self.clips / self.batch)

    @property
    def places(self) -> int:
        """Indices a step."""
        return self.capacity or self.batch

    def samples(self, indices: np.ndarray) -> Samples:
        """Clips at indices of the stream.

        Args:
            indices: Positions in the stream, from 0, int64, (B,).
        Returns:
            The clips, which of them count, their epochs, and which places are empty.
        """
        steps, places = np.divmod(indices, self.places)
        epochs, step_of_epoch = np.divmod(steps, self.steps)
        empty = places >= self.batch
        offsets = step_of_epoch * self.batch + np.where(empty, 0, places)
        orders = {epoch: shuffle_clips(self.clips, self.seed, int(epoch)) for epoch in np.unique(epochs)}
        clips = [orders[epoch][k % self.clips] for epoch, k in zip(epochs, offsets, strict=True)]
        return Samples(np.array(clips, np.int64), (offsets < self.clips) & ~empty, epochs, empty)

    def count_clips(self, step: int) -> int:
        """Number of a step's clips that the mask lets count; they are its first ones.

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
    """How the places of a step are shared out: micro-batches in the stream's order, in turns to the workers.

    Args:
        workers: Number of training workers.
        micro_batch: Clips that a worker computes at once, at most.
        accumulation_steps: Micro-batches whose gradients a worker adds up in a step.
    """

    workers: int
    micro_batch: int
    accumulation_steps: int

    @property
    def share(self) -> int:
        """Places that a worker has in a step."""
        return self.micro_batch * self.accumulation_steps

    @property
    def capacity(self) -> int:
        """Places of a step, over all workers: at least as many as a batch has clips."""
        return self.workers * self.share

    def expect_index(self, first: int, rank: int, count: int) -> int:
        """Index of the stream that a worker's micro-batch begins at.

        Args:
            first: Index that the stream begins at, a multiple of `capacity`.
            rank: Rank of the worker, from 0.
            count: Number of micro-batches that the worker has had.
        Returns:
            The index.
        """
        return first + (count * self.workers + rank) * self.micro_batch

    def gathered_rows(self, clips: int) -> np.ndarray:
        """Where a step's clips are when the workers' shares are put one after the other, in the workers' order.

        Args:
            clips: Number of the step's clips that count, the first of its places.
        Returns:
            Row of each clip, in the batch's order, int64, (clips,).
        """
        blocks, within = np.divmod(np.arange(clips), self.micro_batch)
        turns, ranks = np.divmod(blocks, self.workers)
        return ranks * self.share + turns * self.micro_batch + within


def plan_step(batch: int, workers: int, micro_batch: int) -> StepLayout:
    """Lay out a step in as few micro-batches as the device allows, for any number of workers.

    Shares are as even as whole clips allow: a worker has at most one micro-batch's worth less than another, and where
    there are more workers than clips some have none.

    Args:
        batch: Clips a step, over all workers.
        workers: Number of training workers.
        micro_batch: Clips that a worker may compute at once, at most.
    Returns:
        The layout, with places for `batch` clips and no micro-batch that stays empty for all workers.
    Raises:
        ConfigError: If a number is below 1.
    """
    for name, value in (("batch", batch), ("workers", workers), ("micro_batch", micro_batch)):
        if value < 1:
            raise ConfigError(f"--finetune.{name.replace('_', '-')} is {value}: give 1 or more")
    share = math.ceil(batch / workers)
    accumulation_steps = math.ceil(share / micro_batch)
    return StepLayout(workers, math.ceil(share / accumulation_steps), accumulation_steps)


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
