"""Clips handed one at a time to worker processes, each tried a few times where its worker dies; no other clip is lost
with it.

What needs Ray stands in `RayWorkers` alone: the rest is plain bookkeeping.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

import ray
from ray.exceptions import (
    NodeDiedError,
    ObjectLostError,
    OutOfMemoryError,
    RayActorError,
    RayError,
    RayTaskError,
    WorkerCrashedError,
)

from m3ray.errors import M3RayError
from m3ray.pipelines.extraction.device_faults import DeviceFaultError

C = TypeVar("C")
R = TypeVar("R")
C_contra = TypeVar("C_contra", contravariant=True)
R_co = TypeVar("R_co", covariant=True)

_MOST_FAILED_OPENINGS = 3
# All by which Ray says that a worker, or what it computed, is gone: these have no ancestor of their own in common.
_LOST = (RayActorError, OutOfMemoryError, WorkerCrashedError, NodeDiedError, ObjectLostError)


class WorkerLostError(Exception):
    """A worker process that died, or can compute no more; its text says what is known of why.

    Args:
        text: What is known of why.
        opened: Whether it had opened what it computes with, so that the clip in its hands is suspect.
        lacks_memory: Whether it was ended because its machine ran low on memory.
    """

    def __init__(self, text: str, *, opened: bool, lacks_memory: bool = False) -> None:
        super().__init__(text)
        self.opened, self.lacks_memory = opened, lacks_memory


class Workers(Protocol[C_contra, R_co]):
    """Worker processes that compute one clip at a time."""

    def start(self) -> Any:
        """Start a worker; return a handle of it at once."""

    def submit(self, worker: Any, clip: C_contra) -> Any:
        """Hand a clip to a worker; return a handle of the call at once."""

    def wait(self, calls: Sequence[Any]) -> Sequence[Any]:
        """Wait until at least one call has ended; return those that have."""

    def take(self, worker: Any, call: Any) -> R_co:
        """Take the result of a call that has ended.

        Raises:
            WorkerLostError: If the worker died over it, or can compute no more.
        """

    def stop(self, worker: Any) -> None:
        """End a worker."""


def compute_clips(
    workers: Workers[C, R], clips: Sequence[C], count: int, most_deaths: int, give_up: Callable[[C, str], R]
) -> Iterator[R]:
    """Compute clips in worker processes.

    Args:
        workers: How workers are started and called.
        clips: The clips.
        count: Number of workers at most; fewer go on where memory runs out, down to one.
        most_deaths: Number of workers that may die over a clip before it is given up; those that memory ran out for
            beside others are not counted.
        give_up: From a clip that is given up, and what is known of why, to its result.
    Yields:
        A result a clip, as they come.
    Raises:
        M3RayError: If workers die as they open what they compute with, three in a row.
        Exception: Whatever else a worker raised.
    """
    work = _Work(workers, clips, count, most_deaths)
    try:
        while work.goes_on:
            work.hand_out()
            for call in workers.wait(list(work.calls)):
                attempt, outcome = work.take(call)
                if not isinstance(outcome, WorkerLostError):
                    yield outcome
                elif work.gives_up(attempt, outcome):
                    yield give_up(attempt.clip, f"its worker died {attempt.deaths} times: {outcome}")
    finally:
        work.team.stop()


class _Work(Generic[C, R]):
    """The clips that wait and those in workers' hands, and what is done when a worker dies."""

    def __init__(self, workers: Workers[C, R], clips: Sequence[C], count: int, most_deaths: int) -> None:
        self.team, self._workers, self._count, self._most_deaths = _Team(workers), workers, count, most_deaths
        self._waiting = deque(_Try(clip) for clip in clips)
        self.calls: dict[Any, tuple[Any, _Try[C]]] = {}
        self._failed_openings = 0

    @property
    def goes_on(self) -> bool:
        return bool(self._waiting or self.calls)

    def hand_out(self) -> None:
        """Give each worker that has nothing to do a clip."""
        while self._waiting and len(self.calls) < self._count:
            worker, attempt = self.team.hire(), self._waiting.popleft()
            self.calls[self._workers.submit(worker, attempt.clip)] = (worker, attempt)

    def take(self, call: Any) -> tuple[_Try[C], R | WorkerLostError]:
        """The clip of a call that has ended, and its result, or that its worker died over it."""
        worker, attempt = self.calls.pop(call)
        try:
            result = self._workers.take(worker, call)
        except WorkerLostError as error:
            self.team.lose(worker)
            return attempt, error
        self._failed_openings = 0
        self.team.idle.append(worker)
        self.team.shrink(self._count)
        return attempt, result

    def gives_up(self, attempt: _Try[C], error: WorkerLostError) -> bool:
        """Whether a clip whose worker died is given up; else it waits behind the others, which may be innocent."""
        if error.lacks_memory and self.calls:  # they were too large for each other: nobody's fault
            self._count = max(1, min(self._count - 1, len(self.calls)))
            self.team.shrink(self._count)
        else:
            self._failed_openings = 0 if error.opened else self._failed_openings + 1
            _check_openings(self._failed_openings, error)
            attempt.deaths += error.opened
        if attempt.deaths >= self._most_deaths:
            return True
        self._waiting.append(attempt)
        return False


