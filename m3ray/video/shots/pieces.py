"""The sampled frames of a clip, taken apart into its shots while they are decoded."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from m3ray.errors import DecodeError
from m3ray.video.metadata import VideoMetadata
from m3ray.video.shots.timeline import Shots


@dataclass(frozen=True)
class ShotPiece:
    """A decoder window of a shot, as if the shot were a clip.

    Args:
        shot: number of the shot, from 0.
        index: position of the window in the shot, from 0.
        count: number of windows of the shot.
        frames: RGB, uint8, (T, H, W, 3).
        metadata: metadata of the shot: its frames, its length, and its share of the clip's bytes.
    """

    shot: int
    index: int
    count: int
    frames: np.ndarray
    metadata: VideoMetadata


def iter_shot_pieces(
    windows: Iterable[tuple[VideoMetadata, np.ndarray]], shots: Shots, window_frames: int
) -> Iterator[ShotPiece]:
    """Take a clip apart into its shots while it is decoded; memory holds two decoder windows, however long a shot is.

    Args:
        windows: consecutive windows of metadata and frames, as the decoder gives them.
        shots: the clip's shots.
        window_frames: frames of a decoder window, which a longer shot is taken in.
    Yields:
        Each shot's windows, in order.
    Raises:
        DecodeError: If the clip has other sampled frames than when its shots were found.
    """
    held: list[np.ndarray] = []
    due, got = _lay_pieces(shots, window_frames), 0
    piece = next(due)
    for metadata, frames in windows:
        got += len(frames)
        if metadata.sampled != shots.sampled or got > shots.sampled:
            raise _other_frames_error(metadata.sampled, shots.sampled)
        rest = frames
        while piece is not None and sum(map(len, held)) + len(rest) >= piece.length:
            missing = piece.length - sum(map(len, held))
            taken = np.concatenate([*held, rest[:missing]]) if held else rest[:missing]
            held, rest = [], rest[missing:]
            yield ShotPiece(piece.shot, piece.index, piece.count, taken, _shot_metadata(metadata, shots, piece.shot))
            piece = next(due, None)
        if len(rest):
            held.append(rest)
    if got != shots.sampled:
        raise _other_frames_error(got, shots.sampled)


@dataclass(frozen=True)
class _Due:
    """A piece that is to come, of so many frames."""

    shot: int
    index: int
    count: int
    length: int


def _lay_pieces(shots: Shots, window_frames: int) -> Iterator[_Due | None]:
    for shot, slots in enumerate(shots.slot_counts.tolist()):
        count = -(-slots // window_frames)
        for index in range(count):
            yield _Due(shot, index, count, min(window_frames, slots - index * window_frames))


def _shot_metadata(clip: VideoMetadata, shots: Shots, shot: int) -> VideoMetadata:
    """Metadata of a shot; those of the clip itself where it has one shot alone."""
    if len(shots) == 1:
        return clip
    frames, sampled = int(shots.frame_counts[shot]), int(shots.slot_counts[shot])
    duration = float(shots.ends[shot] - shots.starts[shot])
    return replace(
        clip,
        frames=frames,
        sampled=sampled,
        duration=duration,
        native_fps=frames / duration if duration > 0 else clip.native_fps,
        video_bytes=round(clip.video_bytes * frames / clip.frames),
    )


def _other_frames_error(got: int, expected: int) -> DecodeError:
    words = f"{got} sampled frames now, {expected} when its shots were found: copy or convert it again"
    return DecodeError("damaged", words)
