"""A clip as maps need it: frames that are looked at, small pictures of clips of any length, times."""

import numpy as np
import pytest
from small_maps import DECODE, ContrastTier, draw_noise, make_view

from m3ray.errors import FeatureError
from m3ray.scoring.explanations.clip_view import PictureTaker, view_clip
from m3ray.scoring.explanations.frame_store import FrameStore
from m3ray.tiers import WeightedValue
from m3ray.video.metadata import VideoMetadata


class FirstTier(ContrastTier):
    whole_clip = False


class NanTier(ContrastTier):
    def compute(self, windows):
        return [{"resmem": WeightedValue(np.array(np.nan), 1)} for _ in windows]


def test_frames_that_no_tier_looks_at_are_not_kept():
    view = make_view(draw_noise(20), FirstTier())
    assert view.seen.tolist() == [0]
    assert len(view.store) == 1
    assert not view.sees_every_frame
    assert view.frames == 20
    whole = make_view(draw_noise(20), ContrastTier())
    assert whole.sees_every_frame
    np.testing.assert_array_equal(whole.store.read(3, 15), draw_noise(20)[3:15])


def test_a_value_that_is_not_finite_is_told():
    with pytest.raises(FeatureError, match="tier resmem: resmem not finite"):
        make_view(draw_noise(3), NanTier())


@pytest.mark.parametrize("frames", [1, 64, 65, 9000])
def test_pictures_are_few_and_even(frames):
    metadata = VideoMetadata(640, 360, 15.0, frames / 15, frames, frames, 0, "mp4")
    taker = PictureTaker(metadata)
    for position in range(frames):
        taker.add(position, np.full((32, 32, 3), position % 256, np.uint8))
    pictures = taker.finish()
    assert min(frames, 33) <= len(pictures.frames) <= 64
    height, width = pictures.frames.shape[1:3]
    assert (width, height / width) == (400, pytest.approx(360 / 640, abs=0.005)), "in the proportions of the clip"
    steps = np.diff(pictures.positions)
    assert (steps == steps[:1]).all()
    assert pictures.positions[0] == 0
    np.testing.assert_array_equal(pictures.frames[:, 0, 0, 0], pictures.positions % 256)


@pytest.mark.parametrize(("native", "sampled", "frames", "expected"), [(30.0, 24, 90, 8.0), (4.0, 12, 12, 4.0)])
def test_frames_are_as_far_apart_as_they_were_sampled(native, sampled, frames, expected):
    metadata = VideoMetadata(32, 32, native, frames / native, frames, sampled, 0, "mp4")
    view = view_clip([(metadata, draw_noise(sampled))], [ContrastTier()], DECODE.fps, FrameStore())
    assert view.rate == expected


def test_an_image_has_no_time():
    metadata = VideoMetadata(32, 32, 0.0, 0.0, 1, 1, 0, "png")
    view = view_clip([(metadata, draw_noise(1))], [ContrastTier()], DECODE.fps, FrameStore())
    assert view.is_image
    assert view.rate == DECODE.fps, "a rate that can be divided by"
