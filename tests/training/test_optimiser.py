"""Adam for stacked runs, against PyTorch's."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from counting import META, count_operations
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.optim.lr_scheduler import StepLR

from m3ray.config import TrainConfig
from m3ray.model import StackedMLP
from m3ray.training import optimiser
from m3ray.training.adam_kernel import update_weights
from m3ray.training.optimiser import (
    SharedAdam,
    StackedAdam,
    make_compiled_update,
    make_optimiser,
    make_torch_update,
    make_update,
)
from m3ray.training.stacked import train_runs


def data(rows=180, columns=9, seed=0):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(rows, columns, generator=generator, dtype=torch.float64)
    y = torch.sigmoid(x[:, 0] + 0.5 * x[:, 1] + 0.3 * torch.randn(rows, generator=generator, dtype=torch.float64))
    return (x[:140], y[:140]), (x[140:], y[140:])


@pytest.mark.parametrize("block", [40, 10_000])
def test_large_layers_moved_block_by_block_are_torch_s_fused_adam_s(block, monkeypatch):
    """Reference: the same runs with every gradient written out; blocks that don't divide the layer included."""
    train, val = data()
    config = TrainConfig(hidden=(11, 5), epochs=7)
    whole = train_runs(train, val, config, [3, 4], stack=2)
    monkeypatch.setattr(optimiser, "LARGE", 50)
    monkeypatch.setattr(optimiser, "BLOCK", block)
    blocked = train_runs(train, val, config, [3, 4], stack=2)
    np.testing.assert_allclose(blocked.val, whole.val, atol=1e-12)
    np.testing.assert_allclose(blocked.train_loss, whole.train_loss, atol=1e-12)
    assert not blocked.model.consumers


def update_twice(update):
    generator = torch.Generator().manual_seed(0)
    weights, first, second = torch.randn(7, 33, generator=generator), torch.zeros(7, 33), torch.zeros(7, 33)
    for step in (1, 2):
        update(weights, torch.randn(7, 33, generator=generator), first, second, step, 1e-3)
    return weights, first, second


def test_compiled_blocks_are_torch_s():
    """Reference: PyTorch's fused Adam; 1e-6 is a few roundings of float32."""
    compiled = update_twice(make_compiled_update(update_weights, 0.1))
    for ours, theirs in zip(compiled, update_twice(make_torch_update(0.1)), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=1e-7)


def test_blocks_are_torch_s_where_nothing_can_be_compiled(monkeypatch):
    """Numba missing, or without a folder to write to: the module cannot be imported."""
    monkeypatch.setitem(sys.modules, "m3ray.training.adam_kernel", None)
    weights = torch.zeros(1, 2, 2)
    assert "make_torch_update" in make_update(weights, 0.0).__qualname__


@pytest.mark.parametrize(("dtype", "maker"), [(torch.float32, "compiled"), (torch.float64, "torch")])
def test_blocks_of_float32_are_compiled(dtype, maker):
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        assert f"make_{maker}_update" in make_update(torch.zeros(1, 2, 2, dtype=dtype), 0.0).__qualname__
    finally:
        torch.set_num_threads(before)


def test_the_stacked_adam_is_torch_s():
    torch.manual_seed(0)
    configs = [TrainConfig(learning_rate=1e-2, weight_decay=0.1), TrainConfig(learning_rate=1e-3, weight_decay=0.0)]
    stacked = torch.nn.Parameter(torch.randn(2, 3, 4, dtype=torch.float64))
    singles = [torch.nn.Parameter(row.detach().clone()) for row in stacked]
    ours = StackedAdam([stacked], configs)
    theirs = [
        torch.optim.Adam([p], lr=c.learning_rate, weight_decay=c.weight_decay)
        for p, c in zip(singles, configs, strict=True)
    ]
    for step in range(5):
        gradient = torch.randn(2, 3, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(step))
        stacked.grad = gradient
        ours.step()
        for peer, single, row in zip(theirs, singles, gradient, strict=True):
            single.grad = row
            peer.step()
    torch.testing.assert_close(stacked, torch.stack(list(singles)), rtol=1e-12, atol=1e-14)


def test_the_stacked_adam_steps_down_as_step_lr_does():
    configs = [TrainConfig(step_size=2, gamma=0.1), TrainConfig(step_size=3, gamma=0.5, learning_rate=1e-2)]
    ours = StackedAdam([], configs)
    peers = []
    for config in configs:
        adam = torch.optim.Adam([torch.nn.Parameter(torch.zeros(1))], lr=config.learning_rate)
        peers.append((adam, StepLR(adam, config.step_size, config.gamma)))
    for epoch in range(7):
        assert ours._rates == pytest.approx([adam.param_groups[0]["lr"] for adam, _ in peers])
        for adam, schedule in peers:
            adam.step()
            schedule.step()
        ours.end_epoch(epoch)


