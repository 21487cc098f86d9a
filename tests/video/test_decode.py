"""Decoding, through the child process as the pipeline does it; clips are made with PyAV."""

import io
import os
import signal
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from drawn import pictures

from m3ray.config import DecodeConfig, LimitsConfig
from m3ray.errors import DecodeError
from m3ray.video.containers import container_of
from m3ray.video.encode import encode_clip
from m3ray.video.sampling import resized, sampled_frames
from m3ray.video.sandbox import Decoder

CONFIG, LIMITS = DecodeConfig(), LimitsConfig()


@pytest.fixture(scope="module")
def decoder():
    decoder = Decoder(CONFIG, LIMITS)
    yield decoder
    decoder.close()


def reason_of(decoder, data):
    with pytest.raises(DecodeError) as caught:
        list(decoder.windows(data))
    return caught.value.reason


def remuxed(frames, container, fps=10, codec="libx264"):
    """`frames` in another container."""
    buffer = io.BytesIO()
    with av.open(buffer, mode="w", format=container) as file:
        stream = file.add_stream(codec, rate=fps)
        stream.height, stream.width, stream.pix_fmt = (
            frames.shape[1],
            frames.shape[2],
            "rgb8" if codec == "gif" else "yuv420p",
        )
        for frame in frames:
            file.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        file.mux(stream.encode())
    return buffer.getvalue()


def test_frames_and_facts(decoder, clip_bytes):
    ((facts, frames),) = list(decoder.windows(clip_bytes))
    assert frames.shape == (20, 256, 256, 3)
    assert frames.dtype == np.uint8
    assert (facts.width, facts.height, facts.frames, facts.sampled, facts.container) == (128, 96, 20, 20, "mov")
    assert facts.native_fps == pytest.approx(10)
    assert facts.duration == pytest.approx(2.0)
    assert (np.diff(frames.mean(axis=(1, 2, 3))) > 5).all(), "the pictures brighten from frame to frame"


def test_video_bytes_leave_audio_out(decoder, clip_bytes, silent_bytes):
    with_audio, without = (next(decoder.windows(data))[0].video_bytes for data in (clip_bytes, silent_bytes))
    assert with_audio == without
    assert without < len(silent_bytes) < len(clip_bytes)


@pytest.mark.parametrize(
    ("container", "codec", "name"),
    [
        ("matroska", "libx264", "matroska"),
        ("avi", "mpeg4", "avi"),
        ("mpegts", "libx264", "mpegts"),
        ("mpeg", "mpeg2video", "mpeg"),
        ("gif", "gif", "gif"),
        ("webm", "libvpx", "matroska"),
    ],
)
def test_every_allowed_container(decoder, container, codec, name):
    data = remuxed(pictures(20), container, fps=25 if container == "mpeg" else 10, codec=codec)
    assert container_of(data) == name
    facts, frames = next(decoder.windows(data))
    assert facts.frames == 20
    assert frames[-1].mean() > frames[0].mean() + 50


def test_sampling_follows_timestamps(decoder):
    """Variable rate: 10 frames in the first second, 30 in the next. At 10 fps both seconds count alike."""
    buffer = io.BytesIO()
    with av.open(buffer, mode="w", format="matroska") as file:
        stream = file.add_stream("libx264", rate=30)
        stream.height, stream.width, stream.pix_fmt = 96, 128, "yuv420p"

        stream.codec_context.time_base = Fraction(1, 30)
        for time in [*range(0, 30, 3), *range(30, 60)]:
            frame = av.VideoFrame.from_ndarray(np.full((96, 128, 3), 20 + 3 * time, np.uint8), format="rgb24")
            frame.pts, frame.time_base = time, Fraction(1, 30)
            file.mux(stream.encode(frame))
        file.mux(stream.encode())
    child = Decoder(replace(CONFIG, fps=10), LIMITS)
    facts, frames = next(child.windows(buffer.getvalue()))
    child.close()
    assert facts.frames == 40
    np.testing.assert_allclose(frames.mean(axis=(1, 2, 3)), 20 + 9 * np.arange(20), atol=4)


@pytest.mark.parametrize(("fps", "expected"), [(15, 15), (30, 30), (60, 30), (1, 1), (0.1, 1)])
def test_never_above_the_native_rate(fps, expected):
    times = np.arange(30) / 30
    positions = sampled_frames(times, 1.0, fps)
    assert len(positions) == expected
    assert (np.diff(positions) >= 1).all()


