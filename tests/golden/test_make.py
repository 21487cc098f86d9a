"""The scripts that made the reference files still give them; those of the two networks take minutes (see README.md)."""

import importlib
import json

import numpy as np
import pytest
from golden.reference_files import largest_difference
from recipes import GOLDEN

# Beyond rounding: other versions of a library may differ, but by less than the tests that read the figures allow.
BOUNDS = {"raw": 1e-6, "flow": 1e-5, "similarity": 1e-5, "softrank": 1e-9}


@pytest.mark.parametrize("name", BOUNDS)
def test_a_script_gives_its_file(name):
    script = importlib.import_module(f"golden.make_{name}")
    assert largest_difference(name, script.compute()) < BOUNDS[name]


@pytest.mark.integration  # CSN-152 twice, in float64
@pytest.mark.parametrize("name", ["ip_csn_152", "ir_csn_152"])
def test_torchvision_s_video_resnet_gives_the_published_csn(name):
    script = importlib.import_module("golden.make_csn")
    assert largest_difference(name, script.compute(script.NETWORKS[name])) < 1e-12


@pytest.mark.parametrize("name", ["ip_csn_152", "ir_csn_152"])
def test_torchvision_s_video_resnet_has_the_published_keys(name):
    script = importlib.import_module("golden.make_csn")
    assert script.keys(script.NETWORKS[name]) == json.loads((GOLDEN / f"{name}.keys.json").read_text())


def test_every_file_has_a_script():
    text = "".join(path.read_text() for path in GOLDEN.glob("make_*.py"))
    assert {path.stem for path in GOLDEN.glob("*.npz") if f'"{path.stem}"' not in text} == set()


def test_a_difference_is_relative_to_the_largest_number(monkeypatch, tmp_path):
    np.savez(tmp_path / "any.npz", x=np.array([1.0, 100.0]))
    monkeypatch.setattr("golden.reference_files.golden", lambda name: np.load(tmp_path / f"{name}.npz"))
    assert largest_difference("any", {"x": np.array([2.0, 100.0])}) == 0.01
    with pytest.raises(AssertionError, match="the script computes"):
        largest_difference("any", {"y": np.zeros(2)})
