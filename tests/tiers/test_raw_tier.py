"""The raw tier's fifteen numbers of a clip."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from counting import META, count_operations
from drifting import drifting_noise, drifting_texture

from m3ray.config import RawConfig
from m3ray.tiers import Window, average_windows, fit_hog_projection
from m3ray.tiers.hog import LENGTH
from m3ray.tiers.raw_batch import Steps
from m3ray.tiers.raw_tier import RawTier
from m3ray.tiers.transfers import Transfers, Upload

CPU = torch.device("cpu")
CUDNN: Any = torch.backends.cudnn


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


def on_device(window):
    """The window as if its lead and frames lay on the device, which is the CPU."""
    lead = [] if window.lead is None else [window.lead[None]]
    return replace(window, uploaded=Upload(torch.from_numpy(np.concatenate([*lead, window.frames]))))


@pytest.fixture(scope="module")
def mixed():
    """Windows of 5, 9 (with a lead), 1 and 3 frames."""
    windows = [Window(drifting_noise(5), video_bytes=3), Window(drifting_noise(10)[1:], 1, drifting_noise(1)[0])]
    windows += [Window(drifting_noise(n, seed=n)) for n in (1, 3)]
    return [on_device(window) for window in windows]


def test_windows_together_give_what_each_gives_alone(raw, mixed, monkeypatch):
    """The way of a GPU, on the CPU: of any lengths, with and without a lead, across the ends of parts."""
    alone = [raw.compute_together([window])[0] for window in mixed]
    monkeypatch.setattr("m3ray.tiers.raw_tier.fit_frames", lambda free: 7)
    together = raw.compute_together(mixed)
    for found, expected in zip(together, alone, strict=True):
        for column, value in expected.items():
            assert found[column].weight == value.weight
            np.testing.assert_allclose(found[column].value, value.value, rtol=1e-6, atol=1e-6)


def test_the_way_of_a_gpu_gives_what_the_way_of_a_cpu_gives(raw, mixed):
    """Within 1e-5: flow's sums are in another order, and its displacements are solved for from differences."""
    for found, expected in zip(raw.compute_together(mixed), raw.compute(mixed), strict=True):
        assert set(found) == set(expected)
        for column, value in expected.items():
            assert found[column].weight == value.weight
            np.testing.assert_allclose(found[column].value, value.value, rtol=1e-5, atol=1e-5)


class CountedTransfers(Transfers):
    """Copies to `meta`, whose numbers cannot come back: zeros stand for them."""

    def __init__(self):
        super().__init__(META)
        self.waits = 0

    def download(self, tensors):
        self.waits += 1
        assert {tensor.device for tensor in tensors} == {META}
        return [np.zeros(tensor.shape, np.float32) for tensor in tensors]


@pytest.fixture
def transfers(monkeypatch):
    """The transfers of a device of 16 GiB."""
    made = CountedTransfers()
    monkeypatch.setattr("m3ray.tiers.raw_tier.transfers_of", lambda device: made)
    monkeypatch.setattr("m3ray.tiers.slab.transfers_of", lambda device: made)
    monkeypatch.setattr("m3ray.tiers.raw_tier.read_free_bytes", lambda device: 16 << 30)
    return made


def test_eight_clips_of_45_frames_take_under_400_launches_and_one_wait(projection, transfers):
    """384; before, about 1,120 for each clip. What lies on the device is not copied to it again."""
    tier = RawTier(RawConfig(), projection)
    tier.setup(META)
    frames = np.empty((45, 256, 256, 3), np.uint8)
    there = torch.empty(frames.shape, dtype=torch.uint8, device=META)
    counted = count_operations(tier.compute_together, [Window(frames, uploaded=Upload(there))] * 8)
    assert counted.launches <= 384
    assert counted.uploads == counted.downloads == 0
    assert transfers.waits == 2, "one for each of two calls"