def test_rounded_timestamps_pick_the_frame_that_is_due():
    """Matroska's milliseconds: 33, 67, 100; at 15 fps every second frame."""
    assert sampled_frames(np.round(np.arange(12) / 30, 3), 0.4, 15).tolist() == [0, 2, 4, 6, 8, 10]


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


def test_abandoned_windows_leave_the_decoder_usable(clip_bytes):
    child = Decoder(replace(CONFIG, window_frames=4), LIMITS)
    windows = child.windows(clip_bytes)
    next(windows)
    served_by = child._child.pid
    windows.close()
    assert len(list(child.windows(clip_bytes))) == 5
    assert child._child.pid == served_by, "a request ends without the process"
    child.close()


def test_the_child_has_no_keys_and_says_whether_it_has_a_network(clip_bytes, monkeypatch):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "s3cret")
    monkeypatch.setenv("RAY_AUTH_TOKEN", "t0ken")
    child = Decoder(CONFIG, LIMITS)
    assert child.isolated is None
    next(child.windows(clip_bytes))
    list(child.windows(clip_bytes))
    environment = Path(f"/proc/{child._child.pid}/environ")
    if environment.exists():
        assert b"s3cret" not in environment.read_bytes()
        assert b"t0ken" not in environment.read_bytes()
    assert child.isolated in (True, False)
    child.close()


def test_what_is_wanted_of_a_clip_is_what_comes(clip_bytes):
    child = Decoder(replace(CONFIG, window_frames=8), LIMITS)
    whole = np.concatenate([frames for _, frames in child.windows(clip_bytes)])
    assert np.array_equal(child.first_window(clip_bytes), whole[:8])
    facts, frames = child.one_window(clip_bytes)
    assert (facts.sampled, frames) == (20, None), "longer than a window: no frame, and what its packets say"
    child.close()
    child = Decoder(CONFIG, LIMITS)
    assert np.array_equal(child.one_window(clip_bytes)[1], whole)
    child.close()


def test_a_clip_of_many_windows_is_read_twice_and_is_the_same(clip_bytes):
    """Twenty frames in windows of two: more than are held until the end."""
    child = Decoder(replace(CONFIG, window_frames=2), LIMITS)
    windows = list(child.windows(clip_bytes))
    child.close()
    child = Decoder(CONFIG, LIMITS)
    ((facts, frames),) = child.windows(clip_bytes)
    child.close()
    assert [len(part) for _, part in windows] == [2] * 10
    assert windows[0][0] == facts
    assert np.array_equal(np.concatenate([part for _, part in windows]), frames)


def test_windows_that_somebody_still_holds_do_not_reach_into_the_next_clip(clip_bytes):
    child = Decoder(replace(CONFIG, window_frames=4), LIMITS)
    held = child.windows(clip_bytes)
    next(held)
    other = encode_clip(pictures(6), 10)
    assert [facts.frames for facts, _ in child.windows(other)] == [6, 6]
    assert [facts.frames for facts, _ in child.windows(clip_bytes)] == [20] * 5
    with pytest.raises(RuntimeError, match="another clip"):
        next(held)
    assert [facts.frames for facts, _ in child.windows(other)] == [6, 6]
    child.close()


def test_a_child_that_hangs_before_it_reads_does_not_take_its_parent_along(clip_bytes, monkeypatch):
    monkeypatch.setattr("m3ray.video.sandbox._START_SECONDS", 1.0)
    child = Decoder(CONFIG, replace(LIMITS, decode_seconds=5.0))
    list(child.windows(clip_bytes))
    stopped = child._child.pid
    os.kill(stopped, signal.SIGSTOP)
    ((_, frames),) = child.windows(clip_bytes + bytes(3 << 20))  # more than a pipe holds
    assert len(frames) == 20
    assert child._child.pid != stopped
    child.close()


def test_a_decoder_that_hangs_is_followed_by_the_other(clip_bytes, monkeypatch):
    asked = []
    request = Decoder._request

    def hanging(self, data, extent, decoder):
        asked.append(decoder)
        if len(asked) == 1:
            self._running()  # a child that was never asked answers as late as one that hangs
        else:
            request(self, data, extent, decoder)

    monkeypatch.setattr(Decoder, "_request", hanging)
    child = Decoder(CONFIG, replace(LIMITS, decode_seconds=3.0))
    assert len(next(child.windows(clip_bytes))[1]) == 20
    assert asked == ["pyav", "decord alone"]
    child.close()


