"""Convolutions with what follows them on CPUs with oneDNN: where they serve, and what they hold."""

import pytest
import torch
from torch import nn

from m3ray.tiers.backbones.csn import CSN
from m3ray.tiers.backbones.fused import FusedBlock
from m3ray.tiers.backbones.onednn import OneDnnConvolution, can_fuse
from m3ray.tiers.event import NORMALISE
from m3ray.tiers.network import Network, WeightSource

CPU = torch.device("cpu")
pytestmark = pytest.mark.skipif(not can_fuse(CPU, torch.float32), reason="needs an x86 CPU and PyTorch with oneDNN")


@torch.inference_mode()
def test_weights_are_packed_once_and_held_once():
    convolution = nn.Conv2d(8, 8, 3, padding=1).requires_grad_(False)
    x = torch.randn(1, 8, 6, 6)
    expected = convolution(x)
    fused = OneDnnConvolution(convolution)
    torch.testing.assert_close(fused(x), expected)
    packed = fused._packed
    fused(x)
    assert fused._packed is packed
    assert fused.weight is None


def test_networks_are_fused_on_a_cpu_alone():
    network = Network(lambda: CSN((1, 1, 1, 1), "ip"), NORMALISE, WeightSource(), "float32").load(CPU)
    assert any(isinstance(m, FusedBlock) for m in network.module.modules())
    assert not can_fuse(torch.device("cuda"), torch.float32)
    assert not can_fuse(CPU, torch.float16)
