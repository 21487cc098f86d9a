"""Clips that kill the process that computes them: found out, computed alone, and given up after a few strikes.

Ray repeats a task whose worker died, without end. The ledger lives in another process and remembers which clips were
being computed when one died; the next attempt computes those alone, so that the others of the batch go through.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, TypeVar

import ray

from m3ray.config import LimitsConfig
from m3ray.pipelines.extraction.breaker import Breaker
from m3ray.pipelines.runtime.worker_entry import readable_clip

C = TypeVar("C", bound="HasId")
R = TypeVar("R")


class HasId(Protocol):
    @property
    def clip_id(self) -> str: ...


@dataclass
class Past:
    """What earlier attempts left of a clip.

    Args:
        strikes: processes that died while they computed it.
        result: of an attempt that got through, while the task as a whole did not.
    """

    strikes: int = 0
    result: Any = None


@dataclass
class Ledger:
    """Who computes what, what became of it, and whether the storage answers.

    Args:
        storage_seconds: how long the job waits for that.
        known: a clip that a worker has read before the first one; empty: none.
    """

    storage_seconds: float = LimitsConfig.storage_seconds
    known: str = ""
    running: dict[str, str] = field(default_factory=dict)
    suspects: dict[str, Past] = field(default_factory=dict)
    breakers: dict[str, Breaker] = field(init=False)
    _since: dict[str, float] = field(default_factory=dict)
    _ended: int = 0

    def __post_init__(self) -> None:
        seconds = self.storage_seconds
        self.breakers = {"reads": Breaker(seconds, known=self.known), "writes": Breaker(seconds, spares=False)}

    def begin(self, ids: Sequence[str], node: str) -> dict[str, Past]:
        """Notes that a process on `node` takes on clips; those with a past are returned and must be begun alone.

        A clip that was begun and not ended earlier was in the hands of a process that died. Where its whole node
        went (a spot node, say), that is no strike.
        """
        for name in ids:
            before = self.running.pop(name, None)
            if before is not None and self.is_alive(before):
                self.suspects.setdefault(name, Past()).strikes += 1
        past = {name: self.suspects[name] for name in ids if name in self.suspects}
        self._take([name for name in ids if name not in past], node)
        return past

    def begin_alone(self, name: str, node: str) -> None:
        """Notes that a suspect is computed now."""
        self._take([name], node)

    def _take(self, names: Sequence[str], node: str) -> None:
        self.running.update(dict.fromkeys(names, node))
        self._since.update(dict.fromkeys(names, time.monotonic()))

    def end(self, results: Mapping[str, Any]) -> None:
        """Notes that clips are through; of suspects the result is kept, the task may yet die of another one."""
        self._ended += len(results)
        for name, result in results.items():
            self.running.pop(name, None)
            self._since.pop(name, None)
            if name in self.suspects:
                self.suspects[name].result = result

    def ended(self) -> int:
        """How often a clip got through a stage so far."""
        return self._ended

    def held(self) -> list[tuple[str, str, float]]:
        """Stage and clip, node, and seconds of each clip in the hands of a process, the longest first."""
        now = time.monotonic()
        found = [(name, node, now - self._since.get(name, now)) for name, node in self.running.items()]
        return sorted(found, key=lambda entry: -entry[2])

    def is_alive(self, node: str) -> bool:
        """Whether a node is still there."""
        return any(entry["NodeID"] == node and entry["Alive"] for entry in ray.nodes())

    def storage(self, name: str, what: str, *facts: Any) -> Any:
        """A call of the breaker of `reads` or `writes`."""
        return getattr(self.breakers[name], what)(*facts)

    def storage_state(self) -> tuple[float, str] | None:
        """Seconds that the job is paused for, and why; None: it is not."""
        return next(filter(None, (breaker.state() for breaker in self.breakers.values())), None)

    def storage_stop(self) -> str:
        """Why the job stops; empty where it does not."""
        return next(filter(None, (breaker.stopped for breaker in self.breakers.values())), "")


@dataclass(frozen=True)
class Guard(Generic[C, R]):
    """Computes clips so that one which kills its process does so alone, and not for ever.

    Args:
        ledger: the handle of a `Ledger` actor; None: no guard.
        stage: its clips are told apart from those of another stage.
        strikes: how often a clip may kill its process.
        given_up: the result of a clip that did.
    """

    ledger: Any
    stage: str
    strikes: int
    given_up: Callable[[C, int], R]

    def results(self, clips: Sequence[C], compute: Callable[[Sequence[C]], Sequence[R]]) -> list[R]:
        """`compute(clips)`, in order."""
        if self.ledger is None:
            return list(compute(clips))
        node = ray.get_runtime_context().get_node_id()
        past: dict[str, Past] = ray.get(self.ledger.begin.remote([self._key(clip) for clip in clips], node))
        fresh = [clip for clip in clips if self._key(clip) not in past]
        found = dict(zip(map(self._key, fresh), compute(fresh), strict=True)) if fresh else {}
        self.ledger.end.remote(dict.fromkeys(found))
        for clip in clips:
            if self._key(clip) in past:
                found[self._key(clip)] = self._suspect(clip, past[self._key(clip)], compute, node)
        return [found[self._key(clip)] for clip in clips]

    def _suspect(self, clip: C, past: Past, compute: Callable[[Sequence[C]], Sequence[R]], node: str) -> R:
        if past.result is not None:
            return past.result
        if past.strikes >= self.strikes:
            return self.given_up(clip, past.strikes)
        ray.get(self.ledger.begin_alone.remote(self._key(clip), node))
        (result,) = compute([clip])
        ray.get(self.ledger.end.remote({self._key(clip): result}))
        return result

    def _key(self, clip: C) -> str:
        return f"{self.stage}:{clip.clip_id}"


def make_ledger(limits: LimitsConfig) -> Any:
    """A ledger in a process of its own, which holds no clip and no network."""
    actor = ray.remote(num_cpus=0, max_restarts=-1, max_task_retries=-1)(Ledger)
    return actor.remote(limits.storage_seconds, readable_clip())
