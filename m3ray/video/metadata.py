"""Metadata of a clip: its size, rate, length and the like, as decoding found them."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class VideoMetadata:
    """What decoding learned of a clip.

    Args:
        width: width of a frame as shown, rotation applied, pixels.
        height: height of a frame as shown, rotation applied, pixels.
        native_fps: mean frames a second of the video.
        duration: length of the video, seconds.
        frames: number of frames that a player shows.
        sampled: number of frames taken.
        video_bytes: size of the video stream as stored, bytes, audio not counted.
        container: FFmpeg's name of the container.
        decoder: `decord` or `pyav`, the decoder that served the clip.
    """

    width: int
    height: int
    native_fps: float
    duration: float
    frames: int
    sampled: int
    video_bytes: int
    container: str
    decoder: str = ""

    def as_dict(self) -> dict[str, Any]:
        """Field names to values, all of them plain JSON."""
        return asdict(self)
