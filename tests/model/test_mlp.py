import math

import pytest
import torch

from m3ray.errors import ShapeError
from m3ray.model import MLP
from m3ray.model.mlp import StackedMLP, parameter_count


# The supplement, Table 3: features and parameters of M3-S and M3 on Memento10k.
@pytest.mark.parametrize(("features", "parameters"), [(3_635, 1_894_529), (2_783, 1_458_305)])
def test_parameters_are_the_paper_s(features, parameters):
    assert parameter_count(features, (512, 64)) == parameters
    assert sum(p.numel() for p in MLP(features).parameters()) == parameters


def test_each_run_begins_as_a_plain_mlp_of_its_seed():
    stacked = StackedMLP(12, (7, 5), [3, 4])
    for run, seed in enumerate((3, 4)):
        torch.manual_seed(seed)
        plain = MLP(12, (7, 5))
        for name, value in plain.state_dict().items():
            assert torch.equal(stacked.extract_run(run).state_dict()[name], value), name


def test_stacked_equals_each_run():
    stacked = StackedMLP(12, (7,), [0, 1, 2])
    x = torch.randn(3, 9, 12)
    expected = torch.stack([stacked.extract_run(k)(x[k]) for k in range(3)])
    torch.testing.assert_close(stacked(x), expected)
    torch.testing.assert_close(stacked(x[0]), torch.stack([stacked.extract_run(k)(x[0]) for k in range(3)]))
    assert ((stacked(x) > 0) & (stacked(x) < 1)).all()


def test_wrong_widths_are_named():
    with pytest.raises(ShapeError, match="12"):
        StackedMLP(12, (7,), [0])(torch.zeros(3, 11))


def test_an_mlp_by_hand():
    """Two layers of weight 1 and bias 0: sigmoid(mish(x)), mish(x) = x tanh(ln(1 + e^x))."""
    network = MLP(1, (1,))
    for layer in network.layers:
        torch.nn.init.ones_(layer.weight)
        torch.nn.init.zeros_(layer.bias)
    mish = 2 * math.tanh(math.log(1 + math.exp(2)))
    assert network(torch.tensor([2.0])).item() == pytest.approx(1 / (1 + math.exp(-mish)))


def test_gradients_of_stacked_runs_are_those_of_each_run():
    stacked = StackedMLP(5, (4,), [0, 1])
    x, targets = torch.randn(2, 6, 5), torch.rand(2, 6)
    (stacked(x) - targets).square().sum().backward()
    for k in range(2):
        plain = stacked.extract_run(k)
        (plain(x[k]) - targets[k]).square().sum().backward()
        for layer, weight, bias in zip(plain.layers, stacked.weights, stacked.biases, strict=True):
            torch.testing.assert_close(weight.grad[k], layer.weight.grad)
            torch.testing.assert_close(bias.grad[k], layer.bias.grad)


def test_a_consumer_gets_the_factors_of_a_gradient_in_its_place():
    stacked, reference = StackedMLP(5, (4,), [0, 1]), StackedMLP(5, (4,), [0, 1])
    x, factors = torch.randn(2, 6, 5), []
    reference(x).sum().backward()
    stacked.consumers[0] = lambda gradient, inputs: factors.append(gradient.mT @ inputs)
    stacked(x).sum().backward()
    assert stacked.weights[0].grad is None
    torch.testing.assert_close(factors[0], reference.weights[0].grad)
    torch.testing.assert_close(stacked.weights[1].grad, reference.weights[1].grad)


def test_features_of_another_number_of_runs_are_named():
    with pytest.raises(ShapeError, match=r"expected \(..., 5\) for 2 runs, got \(3, 6, 5\)"):
        StackedMLP(5, (4,), [0, 1])(torch.zeros(3, 6, 5))


@pytest.mark.parametrize("hidden", [(), (4,)])
def test_a_model_that_starts_at_a_score_gives_it_to_all(hidden):
    stacked = StackedMLP(5, hidden, [0, 1])
    stacked.start_at(0.8)
    torch.testing.assert_close(stacked(torch.randn(6, 5)), torch.full((2, 6), 0.8))


def test_the_score_that_it_started_at_becomes_a_part_of_its_bias():
    stacked = StackedMLP(5, (4,), [0, 1])
    stacked.start_at(0.8)
    torch.nn.init.normal_(stacked.weights[-1])
    x = torch.randn(6, 5)
    before = stacked(x).detach()
    stacked.end_at_bias()
    torch.testing.assert_close(stacked(x), before)
    torch.testing.assert_close(stacked.extract_run(1)(x), before[1])
    torch.testing.assert_close(StackedMLP.from_state(stacked.state_dict())(x), before)
