"""Fused convolutions of CPUs against the plain modules, layer by layer and as whole networks."""

import copy

import pytest
import torch
from torch import nn
from torch.profiler import ProfilerActivity, profile

from m3ray.tiers.backbones import fill_untrained_, prepare_network
from m3ray.tiers.backbones.bottleneck import Bottleneck
from m3ray.tiers.backbones.csn import CSN
from m3ray.tiers.backbones.fused import FusedBlock, fuse_convolutions_
from m3ray.tiers.backbones.hrnet import BasicBlock, HighResolutionModule
from m3ray.tiers.backbones.onednn import OneDnnConvolution, can_fuse

CPU = torch.device("cpu")
# Relative to the largest value. A sum in another order in float32; in bfloat16 (8 bits of mantissa) roundings after
# each of some twenty layers, of which fusing leaves out half.
BOUNDS = {torch.float32: 1e-5, torch.bfloat16: 2e-2}
pytestmark = pytest.mark.skipif(not can_fuse(CPU, torch.float32), reason="needs an x86 CPU and PyTorch with oneDNN")
PRECISIONS = [
    torch.float32,
    pytest.param(
        torch.bfloat16,
        marks=pytest.mark.skipif(not can_fuse(CPU, torch.bfloat16), reason="needs a CPU with AVX-512"),
    ),
]


def make_pair(network, precision):
    plain = prepare_network(fill_untrained_(network), CPU, precision)
    return plain, fuse_convolutions_(copy.deepcopy(plain), OneDnnConvolution)


def noise(*shape, precision):
    x = torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float32)
    return x.to(precision).movedim(-1, 1)


def largest_difference(found, expected):
    return ((found.float() - expected.float()).abs().max() / expected.float().abs().max()).item()


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("mode", ["ip", "ir"])
@torch.inference_mode()
def test_a_csn_s_features_are_the_plain_one_s_for_every_shape(mode, precision):
    plain, fused = make_pair(CSN((1, 2, 1, 1), mode), precision)
    for batch, frames in ((1, 8), (2, 9), (1, 16)):  # weights are packed for the first
        x = noise(batch, frames, 32, 32, 3, precision=precision)
        assert largest_difference(fused(x), plain(x)) < BOUNDS[precision]
    assert not any(isinstance(m, nn.Conv3d | nn.ReLU | nn.Identity) for m in fused.modules())
    assert sum(isinstance(m, FusedBlock) for m in fused.modules()) == 5


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize(
    ("build", "channels"),
    [(lambda: Bottleneck(64, 64), 64), (lambda: Bottleneck(256, 64), 256), (lambda: BasicBlock(48), 48)],
)
@torch.inference_mode()
def test_hrnet_s_blocks_are_the_plain_ones(build, channels, precision):
    plain, fused = make_pair(nn.Sequential(build(), build() if channels != 64 else nn.Identity()), precision)
    x = noise(2, 16, 16, channels, precision=precision)
    assert largest_difference(fused(x.clone()), plain(x)) < BOUNDS[precision]


@pytest.mark.parametrize("precision", PRECISIONS)
@torch.inference_mode()
def test_hrnet_s_branches_do_not_overwrite_each_other(precision):
    """Blocks write over their input: the sum of all branches needs each branch's output."""
    plain, fused = make_pair(HighResolutionModule(3), precision)
    inputs = [noise(1, 16 >> k, 16 >> k, 48 << k, precision=precision) for k in range(3)]
    for found, expected in zip(fused([x.clone() for x in inputs]), plain(inputs), strict=True):
        assert largest_difference(found, expected) < BOUNDS[precision]


@torch.inference_mode()
def test_no_pointwise_operation_is_left_in_a_csn():
    """Before: a ReLU for each of three convolutions and an addition, each a pass over memory."""
    _, fused = make_pair(CSN((1, 1, 1, 1), "ip"), torch.float32)
    x = noise(1, 8, 32, 32, 3, precision=torch.float32)
    fused(x)
    with profile(activities=[ProfilerActivity.CPU]) as trace:
        fused(x)
    names = {event.key for event in trace.key_averages()}
    assert names & {"aten::relu_", "aten::relu", "aten::add_", "aten::add", "aten::clamp_min_"} == set()
    assert "mkldnn::_convolution_pointwise" in names


@torch.inference_mode()
def test_batch_norms_that_are_not_folded_stay():
    plain = fill_untrained_(CSN((1, 1, 1, 1), "ir")).eval().requires_grad_(False)
    fused = fuse_convolutions_(copy.deepcopy(plain), OneDnnConvolution)
    x = noise(1, 8, 32, 32, 3, precision=torch.float32)
    assert largest_difference(fused(x), plain(x)) < BOUNDS[torch.float32]
    assert not any(isinstance(m, FusedBlock) for m in fused.modules())
