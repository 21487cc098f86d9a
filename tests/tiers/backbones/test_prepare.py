"""Folded batch norms, random weights, and the precision of a device."""

import pytest
import torch
from torch import nn

from m3ray.tiers.backbones import fill_untrained_, hrnetv2_w48, prepare_network
from m3ray.tiers.backbones.prepare import fastest_precision, fold_batch_norms

CPU = torch.device("cpu")


def small_network():
    """Convolutions with norms after them in every arrangement that the published networks have."""
    inner = nn.Sequential(nn.Conv3d(4, 4, 1, bias=False), nn.BatchNorm3d(4), nn.Conv3d(4, 4, 1, bias=False))
    layers = [nn.Sequential(inner, nn.BatchNorm3d(4), nn.ReLU()), nn.Conv3d(4, 2, 1), nn.BatchNorm3d(2)]
    return fill_untrained_(nn.Sequential(*layers), 5).eval()


def test_a_folded_network_computes_the_same():
    network = small_network()
    x = torch.randn(2, 4, 3, 5, 5, generator=torch.Generator().manual_seed(0))
    folded = fold_batch_norms(network)
    assert not any(isinstance(module, nn.BatchNorm3d) for module in folded.modules())
    with torch.inference_mode():
        torch.testing.assert_close(folded(x), network(x), rtol=1e-5, atol=1e-6)
    assert any(isinstance(module, nn.BatchNorm3d) for module in network.modules()), "a copy is folded"


def test_a_folded_convolution_by_hand():
    """From y = (2x - 1) / 2 x 3 + 5, of weight 2, mean 1, variance 4 (epsilon 0), scale 3, shift 5."""
    convolution, norm = nn.Conv2d(1, 1, 1, bias=False), nn.BatchNorm2d(1, eps=0)
    convolution.weight.data.fill_(2)
    norm.running_mean.fill_(1)
    norm.running_var.fill_(4)
    norm.weight.data.fill_(3)
    norm.bias.data.fill_(5)
    folded = fold_batch_norms(nn.Sequential(convolution, norm))[0]
    assert folded.weight.item() == pytest.approx(3)
    assert folded.bias.item() == pytest.approx(-1.5 + 5)


def test_a_norm_that_follows_no_convolution_stays():
    network = nn.Sequential(nn.ReLU(), nn.BatchNorm2d(3))
    assert isinstance(fold_batch_norms(network)[1], nn.BatchNorm2d)


@pytest.mark.parametrize("in_place", [False, True])
def test_a_prepared_network_is_a_copy_unless_in_place(in_place):
    network = small_network().train()
    ready = prepare_network(network, CPU, torch.bfloat16, in_place=in_place)
    assert (ready is network) == in_place
    assert not ready.training
    assert {p.dtype for p in ready.parameters()} == {torch.bfloat16}
    assert not any(p.requires_grad for p in ready.parameters())
    assert ready[1].weight.is_contiguous(memory_format=torch.channels_last_3d)


def test_a_network_whose_order_is_not_known_is_not_folded():
    ready = prepare_network(small_network(), CPU, torch.float32, fold=False)
    assert any(isinstance(module, nn.BatchNorm3d) for module in ready.modules())


def test_untrained_weights_depend_on_a_tensor_s_name_alone():
    one, two = nn.ModuleDict({"a": nn.Linear(3, 2)}), nn.ModuleDict({"b": nn.Linear(3, 2), "a": nn.Linear(3, 2)})
    fill_untrained_(one, 7)
    fill_untrained_(two, 7)
    assert torch.equal(one["a"].weight, two["a"].weight)
    assert not torch.equal(two["a"].weight, two["b"].weight)


def test_untrained_activations_neither_vanish_nor_explode():
    """He's initialisation: through twenty layers the deviation stays of its order of magnitude."""
    layers = [layer for _ in range(20) for layer in (nn.Linear(256, 256, bias=False), nn.ReLU())]
    network = fill_untrained_(nn.Sequential(*layers))
    with torch.inference_mode():
        y = network(torch.randn(64, 256, generator=torch.Generator().manual_seed(0)))
    assert 0.1 < y.std() < 10


@pytest.mark.parametrize(
    ("flags", "expected"),
    [({}, torch.float32), ({"avx512_bf16": True}, torch.bfloat16), ({"amx_bf16": True}, torch.bfloat16)],
)
def test_a_processor_s_fastest_precision(monkeypatch, flags, expected):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: flags)
    assert fastest_precision(CPU) == expected


def test_untrained_weights_are_seeded():
    first, again, other = (fill_untrained_(hrnetv2_w48(), seed).state_dict()["conv1.weight"] for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
