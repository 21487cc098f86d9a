"""CSN's blocks; whole networks are held against the published ones in ../test_backbones.py."""

import pytest
import torch
from counting import META, count_operations
from torch._subclasses.fake_tensor import FakeTensorMode

from m3ray.tiers.backbones import prepare_network
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


@pytest.mark.parametrize("mode", ["ip", "ir"])
def test_forward_and_backward_stay_on_their_device(mode):
    network = CSN((1, 1, 1, 1), mode).to(META)
    counted = count_operations(lambda: network(torch.empty(2, 3, 16, 64, 64, device=META)).sum().backward())
    assert counted.uploads == counted.downloads == 0
    assert all(parameter.grad.device == META for parameter in network.parameters())


def test_launches_of_a_batch():
    """Convolutions, activations and additions of 50 blocks, batch norms folded."""
    network = prepare_network(ip_csn_152().to(META), META, torch.bfloat16, in_place=True)
    with torch.inference_mode():
        counted = count_operations(network, torch.empty(4, 3, 16, 64, 64, device=META, dtype=torch.bfloat16))
    assert counted.launches <= 410


@pytest.mark.parametrize(
    ("layout", "kernel"),
    [(torch.channels_last_3d, "Cudnn"), (torch.contiguous_format, "CudaDepthwise3d")],
    ids=["channels last", "contiguous"],
)
def test_the_layout_decides_who_computes_the_depthwise_convolution(layout, kernel):
    """What PyTorch would take on a GPU: cuDNN for the layout of our networks, its own kernel for the other."""
    with FakeTensorMode():
        x = torch.empty(2, 64, 8, 32, 32, device="cuda", dtype=torch.bfloat16).to(memory_format=layout)
        weights = torch.empty(64, 1, 3, 3, 3, device="cuda", dtype=torch.bfloat16).to(memory_format=layout)
        steps = ([1] * 3, [1] * 3, [1] * 3)
        chosen = torch._C._select_conv_backend(x, weights, None, *steps, False, [0] * 3, 64)
    assert chosen.name == kernel
