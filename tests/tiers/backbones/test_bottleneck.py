"""The residual block of three convolutions. The reference is torchvision's."""

import pytest
import torch
from torchvision.models import resnet

from m3ray.tiers.backbones import fill_untrained_
from m3ray.tiers.backbones.bottleneck import EXPANSION, Bottleneck


@pytest.mark.parametrize(("inputs", "width", "stride"), [(8, 4, 2), (8, 4, 1), (16, 4, 1)])
def test_a_block_is_torchvision_s_and_what_its_layers_say(inputs, width, stride):
    block = Bottleneck(inputs, width, stride)
    fill_untrained_(block).eval()
    shortcut = None
    if stride != 1 or inputs != width * EXPANSION:
        convolution = torch.nn.Conv2d(inputs, width * EXPANSION, 1, stride, bias=False)
        shortcut = torch.nn.Sequential(convolution, torch.nn.BatchNorm2d(width * EXPANSION))
    own = resnet.Bottleneck(inputs, width, stride, shortcut).eval()
    own.load_state_dict(block.state_dict())
    x = torch.randn(2, inputs, 10, 10, generator=torch.Generator().manual_seed(0))
    layers, layer = block.residual_layers()
    with torch.inference_mode():
        expected = own(x.clone())
        torch.testing.assert_close(block(x.clone()), expected)
        torch.testing.assert_close(torch.relu(layers(x) + (x if layer is None else layer(x))), expected)
