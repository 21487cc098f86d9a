"""Which devices a job held, and for how long: sampled, as nodes of an autoscaled cluster come and go."""

from __future__ import annotations

import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import ray

from m3ray.costs import CPU, Spent, spent

_EVERY_SECONDS = 5.0
_KIND = "accelerator_type:"


class Meter:
    """Adds up device hours while it runs; energy is measured on a cluster of one node where it can be."""

    def __init__(self) -> None:
        self.hours: dict[str, float] = defaultdict(float)
        self.measured: dict[str, float] = {}

    @contextmanager
    def running(self) -> Iterator[None]:
        """Samples Ray's nodes for the length of the block; Ray is up from its start to its end."""
        stop = threading.Event()
        watch = threading.Thread(target=self._watch, args=(stop,), daemon=True)
        with _energy(self.measured):
            watch.start()
            try:
                yield
            finally:
                stop.set()
                watch.join()

    def devices(self) -> list[Spent]:
        """What each kind of device spent so far."""
        found = dict(self.hours)
        gpus = [device for device in found if device != CPU]
        kwh = {CPU: self.measured.get("cpu")}
        if len(gpus) == 1:
            kwh[gpus[0]] = self.measured.get("gpu")
        return [spent(device, hours, kwh.get(device)) for device, hours in found.items()]

    def _watch(self, stop: threading.Event) -> None:
        last = time.monotonic()
        while True:
            ended = stop.wait(_EVERY_SECONDS)
            now = time.monotonic()
            with suppress(Exception):  # a sample that the cluster does not answer is one missed
                for device, count in held(ray.nodes()).items():
                    self.hours[device] += count * (now - last) / 3600
                last = now
            if ended:
                return


def held(nodes: Sequence[Mapping[str, Any]]) -> Counter[str]:
    """Devices of the nodes that are alive: vCPUs, and GPUs by their kind."""
    found: Counter[str] = Counter()
    for node in nodes:
        if not node["Alive"]:
            continue
        has = node["Resources"]
        found[CPU] += int(has.get("CPU", 0))
        if has.get("GPU"):
            kind = next((name.removeprefix(_KIND) for name in has if name.startswith(_KIND)), "GPU")
            found[kind] += int(has["GPU"])
    return +found


@contextmanager
def _energy(measured: dict[str, float]) -> Iterator[None]:
    """kWh of this machine's processor and GPUs into `measured`, where codecarbon is there and counters can be read."""
    tracker, parts = _tracker()
    if tracker is None:
        yield
        return
    tracker.start()
    try:
        yield
    finally:
        with suppress(Exception):  # a report without energy is better than a job without a report
            tracker.stop()
            data = tracker.final_emissions_data
            for part in parts:
                measured[part] = measured.get(part, 0.0) + float(getattr(data, f"{part}_energy"))


def _tracker() -> tuple[Any, list[str]]:
    """codecarbon's tracker and what it can measure: `cpu` by RAPL, `gpu` by NVML; None where it would only guess."""
    if len([node for node in ray.nodes() if node["Alive"]]) != 1:
        return None, []
    try:
        from codecarbon import OfflineEmissionsTracker
        from codecarbon.core import cpu, gpu
    except ImportError:
        return None, []
    with suppress(Exception):
        checks = {"cpu": cpu.is_rapl_available, "gpu": gpu.is_gpu_details_available}
        parts = [part for part, can in checks.items() if can()]
        if parts:
            settings: dict[str, Any] = {"save_to_file": False, "log_level": "critical", "allow_multiple_runs": True}
            return OfflineEmissionsTracker(country_iso_code="USA", **settings), parts
    return None, []
