"""Pictures and animations as files: PNG, animated WebP, MP4."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

from m3ray.errors import ConfigError
from m3ray.video.encode import encode_clip

_QUALITY = 80  # of WebP, of 100


def encode_png(picture: np.ndarray) -> bytes:
    """Encode a picture as PNG.

    Args:
        picture: RGB, uint8, (H, W, 3).
    Returns:
        Bytes of the file.
    """
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def encode_animation(frames: np.ndarray, fps: float, kind: str) -> bytes:
    """Encode frames as an animation.

    Args:
        frames: RGB, uint8, (T, H, W, 3); of an MP4 an odd row or column at the end is left out.
        fps: frames a second.
        kind: webp (begins again at its end) or mp4.
    Returns:
        Bytes of the file.
    Raises:
        ConfigError: If it is another kind.
    """
    if kind == "webp":
        return _encode_webp(frames, fps)
    if kind == "mp4":
        height, width = (side // 2 * 2 for side in frames.shape[1:3])
        return encode_clip(np.ascontiguousarray(frames[:, :height, :width]), fps)
    raise ConfigError(f"an animation as {kind}: expected webp or mp4")


def _encode_webp(frames: np.ndarray, fps: float) -> bytes:
    first, *others = (Image.fromarray(frame) for frame in frames)
    buffer = io.BytesIO()
    milliseconds = max(1, round(1000 / fps))
    first.save(
        buffer, "WEBP", save_all=True, append_images=others, duration=milliseconds, loop=0, quality=_QUALITY, method=3
    )
    return buffer.getvalue()
