"""Decoding in a child process: crashes, hangs, limits, and clips that are left half read."""

import os
import signal
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from decoding import CONFIG, LIMITS, reason_of
from drawn import pictures

from m3ray.errors import DecodeError
from m3ray.video.encode import encode_clip
from m3ray.video.sandbox import Decoder


def test_abandoned_windows_leave_the_decoder_usable(clip_bytes):
    child = Decoder(replace(CONFIG, window_frames=4), LIMITS)
    windows = child.windows(clip_bytes)
    next(windows)
    served_by = child._child.pid
    windows.close()  # type: ignore[attr-defined]
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
    child.close()


def test_windows_that_somebody_still_holds_do_not_reach_into_the_next_clip(clip_bytes):
    child = Decoder(replace(CONFIG, window_frames=4), LIMITS)
    held = child.windows(clip_bytes)
    next(held)
    other = encode_clip(pictures(6), 10)
    assert [metadata.frames for metadata, _ in child.windows(other)] == [6, 6]
    assert [metadata.frames for metadata, _ in child.windows(clip_bytes)] == [20] * 5
    with pytest.raises(RuntimeError, match="another clip"):
        next(held)
    assert [metadata.frames for metadata, _ in child.windows(other)] == [6, 6]
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
            self._ensure_child()  # a child that was never asked answers as late as one that hangs
        else:
            request(self, data, extent, decoder)

    monkeypatch.setattr(Decoder, "_request", hanging)
    child = Decoder(CONFIG, replace(LIMITS, decode_seconds=3.0))
    assert len(next(child.windows(clip_bytes))[1]) == 20
    assert asked == ["pyav", "decord alone"]
    child.close()


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
    assert len(set(struck)) == LIMITS.crash_count
    assert len(next(child.windows(clip_bytes))[1]) == 20, "the next clip is served"
    child.close()


@pytest.mark.parametrize(
    ("config", "padding"),
    [(CONFIG, 600 << 20), (replace(CONFIG, size=2048, window_frames=64), 0)],
    ids=["the file does not fit", "a window of frames does not fit"],
)
def test_a_child_out_of_memory_names_the_limit(config, padding):
    child = Decoder(config, replace(LIMITS, memory_mb=700))
    data = encode_clip(np.zeros((2, 64, 64, 3), np.uint8), 10)
    with pytest.raises(DecodeError, match=r"needs more than the 700 MiB of limits\.memory-mb: raise it") as error:
        list(child.windows(data + bytes(padding)))
    assert error.value.reason == "out_of_memory"
    served_by = child._child.pid
    assert len(next(child.windows(data, extent="first_frame"))[1]) == 1, "the next clip is served"
    assert child._child.pid == served_by, "by the same child"
    child.close()
