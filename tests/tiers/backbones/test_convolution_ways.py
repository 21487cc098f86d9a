"""Ways to compute a convolution, each against the plain one, and the choice among them by stand-ins for clocks."""

import copy
import itertools
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn import functional

from m3ray.tiers.backbones import convolution_ways as ways
from m3ray.tiers.backbones import fill_untrained_, prepare_network
from m3ray.tiers.backbones.chosen import ChosenConvolution
from m3ray.tiers.backbones.convolution_ways import ConvolutionSettings, WayChooser, Work, compute_plainly
from m3ray.tiers.backbones.csn import CSN
from m3ray.tiers.backbones.fused import FusedBlock, fuse_convolutions_
from m3ray.tiers.backbones.hrnet import HighResolutionModule

ONES = (1, 1, 1)


def make_work(shape=(2, 8, 5, 6, 7), stride=1, *, bias=True, shortcut=False, has_relu=False, pointwise=False):
    generator = torch.Generator().manual_seed(0)

    def draw(*size):
        return torch.randn(size, generator=generator)

    channels, size = shape[1], 1 if pointwise else 3
    x = draw(*shape).to(memory_format=torch.channels_last_3d)
    weight = draw(channels, channels if pointwise else 1, size, size, size)
    padding, groups = ((0, 0, 0), 1) if pointwise else (ONES, channels)
    work = Work(x, weight, draw(channels) if bias else None, ConvolutionSettings((stride,) * 3, padding, ONES, groups))
    added = draw(*compute_plainly(work).shape) if shortcut else None
    return Work(work.x, weight, work.bias, work.settings, added, has_relu)


KINDS = [
    {},
    {"stride": 2},
    {"shape": (1, 4, 4, 7, 8), "stride": 2},
    {"bias": False},
    {"has_relu": True},
    {"shortcut": True},
    {"shortcut": True, "has_relu": True, "stride": 2},
    {"shape": (1, 3, 1, 4, 4)},
]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("way", [ways.compute_by_planes, ways.compute_without_cudnn])
def test_a_way_is_the_plain_one(way, kind):
    work = make_work(**kind)
    before = None if work.shortcut is None else work.shortcut.clone()
    found = way(work)
    torch.testing.assert_close(found, compute_plainly(work), rtol=1e-4, atol=1e-5)
    assert before is None or torch.equal(before, work.shortcut), "a way that writes over its shortcut cannot be timed"


INTERPRETED = """
import torch
from test_convolution_ways import KINDS, make_work
from m3ray.tiers.backbones import convolution_ways as ways
for kind in KINDS:
    work = make_work(**kind)
    torch.testing.assert_close(ways.compute_with_triton(work), ways.compute_plainly(work), rtol=1e-4, atol=1e-5)
"""


