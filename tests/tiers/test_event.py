"""CSN's vectors of whole clips."""

import numpy as np
import pytest
import torch
from drifting import drifting_noise

from m3ray.config import EventConfig
from m3ray.tiers import EventTier, WeightedValue, WeightSource, Window
from m3ray.tiers.event import compute_window_vectors


def test_event_batches_clips_of_unequal_length_in_order():
    tier = EventTier(EventConfig(network="ir", precision="float32"), WeightSource())
    tier.setup(torch.device("cpu"))
    clips = [np.ascontiguousarray(drifting_noise(n, seed=n)[:, :64, :64]) for n in (9, 8, 9, 3)]
    together = [m["event"].value for m in tier.compute([Window(c) for c in clips])]
    apart = [tier.compute([Window(c)])[0]["event"].value for c in clips]
    np.testing.assert_allclose(together, apart, rtol=1e-3, atol=1e-5)


class MeanNetwork:
    device = torch.device("cpu")

    def __call__(self, batches):
        return [batch.double().mean(dim=(1, 2, 3)).numpy() for batch in batches]


class MeanTier:
    """A tier whose network gives the mean of each channel."""

    column = "mean"
    loaded = MeanNetwork()


def test_a_window_counts_by_its_own_frames_not_by_those_repeated():
    frames = np.zeros((3, 4, 4, 3), np.uint8)
    frames[2] = 8
    (value,) = compute_window_vectors(MeanTier, [Window(frames)], [frames])
    assert value["mean"] == WeightedValue(pytest.approx(np.full(3, 6.0)), 3), "6 of 8 frames are the last one, 8"