def test_too_large_names_the_option_to_raise(clip_bytes):
    child = Decoder(CONFIG, replace(LIMITS, max_pixels=1000))
    with pytest.raises(DecodeError, match=r"raise limits\.max-pixels"):
        list(child.windows(clip_bytes))
    child.close()


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty_file"),
        (b"hello, I am a text named clip.mp4\n" * 9, "not_a_video"),
        (b"#EXTM3U\n#EXTINF:2,\n/etc/passwd\n", "not_a_video"),
        (b"ffconcat version 1.0\nfile other.mp4\n", "not_a_video"),
        (b"\x00\x00\x00\x20ftypisom" + b"\x00" * 200, "unreadable"),
        (b"\x1a\x45\xdf\xa3" + b"\xff" * 300, "unreadable"),
        (b"GIF89a" + b"\x00" * 50, None),
    ],
)
def test_what_is_not_a_video_is_rejected_with_a_reason(decoder, data, reason):
    found = reason_of(decoder, data)
    assert found == reason if reason else found in {"unreadable", "no_frames", "no_video_stream", "damaged"}


def test_truncated_and_audio_only(decoder, clip_bytes):
    assert reason_of(decoder, clip_bytes[: len(clip_bytes) // 2]) in {"unreadable", "truncated"}
    buffer = io.BytesIO()
    with av.open(buffer, mode="w", format="mp4") as file:
        stream = file.add_stream("aac", rate=16_000, layout="mono")
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
        sound.sample_rate = 16_000
        file.mux(stream.encode(sound))
        file.mux(stream.encode())
    assert reason_of(decoder, buffer.getvalue()) == "no_video_stream"


@pytest.mark.parametrize(
    ("limits", "reason"),
    [({"max_pixels": 1000}, "too_large"), ({"max_seconds": 1.0}, "too_long"), ({"decode_seconds": 0.0}, "timed_out")],
)
def test_limits(clip_bytes, limits, reason):
    child = Decoder(CONFIG, replace(LIMITS, **limits))
    assert reason_of(child, clip_bytes) == reason
    child.close()


def test_a_decoder_that_dies_is_restarted_and_the_clip_rejected(clip_bytes, monkeypatch):
    child = Decoder(CONFIG, LIMITS)
    request = Decoder._request
    struck = []

    def deadly(self, data, extent, decoder):
        request(self, data, extent, decoder)
        if len(data) == 13:  # the poison: kills its decoder, as a SIGSEGV would
            struck.append(self._child.pid)
            self._child.kill()

    monkeypatch.setattr(Decoder, "_request", deadly)
    assert reason_of(child, b"poison poison") == "decoder_crashed"
    assert len(set(struck)) == LIMITS.strikes
    assert len(next(child.windows(clip_bytes))[1]) == 20, "the next clip is served"
    child.close()


def test_a_child_out_of_memory_names_the_limit():
    child = Decoder(CONFIG, replace(LIMITS, memory_mb=700))
    huge = encode_clip(np.zeros((2, 64, 64, 3), np.uint8), 10)
    data = huge + b"\x00" * (600 << 20)
    assert reason_of(child, data) in {"out_of_memory", "decoder_crashed", "decoder_error", "unreadable"}
    assert len(next(child.windows(huge))[1]) == 2
    child.close()


def test_resize_averages_when_it_shrinks():
    stripes = np.zeros((512, 512, 3), np.uint8)
    stripes[:, ::2] = 255
    assert np.unique(resized(stripes, 256)).tolist() in ([127], [128])


# The real clips, where they are at hand.


@pytest.mark.parametrize(
    ("name", "decoder_name", "size"),
    [("av1.mkv", "pyav", (640, 360)), ("rotated_90.mov", "pyav", (320, 568)), ("nasa.mp4", None, (480, 270))],
)
def test_real_clips(shared_videos, decoder, name, decoder_name, size):
    facts, frames = next(decoder.windows((shared_videos / name).read_bytes()))
    assert (facts.width, facts.height) == size
    assert decoder_name is None or facts.decoder == decoder_name
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
