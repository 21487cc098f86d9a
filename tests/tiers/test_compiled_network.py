"""torch.compile of networks: how often it compiles, and what happens where it cannot. The backend counts, and runs."""

import copy
import warnings
from functools import partial

import pytest
import torch
from compile_backend import CountedBackend
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode

from m3ray.tiers.backbones import fill_untrained_, hrnetv2_w48, prepare_network
from m3ray.tiers.backbones.chosen import ChosenConvolution
from m3ray.tiers.backbones.convolution_ways import WayChooser
from m3ray.tiers.backbones.csn import CSN
from m3ray.tiers.backbones.fused import fuse_convolutions_
from m3ray.tiers.backbones.hrnet import pool_as_if_enlarged
from m3ray.tiers.backbones.prepare import fold_batch_norms_
from m3ray.tiers.compiled_network import CompiledNetwork
from m3ray.tiers.precision import float32_precision

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def _fresh():
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


def on_pretended_gpu(build):
    """A network as `Network.load` makes it for a GPU, but of tensors without numbers, on a GPU that is not there."""
    with torch.device("cuda"):
        network = fold_batch_norms_(build().eval().requires_grad_(False))
        network = fuse_convolutions_(network, partial(ChosenConvolution, chooser=WayChooser()))
    for module in network.modules():
        for name, value in list(module.named_parameters(recurse=False)):
            layout = {4: torch.channels_last, 5: torch.channels_last_3d}.get(value.ndim, torch.preserve_format)
            setattr(module, name, nn.Parameter(value.detach().to(torch.bfloat16, memory_format=layout), False))
    return network


def count_compilations(build, shapes):
    """Compilations after each of the inputs (B, [T,] H, W, 3) on a pretended GPU, whose kernels set the guards."""
    backend, counts = CountedBackend(), []
    with FakeTensorMode(allow_non_fake_inputs=True):
        compiled = CompiledNetwork(on_pretended_gpu(build), backend)
        with torch.inference_mode():
            for shape in shapes:
                compiled(torch.empty(shape, device="cuda", dtype=torch.bfloat16).movedim(-1, 1))
                counts.append(backend.compilations)
    return counts


def test_clips_of_any_number_and_length_take_four_compilations():
    """Sizes of 1 are apart: one clip, and 8 frames, of which one is left. CUDA graphs were one for each of the 24."""
    pairs = [(b, t) for b in (1, 2, 3, 16) for t in (8, 9, 16, 24, 45, 105)]
    counts = count_compilations(lambda: CSN((1, 1, 1, 1), "ip"), [(b, t, 32, 32, 3) for b, t in pairs])
    assert counts[-1] == 4
    assert counts[:2] == [1, 2]
    assert set(counts[:6]) == {1, 2}, "lengths beyond 8 are one kind"


class Branches(nn.Module):
    """HRNet but for its pooling, whose constants are uploaded in earnest."""

    def __init__(self):
        super().__init__()
        self.network = hrnetv2_w48()

    def forward(self, x):
        return self.network.branches(x)[0]


@pytest.mark.integration
def test_images_of_any_number_take_two_compilations():
    counts = count_compilations(Branches, [(batch, 64, 64, 3) for batch in (4, 1, 2, 3, 8, 16)])
    assert counts == [1, 2, 2, 2, 2, 2]


def test_the_numbers_are_the_network_s_own_for_every_shape():
    csn = prepare_network(CSN((1, 1, 1, 1), "ip"), CPU, torch.float32)
    compiled = CompiledNetwork(csn, CountedBackend())
    with torch.inference_mode(), float32_precision():
        for batch, frames in ((2, 16), (3, 9), (1, 8)):
            x = torch.rand(batch, frames, 32, 32, 3, generator=torch.Generator().manual_seed(frames)).movedim(-1, 1)
            torch.testing.assert_close(compiled(x), csn(x))


def test_a_compiled_network_holds_its_constants():
    """No upload within the graph: HRNet's pooling weights are tensors of it."""
    graphs = []

    def keep(graph, examples):
        graphs.append(graph)
        return graph.forward

    class Pooling(nn.Module):
        def forward(self, x):
            return pool_as_if_enlarged(x, torch.Size((8, 8)))

    x = torch.rand(2, 3, 4, 4)
    torch.testing.assert_close(CompiledNetwork(Pooling(), keep)(x), pool_as_if_enlarged(x, torch.Size((8, 8))))
    assert [node.name for node in graphs[0].graph.nodes if node.op.startswith("call")] == ["einsum"]


class Broken:
    """A backend that cannot compile."""

    def __call__(self, graph, examples):
        raise ValueError("no such kernel")


def test_a_network_that_cannot_be_compiled_runs_without_from_then_on_and_says_so_once():
    network = nn.Flatten()
    compiled = CompiledNetwork(network, Broken())
    x = torch.ones(2, 3, 4, 4)
    with pytest.warns(UserWarning, match=r"Flatten runs without torch.compile .*\(2, 3, 4, 4\).*--compute.compile"):
        assert torch.equal(compiled(x), network(x))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert torch.equal(compiled(x[:1]), network(x[:1]))


def test_errors_of_the_network_itself_are_its_own():
    """Memory that runs out must reach whoever can halve the batch."""

    def no_memory(graph, examples):
        def run(*inputs):
            raise torch.OutOfMemoryError("CUDA out of memory")

        return run

    with pytest.raises(torch.OutOfMemoryError):
        CompiledNetwork(nn.Flatten(), no_memory)(torch.ones(2, 3, 4, 4))


def test_too_many_compilations_end_in_the_plain_network(monkeypatch):
    monkeypatch.setattr("m3ray.tiers.compiled_network._LIMIT", 1)
    compiled = CompiledNetwork(nn.Flatten(), CountedBackend())
    compiled(torch.ones(2, 3, 4, 4))
    with pytest.warns(UserWarning, match="without torch.compile"):
        assert compiled(torch.ones(2, 3, 5)).shape == (2, 15)


@pytest.mark.integration
@torch.inference_mode()
def test_inductor_s_features_are_the_plain_network_s():
    """A minute of compilation on the CPU. What is compiled are convolutions that a GPU would choose ways for."""
    plain = prepare_network(fill_untrained_(CSN((1, 1, 1, 1), "ip")), torch.device("cpu"), torch.float32)
    chooser = WayChooser(lambda _: pytest.fail("what is compiled is not timed"))
    chosen = fuse_convolutions_(copy.deepcopy(plain), partial(ChosenConvolution, chooser=chooser))
    compiled = CompiledNetwork(chosen)
    generator = torch.Generator().manual_seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        for batch, frames in ((2, 8), (3, 9)):
            x = torch.randn(batch, frames, 32, 32, 3, generator=generator).movedim(-1, 1)
            torch.testing.assert_close(compiled(x), plain(x), rtol=1e-4, atol=1e-5)
