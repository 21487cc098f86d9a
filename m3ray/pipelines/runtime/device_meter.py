"""Which devices a job used, and for how long: sampled, as nodes of an autoscaled cluster come and go."""

from __future__ import annotations

import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import ray

from m3ray.costs import CPU, DeviceUsage, estimate_usage

_EVERY_SECONDS = 5.0
_KIND = "accelerator_type:"


class DeviceMeter:
    """Add up device hours; on a cluster of one node the energy is measured too, where it can be."""

    def __init__(self) -> None:
        self.hours: dict[str, float] = defaultdict(float)
        self.measured: dict[str, float] = {}

    @contextmanager
    def measure(self) -> Iterator[None]:
        """Sample Ray's nodes for the length of the block; Ray is up from its start to its end."""
        stop = threading.Event()
        watch = threading.Thread(target=self._watch, args=(stop,), daemon=True)
        with _measure_energy(self.measured):
            watch.start()
            try:
                yield
            finally:
                stop.set()
                watch.join()

    def devices(self) -> list[DeviceUsage]:
        """Hours and energy of each kind of device so far."""
        hours_by_device = dict(self.hours)
        gpus = [device for device in hours_by_device if device != CPU]
        kwh = {CPU: self.measured.get("cpu")}
        if len(gpus) == 1:
            kwh[gpus[0]] = self.measured.get("gpu")
        return [estimate_usage(device, hours, kwh.get(device)) for device, hours in hours_by_device.items()]

    def _watch(self, stop: threading.Event) -> None:
        last = time.monotonic()
        while True:
            ended = stop.wait(_EVERY_SECONDS)
            now = time.monotonic()
            with suppress(Exception):  # a sample that the cluster does not answer is one missed
                for device, count in count_devices(ray.nodes()).items():
                    self.hours[device] += count * (now - last) / 3600
                last = now
            if ended:
                return


def count_devices(nodes: Sequence[Mapping[str, Any]]) -> Counter[str]:
    """Count the devices of the nodes that are alive.

    Args:
        nodes: nodes as `ray.nodes()` lists them.
    Returns:
        Number of vCPUs, under `CPU`, and of each kind of GPU.
    """
    counts: Counter[str] = Counter()
    for node in nodes:
        if not node["Alive"]:
            continue
        resources = node["Resources"]
        counts[CPU] += int(resources.get("CPU", 0))
        if resources.get("GPU"):
            kind = next((name.removeprefix(_KIND) for name in resources if name.startswith(_KIND)), "GPU")
            counts[kind] += int(resources["GPU"])
    return +counts


@contextmanager
def _measure_energy(measured: dict[str, float]) -> Iterator[None]:
    """Add the kWh of this machine's processor and GPUs to `measured`, if codecarbon is installed and can read them."""
    tracker, parts = _make_tracker()
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


def _make_tracker() -> tuple[Any, list[str]]:
    """Tracker of codecarbon and what it can measure: `cpu` by RAPL, `gpu` by NVML; None where it would only guess."""
    if len([node for node in ray.nodes() if node["Alive"]]) != 1:
        return None, []
    try:
        from codecarbon import OfflineEmissionsTracker
        from codecarbon.core import cpu, gpu
    except ImportError:
        return None, []
    with suppress(Exception):
        probes = {"cpu": cpu.is_rapl_available, "gpu": gpu.is_gpu_details_available}
        parts = [part for part, can_read in probes.items() if can_read()]
        if parts:
            settings: dict[str, Any] = {"save_to_file": False, "log_level": "critical", "allow_multiple_runs": True}
            return OfflineEmissionsTracker(country_iso_code="USA", **settings), parts
    return None, []
