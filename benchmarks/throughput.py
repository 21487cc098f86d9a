"""Clips and tiers that cost nothing, so that the way in between is measured: ledger, object store, driver.

`scaling.py` prints what this measures.
"""

from __future__ import annotations

import os
import tempfile
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import psutil
import pyarrow as pa
import ray
import torch
from sleeping import METADATA

from m3ray.config import ComputeConfig, DecodeConfig, LimitsConfig, TierConfigs
from m3ray.pipelines.extraction import crash_guard, dataflow, decode_stage, planning
from m3ray.pipelines.extraction.decode_stage import DecodeStage
from m3ray.pipelines.runtime.cluster import Resources
from m3ray.pipelines.runtime.progress import Progress
from m3ray.schema import vector_schema
from m3ray.storage.root import Root
from m3ray.tiers import WeightedValue, Window, WindowFeatures

REAL, TINY = (45, 256, 256, 3), (1, 8, 8, 3)  # 3 s at 15 frames a second, 8.85 MB; and 192 bytes
LEDGER_METHODS = [name for name, value in vars(crash_guard.Ledger).items() if callable(value) and name[0] != "_"]
MARK_SECONDS = 0.2  # a mark asks for every process


class TouchTier:
    """Reads every byte of the frames, and no more."""

    name, whole_clip, untrained = "touch", True, False

    @property
    def schema(self) -> pa.Schema:
        return vector_schema("touch", 2)

    def identity(self) -> dict[str, Any]:
        return {"tier": "touch"}

    def setup(self, device: torch.device) -> None:
        pass

    def compute(self, windows: Sequence[Window]) -> list[WindowFeatures]:
        sums = [np.asarray(window.frames).reshape(-1).view(np.uint64).max() for window in windows]
        return [{"touch": WeightedValue(np.array([value % 251, 1.0]), 1)} for value in sums]


