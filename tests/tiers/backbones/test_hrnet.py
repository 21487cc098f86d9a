"""HRNet's parts; the whole network is held against the published one in ../test_backbones.py."""

import pytest
import torch
from counting import META, count_operations
from torch.nn import functional

from m3ray.tiers.backbones import fill_untrained_, prepare_network
from m3ray.tiers.backbones.hrnet import FEATURES, HighResolutionModule, hrnetv2_w48, pool_as_if_enlarged


@pytest.mark.parametrize(("small", "large"), [((4, 6), (16, 24)), ((1, 1), (8, 8)), ((5, 3), (9, 12))])
def test_pooling_equals_enlarging_and_averaging(small, large):
    x = torch.randn(2, 3, *small, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    enlarged = functional.interpolate(x, size=large, mode="bilinear", align_corners=False)
    torch.testing.assert_close(pool_as_if_enlarged(x, torch.Size(large)), enlarged.mean(dim=(2, 3)))


def test_pooling_by_hand():
    """0 and 1 enlarged to four are 0, 1/4, 3/4, 1: a half on average."""
    assert pool_as_if_enlarged(torch.tensor([[[[0.0, 1.0]]]]), torch.Size((1, 4))).item() == 0.5


def test_the_four_branches_halve_size_and_double_channels():
    with torch.device("meta"):
        branches = hrnetv2_w48().branches(torch.empty(1, 3, 64, 96))
    assert [tuple(b.shape[1:]) for b in branches] == [(48, 16, 24), (96, 8, 12), (192, 4, 6), (384, 2, 3)]
    assert sum(b.shape[1] for b in branches) == FEATURES == 720


def test_every_branch_of_a_module_sees_every_other():
    module = fill_untrained_(HighResolutionModule(2), 1).eval()
    inputs = [torch.rand(1, 48, 8, 8), torch.rand(1, 96, 4, 4)]
    with torch.inference_mode():
        before = module(inputs)
        for source in (0, 1):
            changed = [x + (k == source) for k, x in enumerate(inputs)]
            assert all(not torch.equal(a, b) for a, b in zip(module(changed), before, strict=True))


def test_a_fusion_keeps_no_layer_for_a_branch_itself():
    keys = HighResolutionModule(3).state_dict()
    assert not any(key.startswith(f"fuse_layers.{k}.{k}.") for key in keys for k in range(3))


def test_forward_and_backward_stay_on_their_device():
    network = hrnetv2_w48().to(META)
    counted = count_operations(lambda: network(torch.empty(2, 3, 64, 64, device=META)).sum().backward())
    assert counted.uploads == counted.downloads == 0
    assert all(parameter.grad.device == META for parameter in network.parameters())


def test_launches_of_a_batch():
    """779; before 803: weights of the pooling were made anew for each batch."""
    network = prepare_network(hrnetv2_w48().to(META), META, torch.bfloat16, in_place=True)
    with torch.inference_mode():
        counted = count_operations(network, torch.empty(4, 3, 64, 64, device=META, dtype=torch.bfloat16))
    assert counted.uploads == counted.downloads == 0
    assert counted.launches <= 779
