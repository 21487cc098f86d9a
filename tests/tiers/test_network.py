"""A network on its device: normalisation, batches of one shape, weights."""

from typing import Any

import numpy as np
import pytest
import torch
from counting import META, count_operations
from torch import nn

from m3ray.errors import WeightsError
from m3ray.tiers.backbones import fill_untrained_
from m3ray.tiers.backbones.csn import CSN
from m3ray.tiers.backbones.onednn import can_fuse
from m3ray.tiers.compiled_network import CompiledNetwork
from m3ray.tiers.event import NORMALISE
from m3ray.tiers.graphed_network import GraphedNetwork
from m3ray.tiers.network import LoadedNetwork, Network, Normalise, WeightSource, compute_vectors

CPU = torch.device("cpu")
CUDNN: Any = torch.backends.cudnn
PLAIN = Normalise((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))


class ChannelMeans(nn.Module):
    """A network whose features are the mean of each channel, times a weight."""

    def __init__(self):
        super().__init__()
        self.gain = nn.Linear(1, 1)
        self.shapes = []

    def forward(self, x):
        self.shapes.append(tuple(x.shape))
        return x.flatten(2).mean(dim=2)


def test_normalisation_by_hand():
    """255 is 1: (1 - 0.5) / 0.25 = 2; 0 is 0: -0.5 / 0.25 = -2. Channels go second."""
    frames = torch.tensor([255, 0, 255], dtype=torch.uint8).expand(2, 4, 5, 6, 3)
    x = Normalise((0.5, 0.5, 0.0), (0.25, 0.25, 1.0))(frames)
    assert x.shape == (2, 3, 4, 5, 6)
    assert x.dtype == torch.float32
    torch.testing.assert_close(x[0, :, 0, 0, 0], torch.tensor([2.0, -2.0, 1.0]))


def test_equal_shapes_are_computed_together_and_results_keep_their_order():
    module = ChannelMeans()
    network = LoadedNetwork(module, PLAIN, CPU, torch.float32)
    inputs = [np.full((side, side, 3), value, np.uint8) for side, value in ((4, 255), (2, 51), (4, 0), (2, 102))]
    values = compute_vectors(network, inputs, "mean")
    assert [v["mean"].value.tolist() for v in values] == [pytest.approx([x] * 3) for x in (1, 0.2, 0, 0.4)]
    assert {v["mean"].weight for v in values} == {1.0}
    assert module.shapes == [(2, 3, 4, 4), (2, 3, 2, 2)]


def test_batches_follow_frames_not_clips(monkeypatch):
    """A budget of 20 frames: two clips of 8 fit, one of 12, one of 30 alone; 20 images."""
    monkeypatch.setattr("m3ray.tiers.network.BATCH_FRAMES", 20)
    module = ChannelMeans()
    network = LoadedNetwork(module, PLAIN, CPU, torch.float32)
    lengths = (8, 12, 8, 30, 8, 12)
    clips = [np.full((count, 2, 2, 3), 10 * k, np.uint8) for k, count in enumerate(lengths)]
    values = compute_vectors(network, clips, "mean")
    assert [v["mean"].value[0] * 255 for v in values] == pytest.approx([0, 10, 20, 30, 40, 50])
    assert [(shape[0], shape[2]) for shape in module.shapes] == [(2, 8), (1, 8), (1, 12), (1, 12), (1, 30)]
    module.shapes.clear()
    compute_vectors(network, [clip[0] for clip in clips] * 4, "mean")
    assert [shape[0] for shape in module.shapes] == [20, 4]


def test_no_input_is_no_result():
    assert compute_vectors(LoadedNetwork(ChannelMeans(), PLAIN, CPU, torch.float32), [], "mean") == []


def test_features_are_float32_whatever_the_precision():
    network = Network(ChannelMeans, PLAIN, WeightSource(), "bfloat16").load(CPU)
    (features,) = network([torch.full((1, 2, 2, 3), 255, dtype=torch.uint8)])
    assert features.dtype == np.float32
    assert features.tolist() == [[1, 1, 1]]


def test_what_is_cut_off_is_no_more_computed():
    network = Network(lambda: nn.Sequential(ChannelMeans(), nn.Linear(3, 7)), PLAIN, WeightSource(), "float32")
    assert network.load(CPU)([torch.zeros(1, 2, 2, 3)])[0].shape == (1, 7)
    cut = Network(network.build, PLAIN, WeightSource(), "float32", cut=lambda module: module[0])
    assert cut.load(CPU)([torch.zeros(1, 2, 2, 3)])[0].shape == (1, 3)


def test_untrained_weights_follow_their_seed():
    first, again, other = (Network(lambda: nn.Linear(3, 2), PLAIN, WeightSource(seed=s), "float32") for s in (1, 1, 2))
    weights = [network.build_with_weights().weight for network in (first, again, other)]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


def test_building_draws_no_random_numbers_that_a_file_replaces(tmp_path):
    torch.save(nn.Linear(3, 2).state_dict(), tmp_path / "w.pth")
    source = WeightSource(str(tmp_path / "w.pth"))
    before = torch.random.get_rng_state()
    Network(lambda: nn.Linear(3, 2), PLAIN, source, "float32").build_with_weights()
    assert torch.equal(torch.random.get_rng_state(), before)
    Network(lambda: nn.Linear(3, 2), PLAIN, source, "float32", foldable=False).build_with_weights()
    assert not torch.equal(torch.random.get_rng_state(), before), "others may draw what is in no file"


