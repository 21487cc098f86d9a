"""Parity with the published networks; reference figures: golden/*.npz, by independent implementations in float64."""

import json
from functools import cache

import numpy as np
import pytest
import torch
from recipes import GOLDEN, fill, golden

from m3ray.errors import ShapeError
from m3ray.tiers.backbones import (
    hrnetv2_w48,
    ip_csn_152,
    ir_csn_152,
    prepare_network,
)
from m3ray.tiers.backbones.prepare import fold_batch_norms

NETWORKS = {"hrnetv2_w48": hrnetv2_w48, "ip_csn_152": ip_csn_152, "ir_csn_152": ir_csn_152}
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def filled():
    @cache
    def build(name):
        network = NETWORKS[name]().eval()
        network.load_state_dict(fill(network.state_dict()))
        return network

    return build


def reference_input(name):
    figures = golden(name)
    generator = torch.Generator().manual_seed(int(figures["seed"]))
    x = torch.randn(tuple(int(n) for n in figures["shape"]), generator=generator, dtype=torch.float64)
    return x, figures["features"]


def relative(found, expected):
    return np.linalg.norm(found.double().numpy() - expected) / np.linalg.norm(expected)


@pytest.mark.parametrize("name", NETWORKS)
def test_keys_and_shapes_are_those_of_the_published_file(name):
    expected = json.loads((GOLDEN / f"{name}.keys.json").read_text())
    expected = {key: shape for key, shape in expected.items() if not key.startswith("fc.")}
    found = {key: list(value.shape) for key, value in NETWORKS[name]().state_dict().items()}
    assert found == expected


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("ready", [False, True], ids=["plain", "folded, channels last"])
def test_features_equal_the_reference_in_float32(filled, name, ready):
    x, expected = reference_input(name)
    network = prepare_network(filled(name), CPU, torch.float32) if ready else filled(name)
    with torch.inference_mode():
        assert relative(network(x.float()), expected) < 1e-5


@pytest.mark.integration  # bfloat16 is emulated, and slow, where processors have no units for it
@pytest.mark.parametrize("name", NETWORKS)
def test_features_equal_the_reference_in_bfloat16(filled, name):
    x, expected = reference_input(name)
    with torch.inference_mode():
        found = prepare_network(filled(name), CPU, torch.bfloat16)(x.bfloat16())
    assert relative(found, expected) < 2e-2


@pytest.mark.parametrize("name", NETWORKS)
def test_a_batch_equals_its_clips_one_by_one(filled, name):
    shape = (4, 3, 64, 64) if name.startswith("hrnet") else (4, 3, 8, 64, 64)
    x = torch.randn(shape, generator=torch.Generator().manual_seed(1))
    network = fold_batch_norms(filled(name))
    with torch.inference_mode():
        together, apart = network(x), torch.cat([network(one[None]) for one in x])
    torch.testing.assert_close(together, apart, rtol=1e-4, atol=1e-5)


def test_folding_leaves_no_batch_norm(filled):
    kinds = {type(module) for module in fold_batch_norms(filled("ip_csn_152")).modules()}
    assert not kinds & {torch.nn.BatchNorm2d, torch.nn.BatchNorm3d}


def test_the_fused_pooling_equals_enlarging_and_averaging(filled):
    """Reference: the branches enlarged by `interpolate` and averaged, as the published encoder's output is."""
    network = filled("hrnetv2_w48")
    x = torch.randn(1, 3, 96, 64, generator=torch.Generator().manual_seed(2))
    with torch.inference_mode():
        branches = network.branches(x)
        size = branches[0].shape[-2:]
        enlarged = [torch.nn.functional.interpolate(b, size=size, mode="bilinear") for b in branches]
        torch.testing.assert_close(network(x), torch.cat(enlarged, 1).mean((2, 3)), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("name", "shape"), [("hrnetv2_w48", (1, 4, 64, 64)), ("ip_csn_152", (1, 8, 3, 64, 64))])
def test_wrong_shapes_are_named(name, shape):
    with pytest.raises(ShapeError, match="takes"):
        NETWORKS[name]()(torch.zeros(shape))
