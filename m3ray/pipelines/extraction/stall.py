"""A job in which nothing goes on any more: found out, said with what hung, and stopped."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from types import FrameType
from typing import Any

import ray

from m3ray.errors import M3RayError
from m3ray.pipelines.runtime.progress import Progress
from m3ray.pipelines.runtime.rate import duration

_LOOK_SECONDS, _ANSWER_SECONDS = 10.0, 5.0
_SHOWN = 5

Held = tuple[str, str, float]  # stage and clip, the node's id, seconds


class StalledError(M3RayError):
    """No clip got through a stage as long as `--stall-minutes` allows."""


@dataclass(frozen=True)
class Sight:
    """What is seen of a job at one time.

    Args:
        ended: clips that got through a stage so far.
        held: those that a worker has in hand, the longest first.
        paused: whether the job waits for its storage.
        nodes: Ray's.
    """

    ended: int
    held: Sequence[Held]
    paused: bool
    nodes: Sequence[Mapping[str, Any]]

    def excuses(self, needed: Collection[str]) -> bool:
        """Whether it is clear why nothing goes on: a pause, which has its own limit, or nodes that are to come.

        Args:
            needed: resources without which no clip is computed. A clip in the hands of a node that lives is being
                computed, whatever else is to come.
        """
        alive = [node for node in self.nodes if node["Alive"]]
        if self.paused:
            return True
        at_work = {node["NodeID"] for node in alive} & {node for _, node, _ in self.held}
        return not at_work and any(not any(node["Resources"].get(name) for node in alive) for name in needed)

    def words(self, waiting_for: str) -> str:
        """What hung."""
        if not self.held:
            return f"no clip was being computed; the job waited for {waiting_for}"
        names = {node["NodeID"]: node.get("NodeManagerHostname") or node.get("NodeName") for node in self.nodes}
        shown = [
            f"{key.partition(':')[2]} ({key.partition(':')[0]}) on {names.get(node) or node} for {duration(seconds)}"
            for key, node, seconds in self.held[:_SHOWN]
        ]
        others = f" and {len(self.held) - _SHOWN} more" if len(self.held) > _SHOWN else ""
        return f"being computed: {', '.join(shown)}{others}"


class StallClock:
    """Counts the seconds in which nothing went on without an excuse.

    Args:
        clock: seconds, monotonic.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._last, self._moved = clock(), (-1, -1)
        self.still = 0.0

    def see(self, sight: Sight | None, finished: int, needed: Collection[str]) -> None:
        """Adds the time since the last look, or begins anew where something moved.

        Args:
            sight: None: nobody answered, which is no excuse.
            finished: clips that were committed.
            needed: as in `Sight.excuses`.
        """
        now, last = self._clock(), self._last
        self._last = now
        moved = (self._moved[0] if sight is None else sight.ended, finished)
        if moved != self._moved:
            self.still, self._moved = 0.0, moved
        elif sight is None or not sight.excuses(needed):
            self.still += now - last


class StallWatch:
    """Looks at a job now and then.

    Args:
        ledger: of `strikes`, that the job's stages have.
        minutes: without a clip through a stage after which the job stops; 0: it never does.
        progress: of the job.
        needed: resources without which no clip is computed.
    """

    def __init__(self, ledger: Any, minutes: float, progress: Progress, needed: Collection[str]) -> None:
        self._ledger, self._minutes, self._progress, self._needed = ledger, minutes, progress, needed
        self._clock = StallClock()
        self._stop, self._turn = threading.Event(), threading.Lock()
        self._why = ""

    def check(self) -> None:
        """Raises StalledError once the job has stalled."""
        if self._why:
            raise StalledError(self._why)

    def watch(self) -> None:
        """Looks until `end`, or until the job has stalled, and then interrupts the main thread."""
        seconds = 60 * self._minutes
        while not self._stop.wait(min(_LOOK_SECONDS, seconds / 4)):
            sight = None
            with suppress(Exception):  # an answer that the ledger does not give is one missed
                sight = look(self._ledger)
            self._clock.see(sight, self._progress.done + self._progress.rejected, self._needed)
            if self._clock.still >= seconds:
                self._interrupt(self._words(sight))
                return

    def _interrupt(self, why: str) -> None:
        with self._turn:
            if not self._stop.is_set():
                self._why = why
                signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)

    def end(self) -> None:
        """No more looks, and no more signals."""
        with self._turn:
            self._stop.set()

    def _words(self, sight: Sight | None) -> str:
        unknown = "Ray does not answer what was being computed"
        hung = unknown if sight is None else sight.words(self._progress.waiting_for)
        return (
            f"stalled: no clip got through a stage for {duration(self._clock.still)} (--stall-minutes "
            f"{self._minutes:g}): {hung}. What was committed stays, the same command goes on from there; where a clip "
            "may take so long, give a larger --stall-minutes, or 0"
        )


def look(ledger: Any) -> Sight:
    """What the ledger and Ray know now."""
    asked = [ledger.ended.remote(), ledger.held.remote(), ledger.storage_state.remote()]
    ended, held, state = ray.get(asked, timeout=_ANSWER_SECONDS)
    return Sight(ended, held, state is not None, ray.nodes())


@contextmanager
def stopped_when_stalled(ledger: Any, minutes: float, progress: Progress, needed: Collection[str]) -> Iterator[None]:
    """Stops the block once the job has stalled; the arguments are `StallWatch`'s.

    The block may wait for Ray without an end, as it may at Ctrl-C: a signal to the main thread ends that, and Ray
    then stops its own work as it does there. In another thread than the main one no block is stopped.

    Raises:
        StalledError: it has.
    """
    if minutes <= 0 or threading.current_thread() is not threading.main_thread():
        yield
        return
    watch = StallWatch(ledger, minutes, progress, needed)
    before = signal.getsignal(signal.SIGINT)
    signal.signal(signal.SIGINT, partial(_interrupted, watch, before))
    threading.Thread(target=watch.watch, name="m3ray-stall", daemon=True).start()
    try:
        yield
    finally:
        try:
            watch.end()
        finally:  # also where the watch's signal came as the block ended
            signal.signal(signal.SIGINT, before)


def _interrupted(watch: StallWatch, before: Any, number: int, frame: FrameType | None) -> None:
    """A signal of the watch's, or Ctrl-C, which goes to whoever took it before."""
    watch.check()
    if callable(before):
        before(number, frame)
