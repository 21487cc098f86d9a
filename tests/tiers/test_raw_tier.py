"""The raw tier's fifteen numbers of a clip."""

import numpy as np
import pytest
import torch
from drifting import drifting_noise

from m3ray.config import RawConfig
from m3ray.tiers import Window, average_windows, fit_hog_projection
from m3ray.tiers.hog import LENGTH
from m3ray.tiers.raw_tier import RawTier

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def projection():
    rng = np.random.default_rng(0)
    return fit_hog_projection(iter(rng.random((40, LENGTH)).astype(np.float32)))


@pytest.fixture(scope="module")
def raw(projection):
    tier = RawTier(RawConfig(), projection)
    tier.setup(CPU)
    return tier


def test_windows_of_a_clip_average_to_the_whole(raw):
    """Raw features are means over frames and pairs, so windows, weighed, must give just the whole clip's."""
    frames = drifting_noise(37)
    whole = average_windows(raw.compute([Window(frames, video_bytes=1000)]))
    windows = [Window(frames[:16], 0, None, 1000), Window(frames[16:32], 1, frames[15], 1000)]
    windows.append(Window(frames[32:], 2, frames[31], 1000))
    parts = average_windows([measured for window in windows for measured in raw.compute([window])])
    for column in raw.schema.names[1:]:
        np.testing.assert_allclose(parts[column], whole[column], rtol=1e-5, atol=1e-6)


def test_raw_of_one_frame_has_no_flow(raw):
    values = average_windows(raw.compute([Window(drifting_noise(1), video_bytes=7)]))
    assert values["mean_optical_flow"] == 0
    assert values["size_bytes"] == 7


def test_a_gray_clip_has_the_numbers_that_follow_by_hand(raw):
    """All pixels 51 of 255: brightness a fifth, no contrast, no motion; HOG of no gradient is 0, its PCA's centre."""
    values = average_windows(raw.compute([Window(np.full((18, 256, 256, 3), 51, np.uint8), video_bytes=9)]))
    assert values["brightness"] == pytest.approx(0.2)
    assert values["contrast"] == pytest.approx(0, abs=1e-6)
    assert values["mean_optical_flow"] == 0
    expected = raw.projection.transform(np.zeros((1, LENGTH), np.float32))[0]
    np.testing.assert_allclose(values["hog"], expected, rtol=1e-5)
    assert values["size_bytes"] == 9


def test_flow_counts_pairs_and_the_rest_frames(raw):
    (features,) = raw.compute([Window(drifting_noise(17))])
    assert features["mean_optical_flow"].weight == 16
    assert features["brightness"].weight == 17
    (features,) = raw.compute([Window(drifting_noise(3), 1, drifting_noise(1)[0])])
    assert features["mean_optical_flow"].weight == 3, "the window's lead joins it to the one before"


def test_the_identity_names_the_projection_and_the_settings(raw):
    other = RawTier(RawConfig(blur_half_width=20), raw.projection)
    assert raw.identity()["hog"] == raw.projection.sha256
    assert other.identity() != raw.identity()
