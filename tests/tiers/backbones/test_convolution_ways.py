"""Ways to compute a convolution, each against the plain one, and the choice among them by stand-ins for clocks."""

import pytest
import torch
from convolution_works import KINDS, make_work
from torch.nn import functional

from m3ray.tiers.backbones import convolution_ways as ways
from m3ray.tiers.backbones.convolution_ways import WayChooser, compute_plainly


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("way", [ways.compute_by_planes, ways.compute_without_cudnn])
def test_a_way_is_the_plain_one(way, kind):
    work = make_work(**kind)
    before = None if work.shortcut is None else work.shortcut.clone()
    found = way(work)
    torch.testing.assert_close(found, compute_plainly(work), rtol=1e-4, atol=1e-5)
    assert before is None or torch.equal(before, work.shortcut), "a way that writes over its shortcut cannot be timed"


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
