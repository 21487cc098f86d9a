"""Crash guard: count the crashes of each clip, compute suspects alone, and reject a clip after too many (quarantine).

Ray repeats a task whose worker died, without end. The ledger lives in another process and remembers which clips were
being computed when a worker died; the next attempt computes those alone, so that the others of the batch go through. A
process that its GPU failed says so before it exits: `device_ledger` has the rules of that.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, Literal, Protocol, TypeVar

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from m3ray.config import LimitsConfig
from m3ray.pipelines.extraction.circuit_breaker import CircuitBreaker
from m3ray.pipelines.extraction.device_faults import DeviceFaultError
from m3ray.pipelines.extraction.device_ledger import Advice, DeviceLedger
from m3ray.pipelines.extraction.window_joins import WindowJoins
from m3ray.pipelines.runtime.worker_entry import get_readable_clip

# A job whose last clips were sent to a banned GPU waits so long before it computes them elsewhere.
_IDLE_SECONDS = 10.0
# What is in hand for longer may be that of a process that died: its clips are begun anew only where they lie. What is
# decoded may have to wait until somebody takes it.
_BUSY_SECONDS = 600.0
_BUSY_DECODING_SECONDS = 60.0
_DECODING = "decode:"

C = TypeVar("C", bound="HasId")
R = TypeVar("R")


class HasId(Protocol):
    """A clip, or a part of one."""

    @property
    def row_id(self) -> str:
        """Its name, which no other row of the extraction has."""


@dataclass
class CrashRecord:
    """What earlier attempts left of a suspect clip.

    Args:
        crash_count: Number of processes that died while they computed the clip.
        result: Result of an attempt that got through while the task as a whole did not; None if there is none.
        device_faults: Name of a GPU to the number of processes that it failed while they computed the clip alone.
        reason: What CUDA said last; empty if no GPU failed.
    """

    crash_count: int = 0
    result: Any = None
    device_faults: dict[str, int] = field(default_factory=dict)
    reason: str = ""

    @property
    def deaths(self) -> int:
        """Number of deaths that are held against the clip."""
        return self.crash_count + sum(self.device_faults.values())


@dataclass
class Ledger:
    """Which process computes which clips, their crash counts, and the circuit breakers of the storage.

    Args:
        storage_seconds: Seconds that the job waits for a storage that does not answer.
        readable_uri: URI that a worker has read before the first clip, to probe; empty if there is none.
        in_progress: Stage and clip (`stage:clip_id`) to the id of the node that computes it.
        suspects: Stage and clip to its crash record.
        devices: Ledger of the GPUs.
        joins: Windows of clips that wait for the others.
    """

    storage_seconds: float = LimitsConfig.storage_seconds
    readable_uri: str = ""
    in_progress: dict[str, str] = field(default_factory=dict)
    suspects: dict[str, CrashRecord] = field(default_factory=dict)
    devices: DeviceLedger = field(default_factory=DeviceLedger)
    joins: WindowJoins = field(default_factory=WindowJoins)
    breakers: dict[str, CircuitBreaker] = field(init=False)
    _started: dict[str, float] = field(default_factory=dict)
    _completed: int = 0

    def __post_init__(self) -> None:
        seconds = self.storage_seconds
        reads = CircuitBreaker(seconds, readable_uri=self.readable_uri)
        self.breakers = {"reads": reads, "writes": CircuitBreaker(seconds, may_give_up=False)}

    def begin(self, keys: Sequence[str], node: str) -> dict[str, CrashRecord]:
        """Record that a process starts to compute clips.

        A clip that was begun and never ended was in the hands of a process that died. A process that went with its
        whole node (a spot node, say) does not count.

        Args:
            keys: Stage and clip of each, `stage:clip_id`.
            node: Ray's id of the process's node.
        Returns:
            Crash records of the suspects, which are not begun: each must be begun alone.
        """
        for key in keys:
            previous = self.in_progress.pop(key, None)
            if previous is not None and self.is_node_alive(previous):
                self.suspects.setdefault(key, CrashRecord()).crash_count += 1
        records = {key: self.suspects[key] for key in keys if key in self.suspects}
        self._start([key for key in keys if key not in records], node)
        return records

    def begin_alone(self, key: str, node: str) -> None:
        """Record that a process starts to compute a suspect.

        Args:
            key: Stage and clip, `stage:clip_id`.
            node: Ray's id of the process's node.
        """
        self._start([key], node)

    def _start(self, keys: Sequence[str], node: str) -> None:
        self.devices.note_change()
        self.in_progress.update(dict.fromkeys(keys, node))
        self._started.update(dict.fromkeys(keys, time.monotonic()))

    def end(self, results: Mapping[str, Any]) -> None:
        """Record that clips are computed; keep the results of suspects, as another clip may still kill the task.

        Args:
            results: Stage and clip to the result; None for those that are not suspects.
        """
        self._completed += len(results)
        self.devices.note_change()
        for key, result in results.items():
            self.in_progress.pop(key, None)
            self._started.pop(key, None)
            if key in self.suspects:
                self.suspects[key].result = result

    def lose_device(self, gpu: str, keys: Sequence[str], reason: str) -> None:
        """Record that a process ends because its GPU failed, which is no crash of the clips that it had in hand.

        Args:
            gpu: Name of the GPU.
            keys: Stage and clip of each; none: the process computed gray frames.
            reason: What CUDA said, one line.
        """
        for key in keys:
            self.in_progress.pop(key, None)
            record = self.suspects.setdefault(key, CrashRecord())
            record.reason = reason
            if len(keys) == 1:
                record.device_faults[gpu] = record.device_faults.get(gpu, 0) + 1
        if self.devices.note_failure(gpu, keys, reason):
            for record in self.suspects.values():
                record.device_faults.pop(gpu, None)

    def advise_banned(self) -> Advice:
        """Advise a process that waits on a banned GPU, see `DeviceLedger.advise_banned`."""
        return self.devices.advise_banned(is_busy=any(_is_busy(key, age) for key, _, age in self.list_in_progress()))

    def call_part(self, part: Literal["devices", "joins"], method: str, *args: Any) -> Any:
        """Call a method of a part of the ledger.

        Args:
            part: `devices` or `joins`.
            method: Name of a method of `DeviceLedger` or `WindowJoins`.
            *args: Its arguments.
        Returns:
            What the method returns.
        """
        return getattr(getattr(self, part), method)(*args)

    def count_completed(self) -> int:
        """Number of times that a clip got through a stage so far."""
        return self._completed

    def list_in_progress(self) -> list[tuple[str, str, float]]:
        """Stage and clip, node id, and seconds of each clip that is being computed, the longest first."""
        now = time.monotonic()
        entries = [(key, node, now - self._started.get(key, now)) for key, node in self.in_progress.items()]
        return sorted(entries, key=lambda entry: -entry[2])

    def is_node_alive(self, node: str) -> bool:
        """Whether Ray still has a node.

        Args:
            node: Ray's id of the node.
        """
        return any(entry["NodeID"] == node and entry["Alive"] for entry in ray.nodes())

    def call_breaker(self, name: str, method: str, *args: Any) -> Any:
        """Call a method of a circuit breaker.

        Args:
            name: `reads` or `writes`.
            method: Name of a method of `CircuitBreaker`.
            *args: Its arguments.
        Returns:
            What the method returns.
        """
        return getattr(self.breakers[name], method)(*args)

    def pause_state(self) -> tuple[float, str] | None:
        """Seconds that the job has been paused and the reason; None while it goes on."""
        return next(filter(None, (breaker.pause_state() for breaker in self.breakers.values())), None)

    def stop_reason(self) -> str:
        """Why the job stops; empty while it goes on."""
        return next(filter(None, (breaker.stop_reason for breaker in self.breakers.values())), "")


def _is_busy(key: str, seconds: float) -> bool:
    return seconds < (_BUSY_DECODING_SECONDS if key.startswith(_DECODING) else _BUSY_SECONDS)


@dataclass(frozen=True)
class CrashGuard(Generic[C, R]):
    """Computes clips so that one which kills its process does so alone, and not for ever.

    Args:
        ledger: Handle of a `Ledger` actor; None computes without a guard.
        stage: Name of the stage, which tells its clips from those of another stage.
        max_crashes: Number of deaths at which a clip is rejected.
        reject: From a clip and its crash record to the result of a rejected clip.
        gpu: Name of the GPU of this process; empty if it has none.
    """

    ledger: Any
    stage: str
    max_crashes: int
    reject: Callable[[C, CrashRecord], R]
    gpu: str = ""

    def run(self, clips: Sequence[C], compute: Callable[[Sequence[C]], Sequence[R]]) -> list[R]:
        """Compute clips: those without a crash together, suspects one by one, those with the fewest deaths first.

        Args:
            clips: The clips of a task.
            compute: From clips to their results, in order.
        Returns:
            A result for each clip, in order.
        Raises:
            DeviceFaultError: If the GPU failed, which the ledger then knows: this process has to end.
        """
        if self.ledger is None:
            return list(compute(clips))
        node = ray.get_runtime_context().get_node_id()
        records: dict[str, CrashRecord] = ray.get(self.ledger.begin.remote([self._key(clip) for clip in clips], node))
        fresh = [clip for clip in clips if self._key(clip) not in records]
        results = dict(zip(map(self._key, fresh), self._compute(fresh, compute), strict=True)) if fresh else {}
        self.ledger.end.remote(dict.fromkeys(results))
        suspects = [clip for clip in clips if self._key(clip) in records]
        for clip in sorted(suspects, key=lambda clip: records[self._key(clip)].deaths):
            results[self._key(clip)] = self._compute_suspect(clip, records[self._key(clip)], compute, node)
        return [results[self._key(clip)] for clip in clips]

    def stream(self, clips: Sequence[C], compute: Callable[[C], Iterator[R]]) -> Iterator[R]:
        """Compute clips one after the other, each of which may have many results; the ledger is told once of all.

        Of each suspect it is told apart. No result is kept: Ray repeats a task from its beginning, and leaves out as
        many results as it has already, whatever they are; the order is therefore the same each time.

        Args:
            clips: The clips of a task.
            compute: From a clip to its results.
        Yields:
            The results of each clip.
        """
        if self.ledger is None:
            for clip in clips:
                yield from compute(clip)
            return
        node = ray.get_runtime_context().get_node_id()
        records: dict[str, CrashRecord] = ray.get(self.ledger.begin.remote([self._key(clip) for clip in clips], node))
        for clip in clips:
            record = records.get(self._key(clip))
            yield from compute(clip) if record is None else self._stream_suspect(clip, record, compute, node)
        self.ledger.end.remote({self._key(clip): None for clip in clips if self._key(clip) not in records})

    def _stream_suspect(
        self, clip: C, record: CrashRecord, compute: Callable[[C], Iterator[R]], node: str
    ) -> Iterator[R]:
        if record.deaths >= self.max_crashes:
            yield self.reject(clip, record)
            return
        ray.get(self.ledger.begin_alone.remote(self._key(clip), node))
        yield from compute(clip)
        ray.get(self.ledger.end.remote({self._key(clip): None}))

    def _compute(self, clips: Sequence[C], compute: Callable[[Sequence[C]], Sequence[R]]) -> Sequence[R]:
        try:
            return compute(clips)
        except DeviceFaultError as error:
            ray.get(self.ledger.lose_device.remote(self.gpu, [self._key(clip) for clip in clips], str(error)))
            raise

    def _compute_suspect(
        self, clip: C, record: CrashRecord, compute: Callable[[Sequence[C]], Sequence[R]], node: str
    ) -> R:
        if record.result is not None:
            return record.result
        if record.deaths >= self.max_crashes:
            return self.reject(clip, record)
        ray.get(self.ledger.begin_alone.remote(self._key(clip), node))
        (result,) = self._compute([clip], compute)
        ray.get(self.ledger.end.remote({self._key(clip): result}))
        return result

    def _key(self, clip: C) -> str:
        return f"{self.stage}:{clip.row_id}"


def start_ledger(limits: LimitsConfig) -> Any:
    """Start a ledger actor, a process of its own that holds no clip and no network.

    Args:
        limits: Per-clip resource limits; `storage_seconds` of them is used.
    Returns:
        Handle of the actor.
    """
    # Beside the driver: a node that the autoscaler starts is one that it may stop, and a spot node goes without asking.
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=True)
    actor = ray.remote(num_cpus=0, max_restarts=-1, max_task_retries=-1, scheduling_strategy=here)(Ledger)
    return actor.remote(limits.storage_seconds, get_readable_clip(), devices=DeviceLedger(_IDLE_SECONDS))