def test_weights_that_are_not_finite_are_found_before_any_clip(tmp_path):
    module = nn.Linear(3, 2)
    torch.save(module.state_dict(), tmp_path / "good.pth")
    module.weight.data[1, 1] = torch.nan
    torch.save(module.state_dict(), tmp_path / "bad.pth")
    Network(lambda: nn.Linear(3, 2), PLAIN, WeightSource(str(tmp_path / "good.pth")), "float32").check()
    with pytest.raises(WeightsError, match=r"bad\.pth holds numbers that are not finite"):
        Network(lambda: nn.Linear(3, 2), PLAIN, WeightSource(str(tmp_path / "bad.pth")), "float32").check()


@pytest.mark.skipif(not can_fuse(torch.device("cpu"), torch.float32), reason="nothing is fused here")
def test_weights_whose_numbers_overflow_are_found_though_a_fused_relu_hides_nan(tmp_path):
    network = fill_untrained_(CSN((1, 1, 1, 1), "ip"))
    network.get_parameter("stem.0.weight").data *= 1e38
    torch.save(network.state_dict(), tmp_path / "huge.pth")
    source = WeightSource(str(tmp_path / "huge.pth"))
    with pytest.raises(WeightsError, match=r"huge\.pth numbers overflow"):
        Network(lambda: CSN((1, 1, 1, 1), "ip"), PLAIN, source, "float32").load(torch.device("cpu"))


def test_weights_are_known_by_their_hash_or_seed():
    assert WeightSource("https://a.org/w.pth", "ab").identity() == {"sha256": "ab"}
    assert WeightSource(seed=3).identity() == {"untrained_seed": 3}
    assert WeightSource().untrained
    assert not WeightSource("w.pth").untrained


class PrecisionTold(nn.Module):
    """A network that tells what float32 means while it runs: that of convolutions and that of matrix products."""

    def forward(self, x):
        self.told = (CUDNN.conv.fp32_precision, torch.backends.cuda.matmul.fp32_precision)
        self.dtype = x.dtype
        return x.flatten(2).mean(dim=2)


@pytest.mark.parametrize(
    ("precision", "told", "dtype"),
    [("float32", "ieee", torch.float32), ("tf32", "tf32", torch.float32), ("bfloat16", "ieee", torch.bfloat16)],
)
def test_precision_means_what_it_says(precision, told, dtype):
    """The default of cuDNN is TF32, which "float32" networks computed in before: off by 2.6e-4."""
    network = Network(PrecisionTold, PLAIN, WeightSource(), precision).load(CPU)
    network([torch.zeros(1, 2, 2, 3, dtype=torch.uint8)])
    assert network.module.told == (told, told)
    assert network.module.dtype == network.precision == dtype
    assert network.tf32 == (precision == "tf32")


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_batch_stays_on_its_device(precision):
    """Ceilings: launches that frames take before the network; before, 8 and 9, and two uploads."""
    network = Network(lambda: CSN((1, 1, 1, 1), "ip"), NORMALISE, WeightSource(), precision)
    loaded = LoadedNetwork(
        network.build().eval().to(META, network_dtype(precision)), NORMALISE, META, network_dtype(precision)
    )
    frames = torch.empty(2, 8, 64, 64, 3, dtype=torch.uint8, device=META)
    with torch.inference_mode():
        counted = count_operations(loaded.compute_features, frames)
        bare = count_operations(loaded.module, NORMALISE(frames).to(loaded.precision))
    assert counted.uploads == counted.downloads == 0
    assert counted.launches - bare.launches <= 2 + 2 * (precision == "bfloat16")


def network_dtype(precision):
    return getattr(torch, precision)


def test_compiled_or_not_the_features_are_the_same():
    network = Network(ChannelMeans, PLAIN, WeightSource(), "float32").load(CPU)
    frames = torch.full((2, 4, 4, 3), 51, dtype=torch.uint8)
    plain = network([frames])
    network.compile()
    assert isinstance(network._run, CompiledNetwork)
    network._run = CompiledNetwork(network.module, "eager")
    np.testing.assert_array_equal(network([frames])[0], plain[0])


def test_graphs_or_not_the_features_are_the_same():
    """A stand-in captures: it computes from the input's memory, as a replay does."""
    network = Network(ChannelMeans, PLAIN, WeightSource(), "float32").load(CPU)
    batches = [torch.full((3, 4, 4, 3), value, dtype=torch.uint8) for value in (51, 102, 153, 204)]
    plain = network(batches)
    captured = []

    def capture(run, x):
        captured.append(tuple(x.shape))
        return lambda: run(x)

    network.repeat_as_graphs()
    network._compute = GraphedNetwork(network._compute_plainly, capture)
    for found, expected in zip(network(batches), plain, strict=True):
        np.testing.assert_array_equal(found, expected)
    assert captured == [(4, 4, 4, 3)]
