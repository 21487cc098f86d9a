"""Clips that the demo and the tests write, read back with PyAV alone."""

import io

import av
import numpy as np
import pytest
from drawn import pictures

from m3ray.video.encode import encode_clip


def test_pictures_come_back_nearly_as_they_were():
    frames = pictures(8)
    with av.open(io.BytesIO(encode_clip(frames, 12))) as file:
        (stream,) = file.streams.video
        assert (stream.codec_context.name, stream.average_rate, stream.frames) == ("h264", 12, 8)
        assert not file.streams.audio
        back = np.stack([frame.to_ndarray(format="rgb24") for frame in file.decode(stream)])
    assert back.shape == frames.shape
    assert np.abs(back.mean(axis=(1, 2, 3)) - frames.mean(axis=(1, 2, 3))).max() < 2


def test_sound_is_a_sine_of_the_pitch_asked_for_and_as_long_as_the_pictures():
    with av.open(io.BytesIO(encode_clip(pictures(20), 10, audio_hz=500.0))) as file:
        sound = np.concatenate([frame.to_ndarray()[0] for frame in file.decode(file.streams.audio[0])])
    assert len(sound) / 16_000 == pytest.approx(2.0, abs=0.15)
    peak = np.fft.rfftfreq(len(sound), 1 / 16_000)[np.abs(np.fft.rfft(sound)).argmax()]
    assert peak == pytest.approx(500, abs=3)


def test_the_same_pictures_give_the_same_bytes():
    assert encode_clip(pictures(5), 10) == encode_clip(pictures(5), 10)
