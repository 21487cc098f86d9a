"""CSN's blocks; whole networks are held against the published ones in ../test_backbones.py."""

import pytest
import torch

from m3ray.tiers.backbones.csn import CSN, FEATURES, Bottleneck, ip_csn_152, ir_csn_152


def test_parameters_are_the_paper_s():
    """Tran et al. 2019, in millions: ip-CSN-152 32.8, ir-CSN-152 29.6, both with a classifier of 400 classes."""
    with torch.device("meta"):
        ip, ir = (sum(p.numel() for p in build().parameters()) for build in (ip_csn_152, ir_csn_152))
    classifier = (FEATURES + 1) * 400
    assert (ip + classifier) / 1e6 == pytest.approx(32.8, abs=0.3)
    assert (ir + classifier) / 1e6 == pytest.approx(29.6, abs=0.3)


@pytest.mark.parametrize("mode", ["ip", "ir"])
def test_a_block_s_channels_are_separated(mode):
    """3x3x3 convolutions see their own channel alone; the preserved kind mixes channels before."""
    block = Bottleneck(16, 8, 1, mode)
    (depthwise,) = [m for m in block.modules() if getattr(m, "kernel_size", None) == (3, 3, 3)]
    assert depthwise.groups == depthwise.in_channels == 8
    mixing = [m for m in block.conv2.modules() if getattr(m, "kernel_size", None) == (1, 1, 1)]
    assert len(mixing) == (mode == "ip")


def test_a_stride_halves_time_and_space_in_the_block_and_in_its_shortcut():
    block = Bottleneck(32, 8, 2, "ip").eval()
    assert block(torch.zeros(1, 32, 8, 6, 4)).shape == (1, 32, 4, 3, 2)
    assert block.downsample is not None


def test_a_block_that_keeps_shape_and_channels_has_no_projection():
    block = Bottleneck(32, 8, 1, "ir")
    assert block.downsample is None


def test_any_length_and_size_give_one_vector_a_clip():
    network = CSN((1, 1, 1, 1), "ir").eval()
    with torch.inference_mode():
        assert network(torch.zeros(2, 3, 9, 40, 33)).shape == (2, FEATURES)
