"""Films for tests: scenes of a moving disc before a picture of their own, cut to each other, and files made of them."""

import io
from fractions import Fraction

import av
import cv2
import numpy as np

TICKS = 1000


def draw_scene(rng, frames, height=72, width=96):
    """A scene: a picture that drifts, a disc that moves, and some noise; uint8, (frames, height, width, 3)."""
    coarse = rng.integers(0, 256, (6, 8, 3)).astype(np.uint8)
    backdrop = cv2.resize(coarse, (2 * width, 2 * height), interpolation=cv2.INTER_CUBIC)
    drift, place, speed = rng.uniform(-1, 1, 2), rng.uniform(10, 60, 2), rng.uniform(-2, 2, 2)
    colour = [int(value) for value in rng.integers(0, 256, 3)]
    scene = []
    for k in range(frames):
        x, y = (int(np.clip(side / 2 + d * k, 0, side)) for side, d in zip((width, height), drift, strict=True))
        picture = backdrop[y : y + height, x : x + width].copy()
        at = place + speed * k
        cv2.circle(picture, (int(at[0] % width), int(at[1] % height)), 8, colour, -1)
        scene.append(np.clip(picture + rng.normal(0, 4, picture.shape), 0, 255).astype(np.uint8))
    return np.stack(scene)


def draw_film(seed, lengths, **size):
    """Scenes of so many frames, one after the other."""
    rng = np.random.default_rng(seed)
    return np.concatenate([draw_scene(rng, length, **size) for length in lengths])


def encode_film(frames, fps=25, *, codec="libx264", container="mp4", times=None, sound=None, **options):
    """A file of frames; `times` (milliseconds) of each, else steady; `sound`: codec of a tone along with them."""
    buffer = io.BytesIO()
    with av.open(buffer, "w", format=container) as file:
        stream = file.add_stream(codec, rate=fps, options={"threads": "1", **options})
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = "yuv420p"
        if times is not None:
            stream.codec_context.time_base = Fraction(1, TICKS)
        ears = None if sound is None else file.add_stream(sound, rate=48000, layout="mono")
        for k, picture in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            if times is not None:
                frame.pts, frame.time_base = int(times[k]), Fraction(1, TICKS)
            file.mux(stream.encode(frame))
        file.mux(stream.encode())
        if ears is not None:
            _add_tone(file, ears, len(frames) / fps)
    return buffer.getvalue()


def _add_tone(file, stream, seconds):
    wave = (0.2 * np.sin(2 * np.pi * 440 * np.arange(int(seconds * 48000)) / 48000)).astype(np.float32)
    for start in range(0, len(wave) - 960, 960):
        tone = av.AudioFrame.from_ndarray(wave[None, start : start + 960], "flt", "mono")
        tone.sample_rate, tone.time_base, tone.pts = 48000, Fraction(1, 48000), start
        resampler = av.AudioResampler(stream.codec_context.format.name)
        for part in resampler.resample(tone):
            file.mux(stream.encode(part))
    file.mux(stream.encode())


def decode_film(data):
    """Frames of a file as PyAV gives them, RGB, in the order in which they are shown."""
    with av.open(io.BytesIO(data)) as file:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in file.decode(video=0)])