def test_a_batch_that_is_not_uploaded_travels_as_one(projection, transfers):
    """Before: a copy for each window."""
    tier = RawTier(RawConfig(), projection)
    tier.setup(META)
    windows = [Window(drifting_noise(20)), Window(drifting_noise(3), 1, drifting_noise(1)[0])]
    counted = count_operations(tier.compute, windows)
    assert counted.uploads == 1
    assert counted.downloads == 0
    assert transfers.waits == 2


def test_launches_do_not_grow_with_the_clips(projection, transfers):
    tier = RawTier(RawConfig(), projection)
    tier.setup(META)
    counts = [count_operations(tier.compute, [Window(drifting_noise(4))] * clips).launches for clips in (2, 6)]
    assert counts[0] == counts[1]


def test_no_window_gives_nothing(raw):
    assert raw.compute_together([]) == []


def test_a_compiled_tier_computes_with_compiled_steps(projection, mixed, monkeypatch):
    tier, asked = RawTier(RawConfig(), projection), []

    def compile_nothing(steps):
        return Steps(lambda planes: asked.append("hog") or steps.hog(planes), steps.flow)

    monkeypatch.setattr("m3ray.tiers.raw_compiled.compile_steps", compile_nothing)
    tier.setup(CPU)
    tier.compile()
    tier.compute_together(mixed[:1])
    assert asked == ["hog"]


def test_raw_computes_in_ieee_float32(raw, monkeypatch):
    """Flow's blurs and fits are convolutions, which cuDNN takes in TF32 by default."""
    told = []

    def tell(gray):
        told.append(CUDNN.conv.fp32_precision)
        return torch.zeros(1)

    monkeypatch.setattr("m3ray.tiers.raw_tier.mean_optical_flow", tell)
    raw.compute([Window(drifting_noise(2))])
    assert told == ["ieee"]


def measure(config, projection, window, together=False):
    tier = RawTier(config, projection)
    tier.setup(CPU)
    return average_windows(tier.compute_together([on_device(window)]) if together else tier.compute([window]))


@pytest.mark.parametrize("together", [False, True], ids=["alone", "together"])
def test_flow_of_a_slow_clip_can_be_that_of_a_fast_one(projection, together):
    """One motion, shown at 15 and at 7.5 frames a second: a sampled frame of the latter moves twice as far."""
    moving = np.repeat(drifting_texture(0, 13, 256, 256)[..., None], 3, axis=3)
    fast, slow = Window(moving, rate=15.0), Window(moving[::2], rate=7.5)
    plain = [measure(RawConfig(), projection, w, together)["mean_optical_flow"] for w in (fast, slow)]
    scaled = [measure(RawConfig(flow_fps=15.0), projection, w, together)["mean_optical_flow"] for w in (fast, slow)]
    assert plain[1] / plain[0] == pytest.approx(2, rel=0.1)
    assert scaled[0] == plain[0]
    assert scaled[1] == pytest.approx(plain[1] / 2)
    for rate in (30.0, np.inf):
        faster = measure(RawConfig(flow_fps=15.0), projection, Window(moving, rate=rate), together)
        assert faster["mean_optical_flow"] == plain[0], "sampled at 15 of its frames"


@pytest.mark.parametrize("together", [False, True], ids=["alone", "together"])
def test_natural_blurriness_is_decibels_times_ln_10(projection, together):
    window = Window(drifting_noise(3))
    common, natural = (
        measure(RawConfig(blur_logarithm=kind), projection, window, together) for kind in ("common", "natural")
    )
    assert natural["blurriness"] == pytest.approx(np.log(10) * common["blurriness"], rel=1e-12)
    for column in ("brightness", "contrast", "mean_optical_flow", "hog"):
        np.testing.assert_array_equal(natural[column], common[column])


def test_settings_that_came_later_leave_older_features_current(projection):
    """The identity that roots of earlier releases were written with; each new setting makes another."""
    older = {"tier": "raw", "code": 1, "config": {"blur_half_width": 30}, "hog": projection.sha256}
    assert RawTier(RawConfig(), projection).identity() == older
    assert RawTier(RawConfig(flow_fps=15.0), projection).identity()["config"]["flow_fps"] == 15.0
    assert RawTier(RawConfig(blur_logarithm="natural"), projection).identity() != older
