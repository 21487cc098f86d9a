"""Batches that memory does not hold, with a tier that has a memory of so many frames."""

import sys

import numpy as np
import psutil
import pytest
import torch

from m3ray.errors import DecodeError
from m3ray.pipelines.extraction import batch_limits
from m3ray.pipelines.extraction.batch_limits import BatchLimits, limit_memory
from m3ray.tiers import WeightedValue, Window


class Tier:
    """The brightness of windows; `room` frames fit into its memory."""

    def __init__(self, name="event", room=8):
        self.name, self.room, self.batches = name, room, []

    def compute(self, windows):
        self.batches.append([len(window.frames) for window in windows])
        if sum(self.batches[-1]) > self.room:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return [{"x": WeightedValue(window.frames.max(), 1)} for window in windows]


def window(value, frames=2):
    return Window(np.full((frames, 8, 4, 3), value, np.uint8))


def values(limits, tier, windows):
    return [int(row["x"].value) for row in limits.compute(tier, windows)]


def test_what_fits_is_one_batch():
    tier = Tier()
    assert values(BatchLimits(1 << 30), tier, [window(k) for k in range(4)]) == [0, 1, 2, 3]
    assert tier.batches == [[2, 2, 2, 2]]


def test_a_batch_is_halved_until_it_fits_and_the_limit_is_kept():
    tier, limits = Tier(room=5), BatchLimits(1 << 30)
    windows = [window(k) for k in range(8)]
    assert values(limits, tier, windows) == list(range(8)), "in order, each once"
    assert [len(batch) for batch in tier.batches] == [8, 4, 2, 2, 2, 2]
    assert limits.limits == {("event", (2, 8, 4, 3)): 2}
    tier.batches.clear()
    assert values(limits, tier, windows[:5]) == list(range(5))
    assert [len(batch) for batch in tier.batches] == [2, 2, 1], "nothing runs out of memory a second time"


def test_limits_are_a_tier_s_and_a_shape_s():
    limits = BatchLimits(1 << 30)
    values(limits, Tier(room=5), [window(k) for k in range(4)])
    other, short = Tier("scene"), Tier(room=8)
    values(limits, other, [window(k) for k in range(4)])
    values(limits, short, [window(k, frames=1) for k in range(4)])
    assert (other.batches, short.batches) == ([[2] * 4], [[1] * 4])


def test_shapes_that_do_not_fit_together_are_parted_before_they_are_halved():
    tier, limits = Tier(room=6), BatchLimits(1 << 30)
    assert values(limits, tier, [window(0), window(1, 6), window(2)]) == [0, 1, 2]
    assert tier.batches == [[2, 6, 2], [2, 2], [6]]
    assert set(limits.limits.values()) == {3}


def test_a_window_that_does_not_fit_alone_is_named_with_its_size_and_the_limit():
    limits = BatchLimits(int(22.5 * 2**30))
    with pytest.raises(DecodeError, match=r"9 x 8 x 4 \(frames x height x width\).* 22\.5 GiB .*--fps") as caught:
        limits.compute(Tier(), [window(0), window(1, 9)])
    assert (caught.value.reason, caught.value.stage) == ("out_of_memory", "tier")


def test_memory_of_the_machine_counts_alike():
    class Full(Tier):
        def compute(self, windows):
            if len(windows) > 1:
                raise MemoryError
            return super().compute(windows)

    assert values(BatchLimits(1 << 30), Full(), [window(3), window(4)]) == [3, 4]


def test_other_errors_pass_through():
    class Dark(Tier):
        def compute(self, windows):
            raise ValueError("too dark")

    limits = BatchLimits(1 << 30)
    with pytest.raises(ValueError, match="too dark"):
        limits.compute(Dark(), [window(0)])
    assert limits.limits == {}


def test_the_limit_of_a_cpu_is_the_machine_s():
    assert limit_memory(torch.device("cpu")) == psutil.virtual_memory().total


def test_the_half_of_an_odd_batch_is_the_larger_one():
    """Five windows of two frames where seven frames fit: three fit, and two would leave a third batch."""
    tier, limits = Tier(room=7), BatchLimits(1 << 30)
    values(limits, tier, [window(k) for k in range(5)])
    assert [len(batch) for batch in tier.batches] == [5, 3, 2]
    assert set(limits.limits.values()) == {3}


def test_a_gpu_gets_its_memory_back_before_the_next_try(monkeypatch):
    """With no exception at hand any more: it would hold the tensors of the calls that it came through."""
    tier, events = Tier(room=4), []
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: events.append((len(tier.batches), sys.exc_info()[1])))
    values(BatchLimits(1 << 30), tier, [window(k) for k in range(4)])
    assert events == [(1, None)], "after the batch that did not fit, and after no other"


def test_a_shared_gpu_is_shared_out(monkeypatch):
    fractions = []
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: type("P", (), {"total_memory": 40 << 30}))
    monkeypatch.setattr(torch.cuda, "set_per_process_memory_fraction", lambda share, _: fractions.append(share))
    assert limit_memory(torch.device("cuda")) == 40 << 30
    assert fractions == [], "a GPU of its own is not limited"
    monkeypatch.setattr("m3ray.pipelines.extraction.batch_limits._assigned_share", lambda: 0.5)
    assert limit_memory(torch.device("cuda")) == 19 << 30
    assert fractions == [0.475]


@pytest.mark.parametrize(
    ("started", "actor", "resources", "share"),
    [
        (True, "actor", {"CPU": 1.0, "GPU": 0.25}, 0.25),
        (True, "actor", {"CPU": 1.0}, 1.0),
        (True, None, {"GPU": 0.25}, 1.0),
        (False, "actor", {"GPU": 0.25}, 1.0),
    ],
    ids=["actor", "actor without a GPU", "driver", "no Ray"],
)
def test_the_share_is_what_ray_gave_an_actor_and_a_driver_s_is_the_whole(monkeypatch, started, actor, resources, share):
    context = type("C", (), {"get_actor_id": lambda _: actor, "get_assigned_resources": lambda _: resources})
    monkeypatch.setattr(batch_limits.ray, "is_initialized", lambda: started)
    monkeypatch.setattr(batch_limits.ray, "get_runtime_context", context)
    assert batch_limits._assigned_share() == share
