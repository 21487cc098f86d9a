"""Windows into clips, and fingerprints."""

import numpy as np
import pytest

from m3ray.config import DecodeConfig, EventConfig, SceneConfig
from m3ray.errors import FeatureError
from m3ray.tiers import EventTier, SceneTier, WeightedValue, WeightSource, average_windows, check_finite
from m3ray.tiers.base import iter_clip_windows, own_rate, tier_fingerprint
from m3ray.video.metadata import VideoMetadata


def test_fingerprints_change_with_what_changes_numbers():
    decode, fast = DecodeConfig(), DecodeConfig(fps=5)
    event = EventTier(EventConfig(precision="float32"), WeightSource())
    scene = SceneTier(SceneConfig(precision="float32"), WeightSource())
    assert tier_fingerprint(event, decode) != tier_fingerprint(event, fast)
    assert tier_fingerprint(scene, decode) == tier_fingerprint(scene, fast), "the first frame is the same at any rate"
    others = [
        EventTier(EventConfig(precision="bfloat16"), WeightSource()),
        EventTier(EventConfig(precision="float32", network="ir"), WeightSource()),
        EventTier(EventConfig(precision="float32"), WeightSource(seed=1)),
        EventTier(EventConfig(precision="float32"), WeightSource("x.pth", "ab")),
    ]
    assert len({tier_fingerprint(tier, decode) for tier in (event, *others)}) == 5


def test_the_place_of_a_weight_file_changes_nothing():
    here, there = (EventTier(EventConfig(), WeightSource(place, "ab")) for place in ("a.pth", "b.pth"))
    assert tier_fingerprint(here, DecodeConfig()) == tier_fingerprint(there, DecodeConfig())


def test_weighted_mean():
    values = average_windows([{"x": WeightedValue(np.array(1.0), 3)}, {"x": WeightedValue(np.array(5.0), 1)}])
    assert values["x"] == 2.0


def test_numbers_that_are_not_finite_are_refused():
    with pytest.raises(FeatureError, match="event"):
        check_finite({"event": np.array([1.0, np.nan])}, "event")


def test_columns_without_weight_are_zero():
    """A clip of one frame has no pair of frames."""
    values = average_windows([{"flow": WeightedValue(np.array(0.0), 0), "x": WeightedValue(np.array([2.0, 4.0]), 1)}])
    assert values["flow"] == 0
    assert values["x"].tolist() == [2, 4]


def test_windows_that_add_nothing_are_passed_over():
    vector = np.array([1.0, 3.0])
    assert average_windows([{"scene": WeightedValue(vector, 1)}, {}])["scene"].tolist() == [1, 3]


def test_finite_values_pass():
    check_finite({"event": np.zeros(3), "raw": np.array(1.0)}, "event")


def test_windows_know_their_position_and_the_frame_before_them():
    metadata = VideoMetadata(1, 1, 5.0, 1.0, 5, 5, 500, "mp4")
    frames = np.arange(5, dtype=np.uint8).reshape(5, 1, 1, 1)
    decoded = ((metadata, frames[k : k + 2]) for k in (0, 2, 4))
    pairs = list(iter_clip_windows(decoded))
    assert all(told is metadata for told, _ in pairs)
    windows = [window for _, window in pairs]
    assert [(window.index, len(window.frames), window.video_bytes) for window in windows] == [
        (0, 2, 500),
        (1, 2, 500),
        (2, 1, 500),
    ]
    assert [None if window.lead is None else int(window.lead.item()) for window in windows] == [None, 1, 3]
    assert list(iter_clip_windows(iter(()))) == []


@pytest.mark.parametrize(
    ("native_fps", "frames", "sampled", "rate"),
    [
        (10.0, 30, 30, 10.0),  # each frame once
        (30.0, 90, 45, 30.0),  # every second one
        (12.0, 36, 45, np.inf),  # faster than 15 somewhere, so that others are shown twice
        (10.0, 30, 20, 10.0),  # a sliding window of the first
        (0.0, 1, 1, np.inf),
    ],
)
def test_a_window_knows_the_rate_of_a_slow_clip(native_fps, frames, sampled, rate):
    metadata = VideoMetadata(8, 8, native_fps, 3.0, frames, sampled, 100, "mp4")
    assert own_rate(metadata) == rate
    ((_, window),) = iter_clip_windows([(metadata, np.zeros((2, 4, 4, 3), np.uint8))])
    assert window.rate == rate


def value(number, weight):
    return WeightedValue(np.array(number), weight)


def test_a_spread_is_that_of_all_frames_whatever_the_windows():
    rng = np.random.default_rng(0)
    frames = rng.random(50)
    parts = [frames[:7], frames[7:40], frames[40:]]
    windows = [{"x": value(p.mean(), len(p)), "x_spread": value(p.std(), len(p))} for p in parts]
    found = average_windows(windows)
    assert found["x"] == pytest.approx(frames.mean())
    assert found["x_spread"] == pytest.approx(frames.std())


def test_a_spread_without_its_column_is_a_mean():
    assert average_windows([{"y_spread": value(1.0, 1)}, {"y_spread": value(3.0, 1)}])["y_spread"] == 2.0
