"""What jobs cost beyond patience: device hours, energy, CO2, dollars (the supplement, A.5)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from m3ray.config.presets import CARBON
from m3ray.errors import ConfigError

CPU = "CPU"
# Watts of a device by Ray's name for it: thermal design power from the makers' data sheets; of a V100 the paper's 250.
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
_UNKNOWN = 300.0

MEASURED, RATED, ASSUMED = "measured (codecarbon)", "TDP x time", f"{_UNKNOWN:g} W assumed x time"


@dataclass(frozen=True)
class Spent:
    """What one kind of device spent.

    Args:
        device: `CPU` (a vCPU), or a GPU's name.
        hours: of one device.
        kwh: energy.
        how: the energy is known.
    """

    device: str
    hours: float
    kwh: float
    how: str


def energy_kwh(hours: float, watts: float) -> float:
    """Energy of a device that draws `watts` for `hours`."""
    return hours * watts / 1000


def emissions_kg(kwh: float, carbon: float = CARBON) -> float:
    """CO2 of an energy on a grid of `carbon` kg a kWh."""
    return kwh * carbon


def spent(device: str, hours: float, measured_kwh: float | None = None) -> Spent:
    """Hours of a device with their energy: as measured, else from its thermal design power."""
    if measured_kwh is not None:
        return Spent(device, hours, measured_kwh, MEASURED)
    known = next((name for name in sorted(WATTS, key=len, reverse=True) if device.upper().startswith(name)), None)
    watts = _UNKNOWN if known is None else WATTS[known]
    return Spent(device, hours, energy_kwh(hours, watts), ASSUMED if known is None else RATED)


def together(parts: Iterable[Spent]) -> list[Spent]:
    """One row a device, those that cost most energy first; what was known in several ways says so."""
    by_device: dict[str, list[Spent]] = {}
    for part in parts:
        by_device.setdefault(part.device, []).append(part)
    rows = [
        Spent(
            device,
            sum(part.hours for part in found),
            sum(part.kwh for part in found),
            ", ".join(dict.fromkeys(part.how for part in found)),
        )
        for device, found in by_device.items()
    ]
    return sorted(rows, key=lambda row: -row.kwh)


def parse_prices(given: Iterable[str]) -> dict[str, float]:
    """`DEVICE=DOLLARS` an hour, each, as a dictionary.

    Raises:
        ConfigError: one that is not of that form.
    """
    prices = {}
    for text in given:
        device, _, dollars = text.partition("=")
        try:
            prices[device] = float(dollars)
        except ValueError:
            prices[device] = -1.0
        if not device or prices[device] < 0:
            raise ConfigError(f"--price {text!r}: expected DEVICE=DOLLARS an hour, as in --price CPU=0.04 L4=0.80")
    return prices


def cost(rows: Iterable[Spent], prices: Mapping[str, float]) -> float | None:
    """Dollars of the devices that have a price; None where none has."""
    known = [row.hours * prices[row.device] for row in rows if row.device in prices]
    return sum(known) if known else None
