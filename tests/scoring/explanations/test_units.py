"""Units: computed one by one and averaged they give what each tier gives for the whole clip."""

import numpy as np
import pytest
import torch
from small_maps import DECODE, ContrastTier, draw_noise, make_view

from m3ray.config import DecodeConfig, ImageNetworkConfig, RawConfig
from m3ray.scoring.explanations.units import Unit, lay_units
from m3ray.scoring.frames import window_frames
from m3ray.tiers import HogProjection
from m3ray.tiers.base import Window, average_windows, iter_clip_windows
from m3ray.tiers.image_network import ImageNetworkTier
from m3ray.tiers.network import WeightSource
from m3ray.tiers.raw_tier import RawTier
from m3ray.tiers.scene import SceneTier


class MeanImage(ImageNetworkTier):
    """A network of images whose vector is the frame's mean colour."""

    name, width = "mean_image", 3

    def compute(self, windows):
        groups = [self._take(window) for window in windows]
        return [
            self.summarise(np.stack([frame.mean((0, 1), dtype=np.float64) for frame in group])) if group else {}
            for group in groups
        ]


def make_image_tier(frames="mean"):
    return MeanImage(ImageNetworkConfig("float32", frames), WeightSource(), "", DECODE)


def compute_whole(frames, tier):
    """What the tier gives for the decoded windows, as a scorer computes them."""
    windows = [window for _, window in iter_clip_windows(window_frames(frames, DECODE))]
    return average_windows([found for window in windows for found in tier.compute([window])])


@pytest.mark.parametrize("frames", [1, 5, 6, 7, 20])
@pytest.mark.parametrize("make", [ContrastTier, make_image_tier, lambda: make_image_tier("first")])
def test_units_together_are_the_clip(frames, make):
    clip, tier = draw_noise(frames), make()
    expected = compute_whole(clip, tier)
    found = make_view(clip, tier).values[tier.name]
    assert set(found) == set(expected)
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, rtol=1e-12)


def test_units_of_the_raw_tier_are_the_clip():
    rng = np.random.default_rng(0)
    # A picture that moves: flow of noise is arbitrary.
    y, x = np.mgrid[0:256, 0:256]
    clip = np.stack([np.clip(128 + 60 * np.sin((x + 3 * k) / 9) + 40 * np.cos(y / 13), 0, 255) for k in range(19)])
    clip = np.repeat(clip[..., None], 3, axis=-1).astype(np.uint8)
    clip[:, :80, :80] = rng.integers(0, 256, (80, 80, 3))
    tier = RawTier(RawConfig(), HogProjection(np.zeros(34596), rng.standard_normal((10, 34596)) / 100, np.ones(10)))
    tier.setup(torch.device("cpu"))
    decode = DecodeConfig(window_frames=10)
    from m3ray.scoring.explanations.clip_view import view_clip
    from m3ray.scoring.explanations.frame_store import FrameStore

    windows = [window for _, window in iter_clip_windows(window_frames(clip, decode))]
    expected = average_windows([found for window in windows for found in tier.compute([window])])
    found = view_clip(window_frames(clip, decode), [tier], decode.fps, FrameStore()).values["raw"]
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, rtol=2e-4, atol=1e-5, err_msg=name)


def test_a_tier_of_the_first_frame_has_one_unit():
    tier = SceneTier.__new__(SceneTier)
    windows = [Window(draw_noise(6), index) for index in (0, 1)]
    assert [(unit.start, unit.stop) for unit in lay_units(tier, windows[0], 0)] == [(0, 1)]
    assert lay_units(tier, windows[1], 6) == []


def test_a_network_of_images_has_a_unit_for_each_frame_that_it_looks_at():
    window = Window(draw_noise(20), 0)
    decode = DecodeConfig(fps=8.0, size=32, window_frames=20)
    tier = MeanImage(ImageNetworkConfig("float32"), WeightSource(), "", decode)
    assert [unit.start for unit in lay_units(tier, window, 0)] == [4, 12], (
        "the middle of each whole second at 8 a second"
    )


def test_a_unit_is_touched_by_its_frames_and_the_one_before():
    unit = Unit(8, 16, Window(draw_noise(1)[:0]), has_lead=True)
    assert unit.is_touched(7, 8)
    assert unit.is_touched(15, 30)
    assert not unit.is_touched(0, 7)
    assert not unit.is_touched(16, 20)
    assert not Unit(8, 16, unit.window).is_touched(7, 8)