@dataclass
class _Try(Generic[C]):
    """A clip, and how many workers died over it."""

    clip: C
    deaths: int = 0


class _Team:
    """The workers that live, and those of them that have nothing to do."""

    def __init__(self, workers: Workers[Any, Any]) -> None:
        self.workers = workers
        self.alive: list[Any] = []
        self.idle: list[Any] = []

    def hire(self) -> Any:
        """A worker that has nothing to do, a new one where there is none."""
        if not self.idle:
            self.alive.append(self.workers.start())
            return self.alive[-1]
        return self.idle.pop()

    def lose(self, worker: Any) -> None:
        self.alive.remove(worker)

    def shrink(self, count: int) -> None:
        """End workers that have nothing to do until there are `count`, or none of them is left."""
        while self.idle and len(self.alive) > count:
            worker = self.idle.pop()
            self.alive.remove(worker)
            self.workers.stop(worker)

    def stop(self) -> None:
        for worker in self.alive:
            self.workers.stop(worker)


def _check_openings(failed: int, error: WorkerLostError) -> None:
    if failed >= _MOST_FAILED_OPENINGS:
        raise M3RayError(
            f"{failed} workers in a row died as they opened the bundle ({error}): the machine may lack memory for it; "
            "free some, or give fewer workers with --compute.actors"
        ) from error


class RayWorkers(Generic[C, R]):
    """Workers as Ray's actors, each with the methods `open()`, called once, and `compute(clip)`.

    Args:
        kind: Class of the workers.
        argument: What each is made with; it travels to the workers.
        **options: Resources of each, as Ray takes them.
    """

    def __init__(self, kind: type, argument: Any, **options: Any) -> None:
        self._kind = ray.remote(kind).options(max_restarts=0, max_task_retries=0, **options)
        self._argument = ray.put(argument)
        self._opening: dict[Any, Any] = {}

    def start(self) -> Any:
        """Start a worker, which opens what it computes with; return a handle of it at once."""
        worker = self._kind.remote(self._argument)
        self._opening[worker] = worker.open.remote()
        return worker

    def submit(self, worker: Any, clip: C) -> Any:
        """Hand a clip to a worker.

        Args:
            worker: Its handle.
            clip: The clip.
        Returns:
            A handle of the call.
        """
        return worker.compute.remote(clip)

    def wait(self, calls: Sequence[Any]) -> Sequence[Any]:
        """Wait until a call has ended.

        Args:
            calls: Handles of calls.
        Returns:
            Those that have ended, at least one.
        """
        return ray.wait(list(calls))[0]

    def take(self, worker: Any, call: Any) -> R:
        """Take the result of a call that has ended.

        Args:
            worker: Handle of the worker.
            call: Handle of the call.
        Returns:
            The result.
        Raises:
            WorkerLostError: If the worker or its machine was lost over it, or its GPU failed.
            Exception: What it raised as it opened the bundle, or another error that is not of a clip.
        """
        opened = False
        try:
            ray.get(self._opening[worker])
            opened = True
            result: R = ray.get(call)
        except _LOST as error:
            self.stop(worker)  # where it only does not answer
            lacks_memory = isinstance(error, OutOfMemoryError)
            raise WorkerLostError(_describe_death(error), opened=opened, lacks_memory=lacks_memory) from error
        except RayTaskError as error:
            if isinstance(error.cause, DeviceFaultError):
                self.stop(worker)
                raise WorkerLostError(f"its GPU failed: {error.cause}", opened=opened) from error
            raise
        return result

    def stop(self, worker: Any) -> None:
        """End a worker's process.

        Args:
            worker: Its handle.
        """
        ray.kill(worker)


def _describe_death(error: RayError) -> str:
    """What Ray knows of a worker's death, on one line, without its lists of possible causes."""
    if isinstance(error, OutOfMemoryError):  # Ray's own text is a page of which processes hold what
        return "the machine ran low on memory, and Ray ended it"
    if isinstance(error, NodeDiedError | ObjectLostError):
        return f"its machine was lost ({type(error).__name__})"
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    known = next((line for line in reversed(lines) if "exit" in line.lower() or "memory" in line.lower()), "")
    return " ".join((known or "no more is known").split())[:200].rstrip(". ")