@pytest.mark.parametrize(
    ("change", "kind"), [({}, SharedAdam), ({"strength": 0.5}, SharedAdam), ({"learning_rate": 0.1}, StackedAdam)]
)
def test_runs_share_an_adam_where_its_settings_are_the_same(change, kind):
    configs = [TrainConfig(), TrainConfig(**change)]
    assert type(make_optimiser(StackedMLP(3, (4,), [0, 1]), configs)) is kind


def test_the_shared_adam_frees_gradients():
    model = StackedMLP(3, (4,), [0])
    shared = SharedAdam(model, TrainConfig())
    model(torch.ones(2, 3)).sum().backward()
    shared.zero_grad()
    assert all(parameter.grad is None for parameter in model.parameters())


def test_the_shared_adam_is_torch_s_fused_adam_to_the_bit():
    """Reference: torch.optim.Adam(fused=True). A rate that changes, and a parameter without a gradient, included."""
    model, peer = StackedMLP(5, (4, 3), [0, 1]), StackedMLP(5, (4, 3), [0, 1])
    peer.load_state_dict(model.state_dict())
    config = TrainConfig(learning_rate=0.01, weight_decay=0.1, step_size=2, gamma=0.5)
    shared = SharedAdam(model, config)
    adam = torch.optim.Adam(peer.parameters(), lr=0.01, weight_decay=0.1, fused=True)
    schedule = StepLR(adam, 2, 0.5)
    for epoch in range(5):
        for trained, optimise in ((model, shared), (peer, adam)):
            optimise.zero_grad()
            trained(torch.linspace(-1, 1, 30).reshape(6, 5)).square().sum().backward()
            if epoch == 3:
                trained.biases[0].grad = None
            optimise.step()
        shared.end_epoch(epoch)
        schedule.step()
    for ours, theirs in zip(model.parameters(), peer.parameters(), strict=True):
        assert torch.equal(ours, theirs)


def test_training_imports_no_compiler():
    """Importing torch._dynamo costs a worker more than the rest of PyTorch does."""
    program = (
        "import sys, torch\n"
        "from m3ray.config import TrainConfig\n"
        "from m3ray.training.stacked import train_runs\n"
        "x = torch.rand(40, 3)\n"
        "y = x[:, 0]\n"
        "for decay in ((0.1, 0.1), (0.1, 0.2)):\n"  # PyTorch's Adam, and the batched one
        "    configs = [TrainConfig(epochs=2, hidden=(4,), weight_decay=d) for d in decay]\n"
        "    train_runs((x[:30], y[:30]), (x[30:], y[30:]), configs, [0, 1], stack=2)\n"
        "print([name for name in ('torch._dynamo', 'torch._inductor', 'sympy') if name in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def with_gradients(device):
    model = StackedMLP(50, (512, 64), [0, 1]).to(device)
    for parameter in model.parameters():
        parameter.grad = torch.empty_like(parameter)
    return model


def test_a_step_of_the_stacked_adam_uploads_nothing():
    """72 launches for six parameters and 5 to count steps, which a captured step does on the device; rates and decays
    uploaded for each parameter would be 12 uploads a step.
    """
    configs = [TrainConfig(), TrainConfig(learning_rate=0.1)]
    ours = StackedAdam(with_gradients(META).parameters(), configs)
    counted = count_operations(ours.step)
    assert counted.uploads == counted.downloads == 0
    assert counted.launches <= 77
    counted = count_operations(ours.end_epoch, 0)
    assert counted.uploads == 1, "the rates of all parameters together, once an epoch"


@pytest.fixture
def fused_adam_on_meta():
    """PyTorch's fused Adam has no `meta` form where its rate is a tensor; it changes no shape."""
    library = torch.library.Library("aten", "IMPL")
    library.impl("_fused_adam_.tensor_lr", lambda *_, **__: None, "Meta")
    yield
    library._destroy()


def test_the_shared_adam_steps_on_a_gpu(fused_adam_on_meta):
    """On one that is pretended: PyTorch's fused Adam refuses `meta`."""
    with FakeTensorMode(allow_non_fake_inputs=True):
        with torch.device("cuda"):
            weights = torch.nn.ParameterList([torch.nn.Parameter(torch.empty(2, 3, 4))])
        weights[0].grad = torch.empty_like(weights[0])
        model = StackedMLP(4, (), [0, 1])
        model.weights, model.biases = weights, torch.nn.ParameterList()
        shared = SharedAdam(model, TrainConfig())
        assert not shared._blocked, "blocks are for a processor's cache"
        counted = count_operations(shared.step)
        rate = shared._adam.rate
        shared.end_epoch(4)
        assert shared._adam.rate is rate, "a captured step reads the rate where it was"
    assert counted.uploads == counted.downloads == 0
