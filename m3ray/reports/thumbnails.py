"""First frames of a few clips, small, for figures and page."""

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
# A page is wanted soon: a clip that takes longer is shown without a picture.
_LIMITS = LimitsConfig(decode_seconds=10, strikes=1)


def first_frames(uris: Mapping[str, str]) -> dict[str, np.ndarray]:
    """The first frame of each clip that can be read: RGB uint8, 224 wide, in the clip's own aspect ratio.

    Args:
        uris: clip to where its video lies; empty where there is none.
    """
    frames = {}
    with closing(Decoder(DecodeConfig(), _LIMITS)) as decoder:
        for clip, uri in uris.items():
            frame = _first_frame(decoder, uri) if uri else None
            if frame is not None:
                frames[clip] = frame
    return frames


def _first_frame(decoder: Decoder, uri: str) -> np.ndarray | None:
    try:
        data = read_video(uri, _LIMITS.max_bytes)
        windows = decoder.windows(data, extent="first_frame")
        facts, frames = next(windows)
        windows.close()  # type: ignore[attr-defined]
    except DecodeError:
        return None
    height = max(1, min(2 * _WIDTH, round(_WIDTH * facts.height / max(1, facts.width))))
    return cv2.resize(frames[0], (_WIDTH, height), interpolation=cv2.INTER_AREA)


def as_data_uri(frame: np.ndarray) -> str:
    """A frame as the source of an `<img>`."""
    done, data = cv2.imencode(".jpg", cv2.cvtColor(frame, cv2.COLOR_RGB2BGR), _JPEG)
    return "data:image/jpeg;base64," + base64.b64encode(data.tobytes()).decode() if done else ""
