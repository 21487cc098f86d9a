import pytest
import torch

from m3ray.errors import ShapeError
from m3ray.model import MLP, StackedMLP, parameter_count


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
            assert torch.equal(stacked.run(run).state_dict()[name], value), name


def test_stacked_equals_each_run():
    stacked = StackedMLP(12, (7,), [0, 1, 2])
    x = torch.randn(3, 9, 12)
    expected = torch.stack([stacked.run(k)(x[k]) for k in range(3)])
    torch.testing.assert_close(stacked(x), expected)
    torch.testing.assert_close(stacked(x[0]), torch.stack([stacked.run(k)(x[0]) for k in range(3)]))
    assert ((stacked(x) > 0) & (stacked(x) < 1)).all()


def test_wrong_widths_are_named():
    with pytest.raises(ShapeError, match="12"):
        StackedMLP(12, (7,), [0])(torch.zeros(3, 11))
