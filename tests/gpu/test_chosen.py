"""Convolutions that are chosen by timing on a real GPU: right whatever was chosen, and no slower than PyTorch's own."""

import copy

import pytest
import torch

from m3ray.tiers.backbones import fill_untrained_, prepare_network
from m3ray.tiers.backbones.chosen import ChosenConvolution
from m3ray.tiers.backbones.convolution_ways import WayChooser, measure_on_gpu
from m3ray.tiers.backbones.csn import CSN
from m3ray.tiers.backbones.fused import fuse_convolutions_

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU"),
]
GPU = torch.device("cuda", 0)
# Relative norms: sums in another order; in bfloat16 roundings after each of some twenty layers.
BOUNDS = {torch.float32: 1e-4, torch.bfloat16: 2e-2}


@pytest.mark.parametrize("precision", list(BOUNDS))
@torch.inference_mode()
def test_features_are_the_plain_network_s_and_come_no_later(precision):
    plain = prepare_network(fill_untrained_(CSN((1, 2, 1, 1), "ip")), GPU, precision)
    chooser = WayChooser()
    chosen = fuse_convolutions_(copy.deepcopy(plain), lambda layer: ChosenConvolution(layer, chooser))
    x = torch.randn(4, 16, 128, 128, 3, device=GPU, dtype=precision).movedim(-1, 1)
    for batch in (4, 4, 2):
        found, expected = chosen(x[:batch]).float(), plain(x[:batch]).float()
        assert ((found - expected).norm() / expected.norm()).item() < BOUNDS[precision]
    tried = {name for taken in chooser.milliseconds.values() for name in taken}
    assert {"plain", "cuDNN, fused", "native", "three 2-D"} <= tried, "else a way fails on each of its layers here"
    # A timing, but of a choice: what was chosen was faster layer by layer. Half as much again is no noise.
    assert measure_on_gpu(lambda: chosen(x)) < 1.5 * measure_on_gpu(lambda: plain(x))
