"""Networks of convolutions whose ways are chosen, against the plain ones. No GPU: clocks are stand-ins."""

import copy
import itertools

import pytest
import torch
from torch import nn

from m3ray.tiers.backbones import convolution_ways as ways
from m3ray.tiers.backbones import fill_untrained_, prepare_network
from m3ray.tiers.backbones.chosen import ChosenConvolution
from m3ray.tiers.backbones.convolution_ways import WayChooser
from m3ray.tiers.backbones.csn import CSN
from m3ray.tiers.backbones.fused import FusedBlock, fuse_convolutions_
from m3ray.tiers.backbones.hrnet import HighResolutionModule


def noise(*shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(0)).movedim(-1, 1)


@pytest.mark.parametrize("mode", ["ip", "ir"])
@torch.inference_mode()
def test_a_csn_of_chosen_convolutions_is_the_plain_one(mode, monkeypatch):
    """The other ways always win, so that each layer goes through one that a CPU has."""
    monkeypatch.setattr(ways, "find_spec", lambda _: None)
    plain = prepare_network(fill_untrained_(CSN((1, 2, 1, 1), mode)), torch.device("cpu"), torch.float32)
    turns = itertools.count()
    chooser = WayChooser(lambda call: (call(), 0.5 ** next(turns))[1])
    chosen = fuse_convolutions_(copy.deepcopy(plain), lambda layer: ChosenConvolution(layer, chooser))
    x = noise(1, 8, 32, 32, 3)
    for _ in range(2):  # the first call chooses, the second takes what was chosen
        torch.testing.assert_close(chosen(x), plain(x), rtol=1e-4, atol=1e-5)
    assert ways.compute_by_planes in chooser._chosen.values()
    assert sum(isinstance(m, FusedBlock) for m in chosen.modules()) == 5
    assert not any(isinstance(m, nn.ReLU) for m in chosen.modules())


@torch.inference_mode()
def test_hrnet_s_branches_do_not_overwrite_each_other():
    plain = prepare_network(fill_untrained_(HighResolutionModule(3)), torch.device("cpu"), torch.float32)
    chooser = WayChooser(lambda call: (call(), 1.0)[1])
    chosen = fuse_convolutions_(copy.deepcopy(plain), lambda layer: ChosenConvolution(layer, chooser))
    inputs = [noise(1, 16 >> k, 16 >> k, 48 << k) for k in range(3)]
    for found, expected in zip(chosen([x.clone() for x in inputs]), plain(inputs), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_deterministic_algorithms_are_not_chosen_by_a_clock():
    layer = nn.Conv3d(4, 4, 3, padding=1, groups=4)
    chosen = ChosenConvolution(layer, WayChooser(lambda _: pytest.fail("nothing is timed")))
    x = torch.randn(1, 4, 3, 4, 4)
    torch.use_deterministic_algorithms(True)
    try:
        found = chosen(x)
    finally:
        torch.use_deterministic_algorithms(False)
    assert torch.equal(found, layer(x)), "and computed as PyTorch chooses"
