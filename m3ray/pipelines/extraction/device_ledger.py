"""Device ledger: which GPUs fail again and again, and whether they or the clips are at fault.

A process that meets a device fault (`device_faults`) reports what it was computing, and exits; Ray starts it anew,
often on the same GPU, and repeats its tasks. No clip is rejected for that alone, and none is lost. The rules:

1. The clips in hand become suspects: from then on each is computed alone, those with the fewest deaths first.
2. A GPU's failures in a row are counted; a computed batch ends the row.
3. After a failure the next process on that GPU first computes gray frames. Where they fail too, that is a failure
   without clips.
4. After three in a row the GPU is banned, unless one clip was in hand each time: that clip explains them. Where gray
   frames were computed each time, so that several clips may be at fault, the last GPU is never banned.
5. Failures of a banned GPU are not held against clips.
6. A clip with which alone so many processes died as `limits.crash_count` allows is rejected.
7. A process on a banned GPU waits. Ray Data sends it nothing meanwhile, but what it was sent before stays with it: once
   nothing else moves, or no GPU is left in its pass, it hands those clips back, and a further pass computes them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Literal

_MAX_FAILURES = 3
# A process that needs longer to load its networks does not keep others from handing their clips back.
_START_SECONDS = 600.0
_FIRST_PATIENCE = 6  # times as long as later, until a first batch was computed

Status = Literal["sound", "suspect", "banned"]
Advice = Literal["wait", "hand back", "stop"]


@dataclass
class GpuRecord:
    """What happened on a GPU.

    Args:
        place: GPU and node, in words.
        failures: Clips that each process had in hand when it failed, since the last computed batch; none: gray frames.
        reason: What CUDA said last.
        is_banned: Whether the job stopped using the GPU.
        starting: When a process began to load its networks there, seconds of the clock; None if none does.
    """

    place: str
    failures: list[frozenset[str]] = field(default_factory=list)
    reason: str = ""
    is_banned: bool = False
    starting: float | None = None

    def has_failed_gray_frames(self) -> bool:
        """Whether a failure in the row came without a clip."""
        return not all(self.failures)

    def has_culprit(self) -> bool:
        """Whether one clip was in hand at each failure in the row."""
        return bool(frozenset.intersection(*self.failures))

    def describe(self) -> str:
        """The GPU and what CUDA said, in words."""
        return f"{self.place} ({self.reason})"


@dataclass
class DeviceLedger:
    """GPUs of a job, and which of them it stopped using.

    Args:
        idle_seconds: Seconds in which nothing moves, after which a banned GPU's clips are handed back.
        gpus: Name of each GPU that a process was given to its record.
        news: What happened, a line each.
        clock: Monotonic clock, seconds.
    """

    idle_seconds: float = 10.0
    gpus: dict[str, GpuRecord] = field(default_factory=dict)
    news: list[str] = field(default_factory=list)
    clock: Callable[[], float] = time.monotonic
    _entered: set[str] = field(default_factory=set)  # names of the GPUs of this pass
    _pool_gpus: int = 1
    _all_gpus: int = 1
    _has_computed: bool = False
    _last_change: float = 0.0

    def start_pass(self, pool_gpus: int, all_gpus: int) -> None:
        """Start to compute clips with a pool of actors.

        Args:
            pool_gpus: Number of GPUs that the pool takes.
            all_gpus: Number of GPUs that the cluster has, or may grow to.
        """
        self._pool_gpus, self._all_gpus, self._has_computed = pool_gpus, all_gpus, False
        self._entered.clear()
        self.note_change()

    def enter(self, gpu: str, place: str) -> Status:
        """Record that a process was given a GPU.

        Args:
            gpu: Name of the GPU, from `devices.gpu_name`.
            place: GPU and node, in words.
        Returns:
            `banned`: the process must not use it. `suspect`: the process has to compute gray frames first.
        """
        self._entered.add(gpu)
        record = self._find(gpu)
        record.place = place
        if record.is_banned:
            return "banned"
        record.starting = self.clock()
        return "suspect" if record.failures else "sound"

    def _find(self, gpu: str) -> GpuRecord:
        """Record of a GPU; a new one where this ledger's own process died meanwhile and forgot it."""
        return self.gpus.setdefault(gpu, GpuRecord(gpu))

    def note_ready(self, gpu: str) -> None:
        """Record that a process has its networks.

        Args:
            gpu: Name of its GPU.
        """
        self._find(gpu).starting = None
        self.note_change()

    def note_computed(self, gpu: str) -> None:
        """Record that a batch of clips was computed, which ends a row of failures.

        Args:
            gpu: Name of the GPU.
        """
        self._find(gpu).failures.clear()
        self._has_computed = True

    def note_change(self) -> None:
        """Record that something moves: a clip was begun or ended."""
        self._last_change = self.clock()

    def note_failure(self, gpu: str, clips: Collection[str], reason: str) -> bool:
        """Record that a process failed on its GPU.

        Args:
            gpu: Name of the GPU.
            clips: Clips that it had in hand; none: gray frames.
            reason: What CUDA said, one line.
        Returns:
            Whether the GPU is banned now.
        """
        record = self._find(gpu)
        record.reason, record.starting = reason, None
        record.failures.append(frozenset(clips))
        self.note_change()
        if not record.is_banned and self._is_at_fault(gpu):
            record.is_banned = True
            self.news.append(self._describe_ban(record))
        elif not record.is_banned:
            again = f"clips to compute again: {len(clips)}" if clips else "gray frames failed too"
            self.news.append(f"{record.describe()} failed: a new process takes over, {again}")
        return record.is_banned

    def _is_at_fault(self, gpu: str) -> bool:
        record = self._find(gpu)
        if len(record.failures) < _MAX_FAILURES or record.has_culprit():
            return False
        return record.has_failed_gray_frames() or self.count_banned() + 1 < max(self._all_gpus, len(self.gpus))

    def _describe_ban(self, record: GpuRecord) -> str:
        failures, clips = len(record.failures), len(frozenset.union(*record.failures))
        return (
            f"{record.describe()} is not used any more, after {failures} failures in a row; none of its clips is "
            f"rejected, others compute them (in hand: {clips})"
        )

    def is_banned(self, gpu: str) -> bool:
        """Whether the job stopped using a GPU.

        Args:
            gpu: Name of the GPU.
        """
        return self._find(gpu).is_banned

    def count_banned(self) -> int:
        """Number of GPUs that the job stopped using."""
        return sum(record.is_banned for record in self.gpus.values())

    def read_news(self, start: int) -> list[str]:
        """What happened, from a line on.

        Args:
            start: Number of lines that are known already.
        Returns:
            The later lines.
        """
        return self.news[start:]

    def stop_reason(self) -> str:
        """Why no clip can be computed any more; empty while one can."""
        if not self.gpus or self.count_banned() < max(self._all_gpus, len(self.gpus)):
            return ""
        return self.describe_banned()

    def describe_banned(self) -> str:
        """An error that names the GPUs that the job stopped using, and what to do."""
        banned = [record.describe() for record in self.gpus.values() if record.is_banned]
        return (
            f"no GPU is left to compute on, {len(banned)} failed again and again: {'; '.join(banned)}. No clip was "
            "rejected for it, and what was committed stays: once the GPUs work (nvidia-smi and dmesg tell more), run "
            "the same command again, or compute on CPUs with --compute.device cpu"
        )

    def advise_banned(self, *, is_busy: bool) -> Advice:
        """Advise a process that waits on a banned GPU.

        Args:
            is_busy: Whether a clip is being read or computed.
        Returns:
            `wait`; `hand back` the clips that it was sent; `stop`: there is no other GPU.
        """
        if self.stop_reason():
            return "stop"
        # GPUs of earlier passes, which no process of this one has, compute nothing here.
        if len(self._entered) >= self._pool_gpus and all(self.gpus[gpu].is_banned for gpu in self._entered):
            return "hand back"
        if is_busy or self._is_starting() or not (self._has_computed or self._is_one_ready()):
            return "wait"
        # Before anything was computed, another GPU's first clips may still be on their way.
        patience = self.idle_seconds * (1 if self._has_computed else _FIRST_PATIENCE)
        return "hand back" if self.clock() - self._last_change >= patience else "wait"

    def _is_one_ready(self) -> bool:
        """Whether a sound GPU has its networks: if it has nothing to do, all that is left was sent to banned ones."""
        entered = [self.gpus[gpu] for gpu in self._entered]
        return any(not record.is_banned and record.starting is None for record in entered)

    def _is_starting(self) -> bool:
        now = self.clock()
        starts = [record.starting for record in self.gpus.values() if record.starting is not None]
        return any(now - start < _START_SECONDS for start in starts)
