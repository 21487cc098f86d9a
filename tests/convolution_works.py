"""Convolutions of a CSN's kinds with all that may follow them, for the ways to compute them."""

import torch

from m3ray.tiers.backbones.convolution_ways import ConvolutionSettings, Work, compute_plainly

ONES = (1, 1, 1)


def make_work(shape=(2, 8, 5, 6, 7), stride=1, *, bias=True, shortcut=False, has_relu=False, pointwise=False):
    generator = torch.Generator().manual_seed(0)

    def draw(*size):
        return torch.randn(size, generator=generator)

    channels, size = shape[1], 1 if pointwise else 3
    x = draw(*shape).to(memory_format=torch.channels_last_3d)
    weight = draw(channels, channels if pointwise else 1, size, size, size)
    padding, groups = ((0, 0, 0), 1) if pointwise else (ONES, channels)
    work = Work(x, weight, draw(channels) if bias else None, ConvolutionSettings((stride,) * 3, padding, ONES, groups))
    added = draw(*compute_plainly(work).shape) if shortcut else None
    return Work(work.x, weight, work.bias, work.settings, added, has_relu)


KINDS = [
    {},
    {"stride": 2},
    {"shape": (1, 4, 4, 7, 8), "stride": 2},
    {"bias": False},
    {"has_relu": True},
    {"shortcut": True},
    {"shortcut": True, "has_relu": True, "stride": 2},
    {"shape": (1, 3, 1, 4, 4)},
]
