"""Encoding of frames as H.264: for the demo, the tests, and maps over space and time."""

from __future__ import annotations

import io
from fractions import Fraction
from typing import Any

import av
import numpy as np

_AUDIO_RATE = 16_000


def encode_clip(frames: np.ndarray, fps: float, audio_hz: float | None = None) -> bytes:
    """Encode frames as an .mp4 file with H.264.

    Args:
        frames: RGB, uint8, (T, H, W, 3), H and W even.
        fps: frames a second.
        audio_hz: pitch of a sine wave to accompany it, Hz; None writes no audio stream.
    Returns:
        Bytes of the file.
    """
    buffer = io.BytesIO()
    with av.open(buffer, mode="w", format="mp4") as file:
        rate = Fraction(fps).limit_denominator(1001)
        video = file.add_stream("libx264", rate=rate, options={"preset": "veryfast", "crf": "20", "threads": "1"})
        video.height, video.width, video.pix_fmt = frames.shape[1], frames.shape[2], "yuv420p"
        # The header is written with the first packet and must know every stream by then.
        audio = file.add_stream("aac", rate=_AUDIO_RATE, layout="mono") if audio_hz is not None else None
        for frame in frames:
            file.mux(video.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        file.mux(video.encode())
        if audio is not None and audio_hz is not None:
            _add_sine(file, audio, audio_hz, len(frames) / fps)
    return buffer.getvalue()


def _add_sine(file: Any, stream: Any, pitch: float, seconds: float) -> None:
    wave = 0.2 * np.sin(2 * np.pi * pitch * np.arange(int(seconds * _AUDIO_RATE)) / _AUDIO_RATE)
    for start in range(0, len(wave), 1024):
        sound = av.AudioFrame.from_ndarray(wave[None, start : start + 1024].astype(np.float32), "fltp", "mono")
        sound.sample_rate, sound.time_base, sound.pts = _AUDIO_RATE, Fraction(1, _AUDIO_RATE), start
        file.mux(stream.encode(sound))
    file.mux(stream.encode())
