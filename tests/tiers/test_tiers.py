import platform
import subprocess
import sys

import numpy as np
import pytest
import torch

from m3ray.config import DecodeConfig, EventConfig, RawConfig, SceneConfig, TierConfigs
from m3ray.errors import ConfigError, FeatureError, StudyError, WeightsError
from m3ray.tiers import (
    EventTier,
    RawTier,
    SceneTier,
    Weighted,
    WeightSource,
    Window,
    check_finite,
    clip_values,
    fingerprint_of,
    fit_hog_projection,
)
from m3ray.tiers.event import FEWEST_FRAMES, padded
from m3ray.tiers.factory import Ingredients, check_names, make_tiers
from m3ray.tiers.hog import LENGTH
from m3ray.tiers.weight_sources import weight_sources

CPU = torch.device("cpu")


def moving(count, seed=0):
    rng = np.random.default_rng(seed)
    base = rng.integers(0, 256, (256, 256, 3), dtype=np.uint8)
    return np.stack([np.roll(base, 2 * k, axis=1) for k in range(count)])


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
    frames = moving(37)
    whole = clip_values(raw.measure([Window(frames, video_bytes=1000)]))
    windows = [Window(frames[:16], 0, None, 1000), Window(frames[16:32], 1, frames[15], 1000)]
    windows.append(Window(frames[32:], 2, frames[31], 1000))
    parts = clip_values([measured for window in windows for measured in raw.measure([window])])
    for column in raw.schema.names[1:]:
        np.testing.assert_allclose(parts[column], whole[column], rtol=1e-5, atol=1e-6)


def test_raw_of_one_frame_has_no_flow(raw):
    values = clip_values(raw.measure([Window(moving(1), video_bytes=7)]))
    assert values["mean_optical_flow"] == 0
    assert values["size_bytes"] == 7


def test_hog_projection_equals_scikit_learn_s_exact_pca():
    from sklearn.decomposition import PCA

    rng = np.random.default_rng(1)
    rows = (rng.standard_normal((60, 12)) * np.linspace(9, 1, 12)) @ rng.standard_normal((12, 300))
    found = fit_hog_projection(iter(rows)).transform(rows)
    expected = PCA(10, whiten=True).fit_transform(rows)
    np.testing.assert_allclose(np.abs(found), np.abs(expected), rtol=1e-3, atol=1e-3)


def test_hog_projection_needs_a_clip():
    with pytest.raises(StudyError, match="at least 1"):
        fit_hog_projection(iter(np.zeros((0, 30))))


def test_hog_projection_of_identical_clips_is_zero_not_noise():
    projection = fit_hog_projection(iter(np.ones((5, 30))))
    assert np.all(projection.transform(np.ones((2, 30))) == 0)


def test_event_batches_clips_of_unequal_length_in_order():
    tier = EventTier(EventConfig(network="ir", precision="float32"), WeightSource())
    tier.setup(CPU)
    clips = [np.ascontiguousarray(moving(n, seed=n)[:, :64, :64]) for n in (9, 8, 9, 3)]
    together = [m["event"].value for m in tier.measure([Window(c) for c in clips])]
    apart = [tier.measure([Window(c)])[0]["event"].value for c in clips]
    np.testing.assert_allclose(together, apart, rtol=1e-3, atol=1e-5)


def test_short_windows_repeat_their_last_frame():
    frames = moving(3)
    assert padded(frames, FEWEST_FRAMES).shape == (8, 256, 256, 3)
    assert np.array_equal(padded(frames, FEWEST_FRAMES)[7], frames[2])


def test_the_scene_is_that_of_the_first_frame_alone():
    tier = SceneTier(SceneConfig(precision="float32"), WeightSource())
    tier.setup(CPU)
    small = np.ascontiguousarray(moving(4)[:, :64, :64])
    first, later = tier.measure([Window(small), Window(small[::-1].copy(), index=1)])
    assert later == {}
    assert np.array_equal(first["scene"].value, tier.measure([Window(small[:1])])[0]["scene"].value)


