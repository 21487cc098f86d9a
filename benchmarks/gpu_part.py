"""What the parts of benchmarks/gpu.py share: where results go, how long a part may take, and how time is measured."""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile
from torch.utils._python_dispatch import TorchDispatchMode

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
# Without a GPU everything is small: it shows that all parts run, and no more.
SMALL = DEVICE.type == "cpu"
_FLUSHED_BYTES = 256 * 1024**2  # several times the largest L2 cache
# Calls of CUDA's runtime that put work on the device.
_LAUNCHES = (
    "cudaLaunchKernel",
    "cudaLaunchKernelExC",
    "cuLaunchKernel",
    "cuLaunchKernelEx",
    "cudaGraphLaunch",
    "cudaMemcpyAsync",
    "cudaMemsetAsync",
)


class PartSkippedError(Exception):
    """A part cannot run here; its text says why."""


@dataclass
class PartRun:
    """A part that runs: it writes each result as it comes, so that what it has measured survives it.

    Args:
        number: number of the part.
        file: JSON lines of all parts, appended to.
        seconds: time that the part should end within.
        earlier: records of the parts before it.
        written: records of this part so far.
        failures: number of measurements that failed.
    """

    number: int
    file: Path
    seconds: float
    earlier: Sequence[Mapping[str, Any]] = ()
    written: list[dict[str, Any]] = field(default_factory=list)
    failures: int = 0
    _start: float = field(default_factory=time.monotonic)

    def add(self, table: str, **values: Any) -> None:
        """Add a row to a table."""
        self.add_row(table, values)

    def add_row(self, table: str, row: Mapping[str, Any]) -> None:
        """Add a row to a table; its keys are the columns' headings, with their units."""
        self._write(kind="row", table=table, row=dict(row))

    def note(self, text: str) -> None:
        """Say what the reader of the tables must know: what was left out, and why."""
        self._write(kind="note", text=text)

    def describe_machine(self) -> None:
        """Write which device the results are of."""
        self._write(kind="machine", **describe_machine())

    def left(self) -> float:
        """Seconds that are left."""
        return self.seconds - (time.monotonic() - self._start)

    def has_time(self, seconds: float, work: str) -> bool:
        """Whether there is time for some work; notes where there is none."""
        if self.left() >= seconds:
            return True
        self.note(f"left out for want of time: {work}")
        return False

    def rows(self, table: str) -> list[dict[str, Any]]:
        """Rows of a table that this part or an earlier one has written."""
        records = (record for record in [*self.earlier, *self.written] if record["kind"] == "row")
        return [record["row"] for record in records if record["table"] == table]

    def _write(self, **record: Any) -> None:
        self.written.append({"part": self.number, **record})
        with self.file.open("a") as file:
            file.write(json.dumps(self.written[-1], default=str) + "\n")


def describe_machine() -> dict[str, Any]:
    """Name of the device, whether everything is small, and versions."""
    name = torch.cuda.get_device_name() if DEVICE.type == "cuda" else _name_processor()
    return {"device": name, "small": SMALL, "torch": torch.__version__, "cuda": torch.version.cuda}


def _name_processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    model = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "CPU")
    return f"{model}, {torch.get_num_threads()} threads"


def synchronise() -> None:
    """Wait until the device has nothing left to do."""
    if DEVICE.type == "cuda":
        torch.cuda.synchronize()


def free_memory() -> None:
    """Give cached memory back to the device, and forget the peak."""
    if DEVICE.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()


def read_peak_gib() -> float | None:
    """Peak of what PyTorch has allocated on the GPU since `free_memory`; None on a CPU."""
    return torch.cuda.max_memory_allocated() / 2**30 if DEVICE.type == "cuda" else None


def measure_seconds(
    work: Callable[[], Any], least: float = 0.3, fewest: int = 5, most: int = 50, *, cold: bool = False
) -> float:
    """Measure the median of several calls after two for warming up, on a GPU between two events of its own clock.

    Args:
        work: what is measured.
        least: seconds to go on for at least.
        fewest: fewest calls.
        most: most calls, if `least` seconds have not passed before.
        cold: whether to fill the GPU's cache with something else before each call, as the layers of a network do.
    Returns:
        Seconds of a call.
    """
    least, fewest = (least / 5, min(fewest, 2)) if SMALL else (least, fewest)
    for _ in range(1 if SMALL else 2):
        work()
    flushed = torch.empty(_FLUSHED_BYTES, dtype=torch.int8, device=DEVICE) if cold and not SMALL else None
    synchronise()
    taken: list[float] = []
    start = time.monotonic()
    while len(taken) < fewest or (time.monotonic() - start < least and len(taken) < most):
        if flushed is not None:
            flushed.zero_()
        taken.append(_measure_call(work))
    return statistics.median(taken)


def _measure_call(work: Callable[[], Any]) -> float:
    if DEVICE.type == "cpu":
        start = time.perf_counter()
        work()
        return time.perf_counter() - start
    first, last = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    first.record()
    work()
    last.record()
    last.synchronize()
    return first.elapsed_time(last) / 1e3


class _OperationCounter(TorchDispatchMode):
    """Counts the operations that compute something: views cost nothing on a device."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        returned = [value.alias_info for value in func._schema.returns]
        if not any(alias is not None and not alias.is_write for alias in returned):
            self.count += 1
        return func(*args, **(kwargs or {}))


def count_operations(work: Callable[[], Any]) -> int:
    """Count PyTorch's operations in some work, views not counted; with each at least one launch on a GPU."""
    with _OperationCounter() as counter:
        work()
    return counter.count


def count_launches(work: Callable[[], Any]) -> int | None:
    """Count what some work puts on the GPU: kernels, graphs, copies; None where there is none, or no profiler."""
    if DEVICE.type == "cpu":
        return None
    synchronise()
    with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as trace:
        work()
        synchronise()
    return sum(event.count for event in trace.key_averages() if event.key in _LAUNCHES) or None


@contextmanager
def note_failure(run: PartRun, what: str) -> Iterator[None]:
    """Note what fails, and go on after it: a measurement takes no other along either.

    Memory that runs out is an answer of its own, and no failure of the part.
    """
    try:
        yield
    except ModuleNotFoundError:  # the part cannot run here
        raise
    except Exception as error:
        fits = type(error).__name__ != "OutOfMemoryError"  # PyTorch's, and the trainer's own
        run.failures += fits
        reason = "failed" if fits else "does not fit the device's memory"
        run.note(f"{what} {reason}: {type(error).__name__}: {' '.join(str(error).split())[:200]}")
    free_memory_quietly()


def free_memory_quietly() -> None:
    """Give memory back after a measurement; a device that is lost is noticed by the next one."""
    with suppress(RuntimeError):
        free_memory()