@pytest.mark.integration  # Triton's interpreter, which computes kernels on the CPU, is slow
def test_triton_s_way_is_the_plain_one():
    pytest.importorskip("triton")
    folder = Path(__file__).parent
    paths = os.pathsep.join(str(each) for each in (folder, folder.parents[2]))
    # Triton reads the variable when it is imported, so it takes a process of its own.
    environment = {**os.environ, "TRITON_INTERPRET": "1", "PYTHONPATH": paths}
    done = subprocess.run(
        [sys.executable, "-c", INTERPRETED], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_cudnn_is_asked_in_its_own_words(monkeypatch):
    """Reference for the arguments: the schemas of PyTorch's operators, which a GPU alone has."""
    operators = torch.ops.aten
    names = [argument.name for argument in operators.cudnn_convolution_add_relu.default._schema.arguments]
    order = ["self", "weight", "z", "alpha", "bias", "stride", "padding", "dilation", "groups"]
    assert names == order
    names = [argument.name for argument in operators.cudnn_convolution_relu.default._schema.arguments]
    assert names == [name for name in order if name not in ("z", "alpha")]

    def convolve_and_add(x, weight, z, alpha, bias, *how):
        return (functional.conv3d(x, weight, bias, *how) + alpha * z).relu()

    def convolve(x, weight, bias, *how):
        return functional.conv3d(x, weight, bias, *how).relu()

    monkeypatch.setattr(operators, "cudnn_convolution_add_relu", convolve_and_add)
    monkeypatch.setattr(operators, "cudnn_convolution_relu", convolve)
    for shortcut in (False, True):
        work = make_work(pointwise=True, has_relu=True, shortcut=shortcut)
        torch.testing.assert_close(ways.compute_with_cudnn(work), compute_plainly(work))


class Clock:
    """Says of each way in turn how long it takes: the plain one first, then the others in their order."""

    def __init__(self, *milliseconds):
        self.left, self.calls = list(milliseconds), 0

    def __call__(self, call):
        call()
        self.calls += 1
        return self.left.pop(0)


@pytest.fixture
def listed(monkeypatch):
    """Two ways beside the plain one: one that is right, and another that the test sets."""
    found = {"right": lambda work: compute_plainly(work) * 1.0, "other": lambda work: compute_plainly(work) + 0.0}
    monkeypatch.setattr(ways, "list_ways", lambda _: found)
    return found


@pytest.mark.parametrize(
    ("milliseconds", "best"), [((2.0, 1.0, 3.0), "right"), ((2.0, 3.0, 1.0), "other"), ((2.0, 1.95, 3.0), "plain")]
)
def test_the_fastest_way_is_taken_from_then_on_if_it_is_clearly_faster(listed, milliseconds, best):
    clock, work = Clock(*milliseconds), make_work()
    chooser = WayChooser(clock)
    torch.testing.assert_close(chooser.compute(work), compute_plainly(work))
    (chosen,) = chooser._chosen.values()
    assert chosen is {**listed, "plain": compute_plainly}[best]
    chooser.compute(make_work((5, 8, 9, 6, 7)))  # other numbers of clips and of frames
    assert clock.calls == 3
    assert list(chooser.milliseconds.values()) == [dict(zip(["plain", *listed], milliseconds, strict=True))]


def test_each_kind_of_convolution_is_timed(listed):
    clock = Clock(*[1.0] * 18)
    chooser = WayChooser(clock)
    for kind in (
        {},
        {"stride": 2},
        {"has_relu": True},
        {"shortcut": True},
        {"shape": (2, 8, 5, 6, 8)},
        {"pointwise": True},
    ):
        chooser.compute(make_work(**kind))
    assert clock.calls == 18
    assert len(chooser._chosen) == 6


def fail(_):
    raise RuntimeError("no engine for this shape")


@pytest.mark.parametrize(
    "way",
    [
        fail,
        lambda work: compute_plainly(work) * 1.1,
        lambda work: compute_plainly(work) * torch.nan,
        lambda work: compute_plainly(work)[:1],
    ],
)
def test_a_way_that_fails_or_is_wrong_is_never_taken(listed, way):
    listed["other"] = way
    chooser, work = WayChooser(Clock(2.0, 3.0)), make_work()
    for _ in range(2):
        torch.testing.assert_close(chooser.compute(work), compute_plainly(work))
    assert list(*chooser.milliseconds.values()) == ["plain", "right"]


def test_what_is_captured_is_computed_plainly_and_chosen_later(listed, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", lambda: True)
    chooser = WayChooser(Clock())
    chooser.compute(make_work())
    assert not chooser._chosen


def test_depthwise_convolutions_have_ways_of_their_own():
    assert {"native", "three 2-D"} <= set(ways.list_ways(make_work()))
    assert list(ways.list_ways(make_work(pointwise=True))) == []
    assert list(ways.list_ways(make_work(pointwise=True, has_relu=True))) == ["cuDNN, fused"]
    assert list(ways.list_ways(make_work(pointwise=True, has_relu=True, bias=False))) == []


def noise(*shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(0)).movedim(-1, 1)


@pytest.mark.parametrize("mode", ["ip", "ir"])
@torch.inference_mode()
def test_a_csn_of_chosen_convolutions_is_the_plain_one(mode, monkeypatch):
    """The other ways always win, so that each layer goes through one that a CPU has."""
    monkeypatch.setattr(ways, "find_spec", lambda _: None)
    plain = prepare_network(fill_untrained_(CSN((1, 2, 1, 1), mode)), torch.device("cpu"), torch.float32)
    turns = itertools.count()
    chooser = WayChooser(lambda call: (call(), 0.5 ** next(turns))[1])
    chosen = fuse_convolutions_(copy.deepcopy(plain), lambda layer: ChosenConvolution(layer, chooser))
    x = noise(1, 8, 32, 32, 3)
    for _ in range(2):  # the first call chooses, the second takes what was chosen
        torch.testing.assert_close(chosen(x), plain(x), rtol=1e-4, atol=1e-5)
    assert ways.compute_by_planes in chooser._chosen.values()
    assert sum(isinstance(m, FusedBlock) for m in chosen.modules()) == 5
    assert not any(isinstance(m, nn.ReLU) for m in chosen.modules())


@torch.inference_mode()
def test_hrnet_s_branches_do_not_overwrite_each_other():
    plain = prepare_network(fill_untrained_(HighResolutionModule(3)), torch.device("cpu"), torch.float32)
    chooser = WayChooser(lambda call: (call(), 1.0)[1])
    chosen = fuse_convolutions_(copy.deepcopy(plain), lambda layer: ChosenConvolution(layer, chooser))
    inputs = [noise(1, 16 >> k, 16 >> k, 48 << k) for k in range(3)]
    for found, expected in zip(chosen([x.clone() for x in inputs]), plain(inputs), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_deterministic_algorithms_are_not_chosen_by_a_clock():
    layer = nn.Conv3d(4, 4, 3, padding=1, groups=4)
    chosen = ChosenConvolution(layer, WayChooser(lambda _: pytest.fail("nothing is timed")))
    torch.use_deterministic_algorithms(True)
    try:
        chosen(torch.randn(1, 4, 3, 4, 4))
    finally:
        torch.use_deterministic_algorithms(False)
