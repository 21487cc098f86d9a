"""Clips that kill the process that computes them: found out, computed alone, and given up after a few strikes.

Ray repeats a task whose worker died, without end. The ledger lives in another process and remembers which clips were
being computed when one died; the next attempt computes those alone, so that the others of the batch go through.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, TypeVar

import ray

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
    """Who computes what, and what became of it."""

    running: dict[str, str] = field(default_factory=dict)
    suspects: dict[str, Past] = field(default_factory=dict)

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
        self.running.update({name: node for name in ids if name not in past})
        return past

    def begin_alone(self, name: str, node: str) -> None:
        """Notes that a suspect is computed now."""
        self.running[name] = node

    def end(self, results: Mapping[str, Any]) -> None:
        """Notes that clips are through; of suspects the result is kept, the task may yet die of another one."""
        for name, result in results.items():
            self.running.pop(name, None)
            if name in self.suspects:
                self.suspects[name].result = result

    def is_alive(self, node: str) -> bool:
        """Whether a node is still there."""
        return any(entry["NodeID"] == node and entry["Alive"] for entry in ray.nodes())


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


def make_ledger() -> Any:
    """A ledger in a process of its own, which holds no clip and no network."""
    return ray.remote(num_cpus=0, max_restarts=-1, max_task_retries=-1)(Ledger).remote()
