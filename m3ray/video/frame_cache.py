"""Cache of small frames for finetuning: a clip is decoded once and read from disk in later epochs."""

from __future__ import annotations

import hashlib
import os
import uuid
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from m3ray.config import DecodeConfig, LimitsConfig, as_json
from m3ray.video.reader import read_video
from m3ray.video.sampling import DECODING, resize
from m3ray.video.sandbox import Decoder


@dataclass(frozen=True)
class FrameCache:
    """Frames of clips on this node's disk.

    Args:
        decode: sampling rate and size of the decoder's frames.
        size: height and width of the cached frames, at most the decoder's, pixels.
        folder: folder of the cache; None caches nothing, so that each call decodes.
        contents: URI to the stamp of the file behind it: a clip that changed is decoded again.
    """

    decode: DecodeConfig
    size: int
    folder: str | None
    contents: Mapping[str, str | None] = field(default_factory=dict)

    def frames(
        self, decoder: Decoder, uri: str, limits: LimitsConfig, read: Callable[[str, int], bytes] = read_video
    ) -> np.ndarray:
        """Load the first window of a clip from the cache, or decode and cache it.

        Args:
            decoder: decoder for clips that are not cached.
            uri: URI of the clip.
            limits: per-clip limits, of which `max_bytes` bounds what is read.
            read: function from a URI and a largest number of bytes to the bytes of the file.
        Returns:
            uint8, (T, size, size, 3), T at most the decoder's `window_frames`.
        Raises:
            DecodeError: If the video cannot be read.
        """
        path = self._cache_path(uri)
        if path is not None and path.is_file():
            with suppress(OSError, ValueError):  # truncated by a full disk, for example: decoded again
                return np.load(path, allow_pickle=False)
        small = shrink_frames(decoder.first_window(read(uri, limits.max_bytes)), self.size)
        if path is not None:
            _save(path, small)
        return small

    def _cache_path(self, uri: str) -> Path | None:
        if self.folder is None:
            return None
        parts = (uri, self.contents.get(uri), as_json(self.decode), self.size, DECODING)
        key = hashlib.sha256(repr(parts).encode()).hexdigest()
        return Path(self.folder) / key[:2] / f"{key[2:34]}.npy"


def shrink_frames(frames: np.ndarray, size: int) -> np.ndarray:
    """Shrink frames, each pixel the mean of the pixels that it covers.

    Args:
        frames: uint8, (T, H, W, 3), H and W at least `size`.
        size: new height and width, pixels.
    Returns:
        uint8, (T, size, size, 3).
    """
    if frames.shape[1] == size:
        return np.ascontiguousarray(frames)
    return np.stack([resize(frame, size) for frame in frames])


def temporal_crop(frames: np.ndarray, length: int, rng: np.random.Generator | None) -> np.ndarray:
    """Crop a clip to consecutive frames: at random, or to its middle.

    Args:
        frames: frames of the clip, (T, ...).
        length: largest number of frames to take.
        rng: generator that draws the first frame; None takes the middle of the clip.
    Returns:
        A view of at most `length` frames.
    """
    spare = len(frames) - length
    if spare <= 0:
        return frames
    start = spare // 2 if rng is None else int(rng.integers(spare + 1))
    return frames[start : start + length]


def _save(path: Path, frames: np.ndarray) -> None:
    """Write a file whole or not at all; a full disk is no reason to stop a training."""
    temporary = path.with_suffix(f".{uuid.uuid4().hex}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as file:
            np.save(file, frames, allow_pickle=False)
        os.replace(temporary, path)
    except OSError:
        with suppress(OSError):
            temporary.unlink()