def test_fingerprints_change_with_what_changes_numbers():
    decode, fast = DecodeConfig(), DecodeConfig(fps=5)
    event = EventTier(EventConfig(precision="float32"), WeightSource())
    scene = SceneTier(SceneConfig(precision="float32"), WeightSource())
    assert fingerprint_of(event, decode) != fingerprint_of(event, fast)
    assert fingerprint_of(scene, decode) == fingerprint_of(scene, fast), "the first frame is the same at any rate"
    others = [
        EventTier(EventConfig(precision="bfloat16"), WeightSource()),
        EventTier(EventConfig(precision="float32", network="ir"), WeightSource()),
        EventTier(EventConfig(precision="float32"), WeightSource(seed=1)),
        EventTier(EventConfig(precision="float32"), WeightSource("x.pth", "ab")),
    ]
    assert len({fingerprint_of(tier, decode) for tier in (event, *others)}) == 5


def test_the_place_of_a_weight_file_changes_nothing():
    here, there = (EventTier(EventConfig(), WeightSource(place, "ab")) for place in ("a.pth", "b.pth"))
    assert fingerprint_of(here, DecodeConfig()) == fingerprint_of(there, DecodeConfig())


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="glibc's own setting")
def test_freed_memory_is_kept_for_the_next_clip():
    """In a process of its own: a block of 256 MB that was freed is still the process's."""
    script = (
        "import psutil, numpy as np; from m3ray.tiers.malloc import keep_freed_memory\n"
        "taken = keep_freed_memory()\n"
        "block = np.ones(32 * 1024**2); del block\n"
        "print(taken, psutil.Process().memory_info().rss > 256 * 1024**2)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True", "True"]


def test_weighted_mean():
    values = clip_values([{"x": Weighted(np.array(1.0), 3)}, {"x": Weighted(np.array(5.0), 1)}])
    assert values["x"] == 2.0


def test_numbers_that_are_not_finite_are_refused():
    with pytest.raises(FeatureError, match="event"):
        check_finite({"event": np.array([1.0, np.nan])}, "event")


def test_unknown_tiers_are_named():
    with pytest.raises(ConfigError, match=r"unknown tier scne: choose from raw, scene, event"):
        check_names(["raw", "scne"])


def test_each_tier_is_made_once(projection):
    parts = Ingredients(TierConfigs(), {"scene": WeightSource(), "event": WeightSource()}, projection)
    assert [t.name for t in make_tiers(["event", "raw", "event"], parts)] == ["raw", "event"]


def test_auto_weights_fall_back_for_a_trial_and_refuse_a_big_job(monkeypatch):
    def no_network(*_, **__):
        raise WeightsError("cannot download")

    monkeypatch.setattr("m3ray.tiers.weight_sources.fetch", no_network)
    assert weight_sources("auto", ["scene"], TierConfigs(), clips=10)["scene"].untrained
    with pytest.raises(WeightsError):
        weight_sources("auto", ["scene"], TierConfigs(), clips=100_000)
    with pytest.raises(WeightsError):
        weight_sources("published", ["scene"], TierConfigs(), clips=10)


def test_weights_from_a_file(tmp_path):
    torch.save({}, tmp_path / "w.pth")
    (tmp_path / "weights.json").write_text('{"scene": {"path": "w.pth"}}')
    source = weight_sources(str(tmp_path / "weights.json"), ["raw", "scene"], TierConfigs(), clips=1)["scene"]
    assert source.sha256 is not None
    assert source.location == str(tmp_path / "w.pth")
    with pytest.raises(ConfigError, match="names no weights for event"):
        weight_sources(str(tmp_path / "weights.json"), ["event"], TierConfigs(), clips=1)
    with pytest.raises(ConfigError, match="expected published"):
        weight_sources("publishd", ["scene"], TierConfigs(), clips=1)
