"""Small first frames of a few clips, for figures and the page."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from contextlib import closing

import cv2
import numpy as np

from m3ray.config import DecodeConfig, LimitsConfig
from m3ray.errors import DecodeError
from m3ray.video.reader import read_video
from m3ray.video.sandbox import Decoder

_WIDTH = 224
_JPEG = (cv2.IMWRITE_JPEG_QUALITY, 78)
# A report must not wait for one slow clip, which is shown without a picture instead.
_LIMITS = LimitsConfig(decode_seconds=10, crash_count=1)


def read_first_frames(uris: Mapping[str, str], width: int = _WIDTH) -> dict[str, np.ndarray]:
    """Read the first frame of each clip that can be read.

    Args:
        uris: clip id to the URI of its video; an empty URI is left out.
        width: width of the frames, pixels.
    Returns:
        Clip id to its frame, RGB uint8 (H, width, 3) in the clip's own aspect ratio.
    """
    frames = {}
    with closing(Decoder(DecodeConfig(), _LIMITS)) as decoder:
        for clip, uri in uris.items():
            frame = _read_first_frame(decoder, uri, width) if uri else None
            if frame is not None:
                frames[clip] = frame
    return frames


def _read_first_frame(decoder: Decoder, uri: str, width: int) -> np.ndarray | None:
    try:
        data = read_video(uri, _LIMITS.max_bytes)
        windows = decoder.windows(data, extent="first_frame")
        metadata, frames = next(windows)
        windows.close()  # type: ignore[attr-defined]
    except DecodeError:
        return None
    height = max(1, min(2 * width, round(width * metadata.height / max(1, metadata.width))))
    return cv2.resize(frames[0], (width, height), interpolation=cv2.INTER_AREA)


def as_data_uri(frame: np.ndarray) -> str:
    """A frame as the source of an `<img>`.

    Args:
        frame: picture, RGB uint8 (H, W, 3).
    Returns:
        A data URI with a JPEG; empty where OpenCV cannot encode it.
    """
    encoded, data = cv2.imencode(".jpg", cv2.cvtColor(frame, cv2.COLOR_RGB2BGR), _JPEG)
    return "data:image/jpeg;base64," + base64.b64encode(data.tobytes()).decode() if encoded else ""
