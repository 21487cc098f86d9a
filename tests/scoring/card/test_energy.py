"""Energy of the jobs of a bundle's root."""

import pytest

from m3ray.scoring.card.energy import find_usage
from m3ray.storage.root import Root


def test_the_jobs_of_the_root_are_added_up(tmp_path):
    root = Root(str(tmp_path))
    root.write_json(
        {"devices": [{"device": "CPU", "hours": 2.0, "kwh": 0.01, "how": "TDP x time"}]}, "runs", "a", "summary.json"
    )
    gpu = {"device": "L4", "hours": 1.0, "kwh": 0.07, "how": "measured (codecarbon)"}
    cpu = {"device": "CPU", "hours": 1.0, "kwh": 0.005, "how": "TDP x time"}
    root.write_json({"devices": [gpu, cpu]}, "runs", "b", "summary.json")
    root.write_json({"status": "failed"}, "runs", "c", "summary.json")
    root.write_bytes(b"{}", "runs", "d", "config.json")
    used = find_usage(f"{root.uri}/models/m3s")
    assert (used.jobs, [(d.device, d.hours) for d in used.devices]) == (2, [("L4", 1.0), ("CPU", 3.0)])
    assert used.kwh == pytest.approx(0.085)
    assert used.kilograms == pytest.approx(0.085 * 0.37)  # the paper's kg a kWh


@pytest.mark.parametrize("uri", [None, "m3s", "/models/m3s", "/tmp/cache/abc"])
def test_a_bundle_out_of_its_root_knows_nothing(uri):
    assert find_usage(uri) is None


def test_a_root_without_records_knows_nothing(tmp_path):
    assert find_usage(f"{tmp_path}/models/m3s") is None
