"""Devices of a cluster's nodes, as Ray lists them."""

import time

import pytest

from m3ray.pipelines.runtime import device_meter


def node(alive=True, **resources):
    return {"Alive": alive, "Resources": {"node:1": 1.0, **resources}}


def test_devices_of_the_nodes_that_are_alive():
    l4 = {"CPU": 16.0, "GPU": 2.0, "accelerator_type:L4": 1.0}
    nodes = [node(CPU=8.0), node(**l4), node(**l4), node(alive=False, **l4), node(CPU=4.0, GPU=1.0), node(CPU=0.0)]
    assert device_meter.count_devices(nodes) == {"CPU": 44, "L4": 4, "GPU": 1}


def test_hours_are_device_hours_and_go_on_from_block_to_block(monkeypatch):
    monkeypatch.setattr(device_meter, "_EVERY_SECONDS", 0.02)
    monkeypatch.setattr(device_meter.ray, "nodes", lambda: [node(CPU=2.0, GPU=1.0, **{"accelerator_type:T4": 1.0})])
    monkeypatch.setattr(device_meter, "_make_tracker", lambda: (None, []))
    meter = device_meter.DeviceMeter()
    start = time.monotonic()
    for _ in range(2):
        with meter.measure():
            time.sleep(0.1)
    most = (time.monotonic() - start) / 3600
    cpu, gpu = meter.devices()
    assert (cpu.device, gpu.device) == ("CPU", "T4")
    assert cpu.hours == pytest.approx(2 * gpu.hours)
    assert 0.2 / 3600 <= gpu.hours <= most


def test_measured_energy_stands_in_place_of_the_rated(monkeypatch):
    class Tracker:
        final_emissions_data = type("Data", (), {"cpu_energy": 0.25, "gpu_energy": 0.5})

        def start(self):
            pass

        stop = start

    monkeypatch.setattr(device_meter.ray, "nodes", lambda: [node(CPU=2.0, GPU=1.0, **{"accelerator_type:T4": 1.0})])
    monkeypatch.setattr(device_meter, "_make_tracker", lambda: (Tracker(), ["gpu"]))
    meter = device_meter.DeviceMeter()
    with meter.measure():
        pass
    cpu, gpu = meter.devices()
    assert (gpu.kwh, gpu.how) == (0.5, "measured (codecarbon)")
    assert cpu.how == "TDP x time", "RAPL could not be read"