class NoDecoder:
    """Hands out the same frames for whatever bytes."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.frames = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)

    def windows_in_one_pass(self, data: bytes) -> Iterator[tuple[int, Any, np.ndarray]]:
        yield 0, METADATA, self.frames

    def windows(self, data: bytes, **_: Any) -> Iterator[tuple[Any, np.ndarray]]:
        yield METADATA, self.frames


class NoReads:
    """Reads nothing."""

    def read(self, uri: str, max_bytes: int) -> bytes:
        return b""


class StageWithoutDecoder(DecodeStage):
    """The decoding stage with all that it does around a clip, its ledger too, but without video and decoder."""

    def __init__(self, shape: tuple[int, ...], *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.shape = shape
        self.retry = NoReads()  # type: ignore[assignment]

    def __call__(self, batch: pa.Table) -> Iterator[pa.Table]:
        decoder = NoDecoder(self.shape)
        vars(decode_stage).update(process_decoder=lambda *_: decoder)  # of the worker process
        yield from super().__call__(batch)


class CountingLedger(crash_guard.Ledger):
    """A ledger that counts its calls."""

    def report(self) -> tuple[int, Counter[str]]:
        """Id of its process, and the number of calls of each method."""
        return os.getpid(), vars(self).setdefault("calls", Counter())


def _count_calls(name: str) -> Callable[..., Any]:
    def call(self: Any, *args: Any, **options: Any) -> Any:
        vars(self).setdefault("calls", Counter())[name] += 1
        return getattr(crash_guard.Ledger, name)(self, *args, **options)

    return call


for _name in LEDGER_METHODS:
    setattr(CountingLedger, _name, _count_calls(_name))


@dataclass
class Mark:
    """What stood at a moment: time, clips committed, CPU seconds of each process by kind."""

    time: float
    clips: int
    cpu: dict[str, float]


@dataclass(frozen=True)
class Rate:
    """Clips a second in the middle of a run, and CPU milliseconds a clip of each kind of process."""

    clips: int
    seconds: float
    cpu_ms: dict[str, float]
    calls: dict[str, float]

    @property
    def clips_a_second(self) -> float:
        return self.clips / self.seconds


def read_cpu_seconds(kinds: dict[int, str] | None = None) -> dict[str, float]:
    """CPU seconds so far of this process and all below it, by kind; some are told by their process id."""
    seconds: dict[str, float] = defaultdict(float)
    for pid, (kind, used) in _read_processes().items():
        seconds[(kinds or {}).get(pid) or kind] += used
    return seconds


def _read_processes() -> dict[int, tuple[str, float]]:
    """Process id to kind and CPU seconds so far, of this process and all below it."""
    found = {}
    for process in [psutil.Process(), *psutil.Process().children(recursive=True)]:
        try:
            used = process.cpu_times()
            found[process.pid] = (_tell_kind(process), used.user + used.system)
        except psutil.Error:
            continue
    return found


def _tell_kind(process: psutil.Process) -> str:
    if process.pid == os.getpid():
        return "driver"
    return "raylet and gcs" if process.name().startswith(("raylet", "gcs_server")) else "workers"


class Sampler:
    """Takes a sample twice a second while a block runs."""

    def sample(self) -> None:
        """Take a sample."""
        raise TypeError(f"{type(self).__name__} samples nothing")

    def __enter__(self) -> Self:
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._stop.wait(0.5):
            self.sample()


class CpuSampler(Sampler):
    """CPU seconds by kind of process, those included that have ended meanwhile."""

    def __init__(self) -> None:
        self._processes: dict[int, tuple[str, float]] = {}
        self.samples: list[tuple[float, dict[str, float]]] = []
        self.sample()

    def sample(self) -> None:
        """Read all processes."""
        self._processes |= _read_processes()
        total: dict[str, float] = defaultdict(float)
        for kind, seconds in self._processes.values():
            total[kind] += seconds
        self.samples.append((time.time(), total))

    def between(self, first: float, last: float) -> dict[str, float]:
        """CPU seconds between two times of `time.time()`, by kind."""
        times = [sample for sample, _ in self.samples]
        used = {}
        for kind in self.samples[-1][1]:
            start, end = np.interp([first, last], times, [seconds[kind] for _, seconds in self.samples])
            used[kind] = float(end - start)
        return used


class Meter:
    """Marks the progress of an extraction while it runs."""

    def __init__(self) -> None:
        self.marks: list[Mark] = []
        self.ledgers: list[Any] = []
        self.ledger_pid, self.calls = 0, Counter[str]()

    @contextmanager
    def watch(self) -> Iterator[None]:
        """Count what extractions do inside the block."""
        add, start, ledger = Progress.add, vars(dataflow)["start_ledger"], crash_guard.Ledger

        def add_and_mark(progress: Progress, done: int, rejected: int, seconds: dict[str, float]) -> None:
            add(progress, done, rejected, seconds)
            self._mark(progress.done)

        def start_and_keep(limits: LimitsConfig) -> Any:
            vars(crash_guard).update(Ledger=CountingLedger)
            self.ledgers.append(start(limits))
            return self.ledgers[-1]

        Progress.add = add_and_mark  # type: ignore[method-assign, assignment]
        vars(dataflow).update(start_ledger=start_and_keep)
        try:
            yield
            _, self.calls = ray.get(self.ledgers[0].report.remote())
        finally:
            Progress.add = add  # type: ignore[method-assign]
            vars(dataflow).update(start_ledger=start)
            vars(crash_guard).update(Ledger=ledger)

    def _mark(self, clips: int) -> None:
        if not self.ledger_pid:
            self.ledger_pid, _ = ray.get(self.ledgers[0].report.remote())
        if not self.marks or time.perf_counter() - self.marks[-1].time > MARK_SECONDS:
            self.marks.append(Mark(time.perf_counter(), clips, self._cpu_seconds()))

    def _cpu_seconds(self) -> dict[str, float]:
        return read_cpu_seconds({self.ledger_pid: "ledger"})

    def rate(self, rows: int) -> Rate:
        """Compute the rate between the first mark and the last, start and end of the run apart."""
        if len(self.marks) < 2:
            raise SystemExit("the run was too short for a rate: give more clips")
        first, last = self.marks[0], self.marks[-1]
        clips = last.clips - first.clips
        spent = {kind: 1000 * (last.cpu[kind] - first.cpu[kind]) / clips for kind in last.cpu}
        calls = {name: count / rows for name, count in self.calls.items() if count > rows / 1000}
        return Rate(clips, last.time - first.time, spent, calls)


def measure_extraction(on: Resources, shape: tuple[int, ...], clips: int, compute: ComputeConfig) -> Rate:
    """Run an extraction whose frames have a shape; cost of everything but decoding and tiers."""
    ids = [f"{k:08d}" for k in range(clips)]
    meter, configs, limits = Meter(), TierConfigs(), LimitsConfig()
    with tempfile.TemporaryDirectory() as out, meter.watch():
        table = pa.table({"clip_id": ids, "uri": [f"/nowhere/{name}.mp4" for name in ids]})
        plan = planning.plan(Root(out), table, [TouchTier()], configs, retry=False)
        settings = dataflow.Settings(configs, limits, compute, on)

        def make_stage(ledger: Any) -> Any:
            return StageWithoutDecoder(shape, DecodeConfig(), limits, ledger=ledger)

        dataflow.run(plan, settings, make_decode_stage=make_stage)
    return meter.rate(clips)


@ray.remote(num_cpus=0)
def _make_block(count: int) -> pa.Table:
    frames = np.random.default_rng(0).integers(0, 256, int(np.prod(REAL)), dtype=np.uint8)
    return pa.table({"frames": pa.array([frames.tobytes()] * count, pa.large_binary())})


@ray.remote(num_cpus=0)
def _touch_block(table: pa.Table) -> int:
    return sum(int(np.frombuffer(value.as_buffer(), np.uint64).max() % 251) for value in table["frames"].chunk(0))


def measure_store(blocks: int = 8, clips: int = 8) -> float:
    """Measure MB a second of one chain of tasks: a process writes a block to the object store, another reads it."""
    ray.get(_touch_block.remote(_make_block.remote(1)))
    start = time.perf_counter()
    for _ in range(blocks):
        ray.get(_touch_block.remote(_make_block.remote(clips)))
    return blocks * clips * np.prod(REAL) / 1e6 / (time.perf_counter() - start)


def measure_ledger(calls: int = 2000) -> float:
    """Measure the calls a second that a ledger answers one client that waits for each tenth."""
    ledger = crash_guard.start_ledger(LimitsConfig())
    node = ray.get_runtime_context().get_node_id()
    ray.get(ledger.begin.remote(["decode:x"], node))
    start = time.perf_counter()
    for k in range(0, calls, 10):
        refs = [ledger.begin.remote([f"decode:{k + j}"], node) for j in range(10)]
        ray.get(refs)
    seconds = time.perf_counter() - start
    ray.kill(ledger)
    return calls / seconds
