"""Networks as graphs: buckets, how many are kept, and what happens where none can be made. A stand-in captures."""

import warnings

import pytest
import torch

from m3ray.tiers import graphed_network
from m3ray.tiers.graphed_network import CudaCapture, GraphedNetwork


class StandIn:
    """Captures as CUDA does: a replay computes from the input's memory, and writes to the same output each time."""

    def __init__(self):
        self.captured, self.replays = [], 0

    def __call__(self, run, x):
        self.captured.append(tuple(x.shape))
        out = run(x).clone()

        def replay():
            self.replays += 1
            return out.copy_(run(x))

        return replay


class Means:
    """A network whose features are each clip's own mean, by channel; it notes the batches it is given."""

    def __init__(self):
        self.batches = []

    def __call__(self, frames):
        self.batches.append(tuple(frames.shape))
        return frames.float().flatten(1, -2).mean(dim=1)


def clips(batch, frames=2, first=0):
    return torch.arange(first, first + batch, dtype=torch.uint8)[:, None, None, None, None].expand(
        batch, frames, 2, 2, 3
    )


def values(features):
    return features[:, 0].tolist()


@pytest.fixture
def graphed():
    stand_in, network = StandIn(), Means()
    return GraphedNetwork(network, stand_in), stand_in, network


def test_a_shape_is_captured_at_its_third_appearance(graphed):
    network, stand_in, _ = graphed
    for _ in range(2):
        network(clips(2))
    assert stand_in.captured == []
    for _ in range(2):
        network(clips(2))
    assert stand_in.captured == [(2, 2, 2, 2, 3)]
    assert stand_in.replays == 2


def test_batches_of_other_numbers_share_the_next_power_of_two_and_get_their_own_rows(graphed):
    network, stand_in, _ = graphed
    for first, batch in enumerate((3, 4, 3, 3, 4)):
        assert values(network(clips(batch, first=first))) == [first + k for k in range(batch)]
    assert stand_in.captured == [(4, 2, 2, 2, 3)]
    assert stand_in.replays == 3


def test_features_are_not_overwritten_by_the_next_batch(graphed):
    network, _, _ = graphed
    for _ in range(2):
        network(clips(2))
    first = network(clips(2, first=5))
    network(clips(2, first=50))
    assert values(first) == [5, 6]


def test_the_graphs_used_last_are_kept(graphed, monkeypatch):
    monkeypatch.setattr(graphed_network, "_KEPT", 2)
    network, stand_in, _ = graphed
    for frames in (1, 2, 1, 3):  # 3 takes the place of 2, which was used before 1
        for _ in range(3):
            network(clips(1, frames))
    assert [shape[1] for shape in stand_in.captured] == [1, 2, 3]
    network(clips(1, 1))
    assert len(stand_in.captured) == 3, "1 is still there"
    for _ in range(3):
        network(clips(1, 2))
    assert [shape[1] for shape in stand_in.captured] == [1, 2, 3, 2], "2 is captured anew, at a third appearance"


def test_large_batches_and_deterministic_ones_are_not_captured(graphed):
    network, stand_in, inner = graphed
    for _ in range(4):
        network(clips(3, 100))  # 4 x 100 frames
    torch.use_deterministic_algorithms(True)
    try:
        for _ in range(4):
            network(clips(3))
    finally:
        torch.use_deterministic_algorithms(False)
    assert stand_in.captured == []
    assert {shape[0] for shape in inner.batches} == {3}, "nor padded"


def test_images_count_as_one_frame_each(graphed):
    network, stand_in, _ = graphed
    for _ in range(3):
        network(torch.zeros(2, 300, 2, 3, dtype=torch.uint8))  # 300 pixels high
    assert stand_in.captured == [(2, 300, 2, 3)]


def test_where_none_can_be_made_all_is_computed_as_it_comes_and_said_once():
    def fail(run, x):
        raise RuntimeError("operation not permitted when stream is capturing\nmore")

    network = GraphedNetwork(Means(), fail)
    for _ in range(2):
        network(clips(3))
    with pytest.warns(UserWarning, match=r"without CUDA graphs .*\(4, 2, 2, 2, 3\) \(operation not permitted"):
        assert values(network(clips(3))) == [0, 1, 2]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(4):
            assert values(network(clips(3))) == [0, 1, 2]


def test_memory_that_runs_out_frees_the_graphs_and_reaches_whoever_halves_the_batch(graphed):
    network, stand_in, _ = graphed
    for _ in range(3):
        network(clips(2))
    run, network._run = network._run, lambda frames: (_ for _ in ()).throw(torch.OutOfMemoryError("CUDA out of memory"))
    with pytest.raises(torch.OutOfMemoryError):
        network(clips(3))
    assert not network._graphs
    network._run = run
    for _ in range(4):
        network(clips(2))
    assert len(stand_in.captured) == 1


@pytest.mark.skipif(torch.cuda.is_available(), reason="what happens without a GPU")
def test_cuda_s_own_capture_fails_into_the_plain_network():
    network = GraphedNetwork(Means(), CudaCapture())
    network(clips(1))
    network(clips(1))
    with pytest.warns(UserWarning, match="without CUDA graphs"):
        assert values(network(clips(1))) == [0]
