"""The raw tier's fifteen numbers of a clip."""

from typing import Any

import numpy as np
import pytest
import torch
from counting import META, count_operations
from drifting import drifting_noise

from m3ray.config import RawConfig
from m3ray.tiers import Window, average_windows, fit_hog_projection
from m3ray.tiers.hog import LENGTH
from m3ray.tiers.raw_tier import RawTier, _frames_and_lead, _weigh
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


@pytest.mark.parametrize("window", [Window(drifting_noise(6)), Window(drifting_noise(10)[1:], 1, drifting_noise(1)[0])])
def test_the_way_of_a_gpu_gives_what_the_way_of_a_cpu_gives(raw, window, monkeypatch):
    """Frames as they come, one upload a window, in other parts; on the CPU, as there is no GPU."""
    monkeypatch.setattr("m3ray.tiers.raw_tier._FRAMES_AT_ONCE_ON_GPU", 4)
    upload = Upload(Transfers(CPU).stage(_frames_and_lead(window)))
    found = _weigh(window, raw._compute_uploaded(window, upload).numpy(), 4)
    (expected,) = raw.compute([window])
    for column, value in expected.items():
        assert found[column].weight == value.weight
        np.testing.assert_allclose(found[column].value, value.value, rtol=1e-4, atol=1e-4)


class CountedTransfers(Transfers):
    """Uploads to `meta`, whose numbers cannot come back: zeros stand for them."""

    def __init__(self):
        super().__init__(META)
        self.uploads, self.waits = 0, 0

    def upload(self, tensors):
        uploads = super().upload(tensors)
        self.uploads += len(uploads)
        return uploads

    def download(self, tensors):
        self.waits += 1
        assert {tensor.device for tensor in tensors} == {META}
        return [np.zeros(tensor.shape, np.float32) for tensor in tensors]


def test_a_batch_of_windows_is_one_upload_each_and_one_wait(projection, monkeypatch):
    """Before: for each 16 frames two uploads of frames, 36 of constants, and five waits for numbers."""
    tier, transfers = RawTier(RawConfig(), projection), CountedTransfers()
    tier.setup(META)
    monkeypatch.setattr("m3ray.tiers.raw_tier.transfers_of", lambda device: transfers)
    windows = [Window(drifting_noise(20)), Window(drifting_noise(3), 1, drifting_noise(1)[0])]
    counted = count_operations(tier.compute, windows)
    assert transfers.uploads == 2 * len(windows), "each window's frames, in each of two calls"
    assert counted.uploads == len(windows)
    assert counted.downloads == 0
    assert transfers.waits == 2


def test_launches_of_a_part_do_not_grow_with_its_frames(projection):
    """1,110 for up to 64 frames; before, about as many for each 16."""
    tier = RawTier(RawConfig(), projection)
    tier.setup(META)
    counts = {
        count: count_operations(
            tier.compute_parts, None, [torch.empty(count, 3, 256, 256, dtype=torch.uint8, device=META)]
        )
        for count in (16, 64)
    }
    assert counts[16].launches == counts[64].launches <= 1110
    assert counts[64].uploads == counts[64].downloads == 0


def test_raw_computes_in_ieee_float32(raw, monkeypatch):
    """Flow's blurs and fits are convolutions, which cuDNN takes in TF32 by default."""
    told = []

    def tell(gray):
        told.append(CUDNN.conv.fp32_precision)
        return torch.zeros(1)

    monkeypatch.setattr("m3ray.tiers.raw_tier.mean_optical_flow", tell)
    raw.compute([Window(drifting_noise(2))])
    assert told == ["ieee"]
