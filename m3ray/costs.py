"""What jobs cost: device hours, energy, CO2 and dollars (the supplement, A.5)."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from m3ray.config.presets import CARBON
from m3ray.errors import ConfigError

CPU = "CPU"
# Watts of a device by Ray's name for it: thermal design power from the makers' data sheets; for a V100 the paper's 250.
# A vCPU is a hardware thread of a server processor: about 300 W over 64 of them (Xeon 8375C, EPYC 7R13).
WATTS = {
    CPU: 5.0,
    "V100": 250.0,
    "P100": 250.0,
    "T4": 70.0,
    "L4": 72.0,
    "L40S": 350.0,
    "A10G": 150.0,
    "A100": 400.0,
    "H100": 700.0,
    "H200": 700.0,
    "B200": 1000.0,
}
_ASSUMED_WATTS = 300.0

MEASURED, RATED, ASSUMED = "measured (codecarbon)", "TDP x time", f"{_ASSUMED_WATTS:g} W assumed x time"


@dataclass(frozen=True)
class DeviceUsage:
    """Use of one kind of device.

    Args:
        device: `CPU` (a vCPU), or the GPU's name.
        hours: device hours.
        kwh: energy, kWh.
        how: how the energy was determined, in words.
    """

    device: str
    hours: float
    kwh: float
    how: str


def energy_kwh(hours: float, watts: float) -> float:
    """Energy of a device.

    Args:
        hours: device hours.
        watts: power that it draws, W.
    Returns:
        Energy, kWh.
    """
    return hours * watts / 1000


def emissions_kg(kwh: float, carbon: float = CARBON) -> float:
    """CO2 of an amount of energy.

    Args:
        kwh: energy, kWh.
        carbon: CO2 of the grid, kg a kWh.
    Returns:
        CO2, kg.
    """
    return kwh * carbon


def estimate_usage(device: str, hours: float, measured_kwh: float | None = None) -> DeviceUsage:
    """Estimate the energy of device hours: as measured, else from the thermal design power.

    Args:
        device: `CPU` (a vCPU), or the GPU's name.
        hours: device hours.
        measured_kwh: energy that was measured, kWh; None if it was not.
    Returns:
        The use of the device; an unknown device is taken to draw 300 W.
    """
    if measured_kwh is not None:
        return DeviceUsage(device, hours, measured_kwh, MEASURED)
    model = next((name for name in sorted(WATTS, key=len, reverse=True) if device.upper().startswith(name)), None)
    watts = _ASSUMED_WATTS if model is None else WATTS[model]
    return DeviceUsage(device, hours, energy_kwh(hours, watts), ASSUMED if model is None else RATED)


def sum_usage(parts: Iterable[DeviceUsage]) -> list[DeviceUsage]:
    """Sum the use of each device.

    Args:
        parts: uses of devices, of several runs.
    Returns:
        One row a device, those with most energy first; `how` names each way in which its energy was determined.
    """
    by_device: dict[str, list[DeviceUsage]] = {}
    for part in parts:
        by_device.setdefault(part.device, []).append(part)
    rows = [
        DeviceUsage(
            device,
            sum(part.hours for part in group),
            sum(part.kwh for part in group),
            ", ".join(dict.fromkeys(part.how for part in group)),
        )
        for device, group in by_device.items()
    ]
    return sorted(rows, key=lambda row: -row.kwh)


def parse_prices(texts: Iterable[str]) -> dict[str, float]:
    """Parse prices of devices.

    Args:
        texts: texts of the form `DEVICE=DOLLARS`, dollars an hour.
    Returns:
        Device to dollars an hour.
    Raises:
        ConfigError: If one is not of that form.
    """
    prices = {}
    for text in texts:
        device, _, dollars = text.partition("=")
        price = _parse_price(dollars)
        if device and price is not None:
            prices[device] = price
        else:
            raise ConfigError(f"--price {text!r}: expected DEVICE=DOLLARS an hour, as in --price CPU=0.04 L4=0.80")
    return prices


def _parse_price(text: str) -> float | None:
    """A number of dollars, None where `text` is none or below zero."""
    try:
        price = float(text)
    except ValueError:
        return None
    return price if 0 <= price < math.inf else None


def cost(rows: Iterable[DeviceUsage], prices: Mapping[str, float]) -> float | None:
    """Cost of the devices that have a price.

    Args:
        rows: uses of devices.
        prices: device to dollars an hour.
    Returns:
        Dollars; None if no device has a price.
    """
    costs = [row.hours * prices[row.device] for row in rows if row.device in prices]
    return sum(costs) if costs else None
