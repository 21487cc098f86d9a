"""Costs of jobs: the paper's own arithmetic, and what is known of devices."""

import pytest

from m3ray.costs import (
    ASSUMED,
    MEASURED,
    RATED,
    DeviceUsage,
    cost,
    emissions_kg,
    energy_kwh,
    estimate_usage,
    parse_prices,
    sum_usage,
)
from m3ray.errors import ConfigError


def test_the_paper_s_own_arithmetic():
    """The supplement, A.5: 175 h on a V100 of 250 W in us-east-1, 0.37 kg a kWh: 16.19 kg."""
    used = estimate_usage("V100", 175)
    assert used.kwh == energy_kwh(175, 250) == 43.75
    assert round(emissions_kg(used.kwh), 2) == 16.19
    assert used.how == RATED


def test_kinds_of_a_device_share_its_power_and_unknown_ones_say_so():
    assert estimate_usage("A100-80G", 2).kwh == pytest.approx(0.8)  # 400 W
    assert estimate_usage("L4", 1).kwh == pytest.approx(0.072)  # 72 W, NVIDIA's data sheet; not the L40S's 350
    assert estimate_usage("L40S", 1).kwh == pytest.approx(0.35)
    assert estimate_usage("X9000", 10) == DeviceUsage("X9000", 10, 3.0, ASSUMED)
    assert estimate_usage("CPU", 1, measured_kwh=0.5) == DeviceUsage("CPU", 1, 0.5, MEASURED)


def test_runs_add_up_by_device():
    rows = sum_usage([estimate_usage("CPU", 10), estimate_usage("L4", 1), estimate_usage("CPU", 5, measured_kwh=1.0)])
    assert [row.device for row in rows] == ["CPU", "L4"]
    assert rows[0] == DeviceUsage("CPU", 15, pytest.approx(1.05), f"{RATED}, {MEASURED}")


def test_prices():
    prices = parse_prices(["CPU=0.04", "L4=0.8"])
    rows = [estimate_usage("CPU", 10), estimate_usage("L4", 2), estimate_usage("T4", 9)]
    assert cost(rows, prices) == pytest.approx(2.0)
    assert cost([estimate_usage("T4", 9)], prices) is None
    for wrong in ("CPU", "=1", "CPU=free", "CPU=-1"):
        with pytest.raises(ConfigError, match="DEVICE=DOLLARS"):
            parse_prices([wrong])
