"""Decoding, through the child process as the pipeline does it; clips are made with PyAV."""

import io
from dataclasses import replace

import av
import numpy as np
import pytest
from decoding import CONFIG, LIMITS, reason_of
from drawn import pictures
from hostile import audio_only

from m3ray.errors import DecodeError
from m3ray.video.encode import encode_clip
from m3ray.video.sandbox import Decoder


def test_frames_and_metadata(decoder, clip_bytes):
    ((metadata, frames),) = list(decoder.windows(clip_bytes))
    assert frames.shape == (20, 256, 256, 3)
    assert frames.dtype == np.uint8
    assert (metadata.width, metadata.height, metadata.container) == (128, 96, "mov")
    assert (metadata.frames, metadata.sampled) == (20, 20)
    assert metadata.native_fps == pytest.approx(10)
    assert metadata.duration == pytest.approx(2.0)
    assert (np.diff(frames.mean(axis=(1, 2, 3))) > 5).all(), "the pictures brighten from frame to frame"


def test_video_bytes_leave_audio_out(decoder, clip_bytes, silent_bytes):
    with_audio, without = (next(decoder.windows(data))[0].video_bytes for data in (clip_bytes, silent_bytes))
    assert with_audio == without
    assert without < len(silent_bytes) < len(clip_bytes)


def test_long_clips_come_in_windows(decoder):
    child = Decoder(replace(CONFIG, window_frames=8), LIMITS)
    data = encode_clip(pictures(20), 10)
    windows = [frames for _, frames in child.windows(data)]
    child.close()
    assert [len(w) for w in windows] == [8, 8, 4]
    assert np.array_equal(np.concatenate(windows), next(decoder.windows(data))[1])


def test_the_first_frame_alone(decoder, clip_bytes):
    ((_, frame),) = list(decoder.windows(clip_bytes, extent="first_frame"))
    assert np.array_equal(frame[0], next(decoder.windows(clip_bytes))[1][0])


def test_a_clip_of_many_windows_is_read_twice_and_is_the_same(clip_bytes):
    """Twenty frames in windows of two: more than are held until the end."""
    child = Decoder(replace(CONFIG, window_frames=2), LIMITS)
    windows = list(child.windows(clip_bytes))
    child.close()
    child = Decoder(CONFIG, LIMITS)
    ((metadata, frames),) = child.windows(clip_bytes)
    child.close()
    assert [len(part) for _, part in windows] == [2] * 10
    assert windows[0][0] == metadata
    assert np.array_equal(np.concatenate([part for _, part in windows]), frames)


def test_too_large_names_the_option_to_raise(clip_bytes):
    child = Decoder(CONFIG, replace(LIMITS, max_pixels=1000))
    with pytest.raises(DecodeError, match=r"raise limits\.max-pixels"):
        list(child.windows(clip_bytes))
    child.close()


def test_truncated_and_audio_only(decoder, clip_bytes):
    assert reason_of(decoder, clip_bytes[: len(clip_bytes) // 2]) == "truncated"
    assert reason_of(decoder, audio_only()) == "no_video_stream"


@pytest.mark.parametrize(
    ("name", "decoder_name", "size"),
    [("av1.mkv", "pyav", (640, 360)), ("rotated_90.mov", "pyav", (320, 568)), ("nasa.mp4", None, (480, 270))],
)
def test_real_clips(shared_videos, decoder, name, decoder_name, size):
    metadata, frames = next(decoder.windows((shared_videos / name).read_bytes()))
    assert (metadata.width, metadata.height) == size
    assert decoder_name is None or metadata.decoder == decoder_name
    assert frames.shape[1:] == (256, 256, 3)


@pytest.mark.parametrize(
    "name", ["arm_wrestling.mp4", "av1.mkv", "bikes.mp4", "carphone.mp4", "h265.mp4", "nasa.mp4", "pancake.mkv"]
)
def test_real_clips_are_as_bright_as_pyav_shows_them(shared_videos, decoder, name):
    """The bound is the issue's; the peer reads every frame in order and takes the one on the screen at k / 15."""
    data = (shared_videos / name).read_bytes()
    with av.open(io.BytesIO(data)) as file:
        stream = max(file.streams.video, key=lambda stream: stream.width * stream.height)
        shown = [(float(f.time), f.to_ndarray(format="rgb24").max(axis=2).mean() / 255) for f in file.decode(stream)]
    times = np.array([time for time, _ in shown]) - shown[0][0]
    due = np.arange(0, times[-1] + 1e-6, 1 / 15) if np.diff(times).min() < 1 / 15 - 1e-3 else times
    expected = np.mean([shown[k][1] for k in np.searchsorted(times, due + 1e-3, side="right") - 1])
    frames = np.concatenate([frames for _, frames in decoder.windows(data)])
    assert abs(frames.max(axis=3).mean() / 255 - expected) < 0.01


def test_the_corrupted_clip_is_rejected(shared_videos, decoder):
    assert reason_of(decoder, (shared_videos / "corrupted.mp4").read_bytes()) == "damaged"
