"""Frames for training: kept after the first time, the same from disk as from the video."""

import numpy as np
import pytest

from m3ray.config import DecodeConfig, LimitsConfig
from m3ray.errors import DecodeError
from m3ray.video.frame_cache import FrameCache, shrink_frames, temporal_crop
from m3ray.video.sandbox import Decoder

LIMITS = LimitsConfig()


@pytest.fixture
def decoder():
    found = Decoder(DecodeConfig(fps=10, window_frames=16), LIMITS)
    yield found
    found.close()


def test_a_clip_is_decoded_once(decoder, silent_bytes, tmp_path):
    video = tmp_path / "clip.mp4"
    video.write_bytes(silent_bytes)
    store = FrameCache(decoder.config, 64, str(tmp_path / "kept"))
    first = store.frames(decoder, str(video), LIMITS)
    assert first.shape == (16, 64, 64, 3), "the first window of twenty frames"
    assert first.dtype == np.uint8
    video.unlink()
    np.testing.assert_array_equal(store.frames(decoder, str(video), LIMITS), first)
    with pytest.raises(DecodeError):
        FrameCache(decoder.config, 64, None).frames(decoder, str(video), LIMITS)


def test_frames_of_a_clip_that_changed_are_not_those_that_were_kept(decoder, silent_bytes, tmp_path):
    video = str(tmp_path / "clip.mp4")
    (tmp_path / "clip.mp4").write_bytes(silent_bytes)
    kept = [FrameCache(decoder.config, 64, str(tmp_path / "kept"), {video: text}) for text in ("3:1 /a", "3:2 /a")]
    kept[0].frames(decoder, video, LIMITS)
    (tmp_path / "clip.mp4").unlink()
    kept[0].frames(decoder, video, LIMITS)
    with pytest.raises(DecodeError):
        kept[1].frames(decoder, video, LIMITS)


def test_clip_after_clip_is_served_by_one_process(decoder, silent_bytes, tmp_path):
    video = tmp_path / "clip.mp4"
    video.write_bytes(silent_bytes)
    served = set()
    for _ in range(3):
        FrameCache(decoder.config, 32, None).frames(decoder, str(video), LIMITS)
        served.add(decoder._child.pid)
    assert len(served) == 1


def test_what_was_kept_in_part_is_decoded_again(decoder, silent_bytes, tmp_path):
    video = tmp_path / "clip.mp4"
    video.write_bytes(silent_bytes)
    store = FrameCache(decoder.config, 32, str(tmp_path / "kept"))
    first = store.frames(decoder, str(video), LIMITS)
    (kept,) = (tmp_path / "kept").rglob("*.npy")
    kept.write_bytes(kept.read_bytes()[:100])
    np.testing.assert_array_equal(store.frames(decoder, str(video), LIMITS), first)
    assert not list((tmp_path / "kept").rglob("*.npy.*"))


def test_other_settings_are_other_frames(decoder, silent_bytes, tmp_path):
    video = tmp_path / "clip.mp4"
    video.write_bytes(silent_bytes)
    for size in (32, 64):
        frames = FrameCache(decoder.config, size, str(tmp_path / "kept")).frames(decoder, str(video), LIMITS)
        assert frames.shape[1] == size


def test_a_folder_that_cannot_be_written_is_no_reason_to_stop(decoder, silent_bytes, tmp_path):
    video = tmp_path / "clip.mp4"
    video.write_bytes(silent_bytes)
    (tmp_path / "file").write_text("in the way")
    store = FrameCache(decoder.config, 32, str(tmp_path / "file"))
    assert len(store.frames(decoder, str(video), LIMITS)) == 16


def test_pixels_are_means_and_stretches_are_consecutive():
    frames = np.arange(4 * 4 * 3, dtype=np.uint8).reshape(1, 4, 4, 3)
    mean = frames.reshape(1, 2, 2, 2, 2, 3).mean(axis=(2, 4))
    np.testing.assert_allclose(shrink_frames(frames, 2), mean, atol=0.5)
    clip = np.arange(10)[:, None, None, None]
    assert temporal_crop(clip, 4, None).ravel().tolist() == [3, 4, 5, 6], "the middle"
    starts = {int(temporal_crop(clip, 4, np.random.default_rng(k)).ravel()[0]) for k in range(60)}
    assert starts == set(range(7))
    assert len(temporal_crop(clip, 20, None)) == 10
