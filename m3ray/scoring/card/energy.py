"""What the jobs of the root that a bundle lies in have used: device hours and energy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from m3ray.costs import DeviceUsage, emissions_kg, sum_usage
from m3ray.storage.root import Root

_RUNS, _SUMMARY = "runs", "summary.json"


@dataclass(frozen=True)
class Used:
    """Use of devices by all recorded jobs of a root.

    Args:
        jobs: number of jobs that recorded their devices.
        devices: use of each kind of device.
    """

    jobs: int
    devices: tuple[DeviceUsage, ...]

    @property
    def kwh(self) -> float:
        """Energy of all devices, kWh."""
        return sum(device.kwh for device in self.devices)

    @property
    def kilograms(self) -> float:
        """CO2 of that energy at the grid's mean carbon intensity, kg."""
        return emissions_kg(self.kwh)


def find_usage(uri: str | None) -> Used | None:
    """Find what was used by the jobs of the root that a bundle lies in.

    Args:
        uri: the bundle's folder, `ROOT/models/NAME`; None: it is in no folder.
    Returns:
        The use of devices; None where the folder lies in no root, or no job recorded its devices.
    """
    above, models, _ = (uri or "").rstrip("/").rpartition("/models/")
    if not models or not above:
        return None
    root, summaries = Root(above), []
    for name in root.list_names(_RUNS):
        if root.exists(_RUNS, name, _SUMMARY):
            summaries.append(_read_devices(root.read_json(_RUNS, name, _SUMMARY)))
    used = [devices for devices in summaries if devices]
    return Used(len(used), tuple(sum_usage(part for devices in used for part in devices))) if used else None


def _read_devices(summary: Mapping[str, Any]) -> list[DeviceUsage]:
    return [DeviceUsage(**part) for part in summary.get("devices") or ()]
