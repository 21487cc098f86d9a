"""Decoding with PyAV, in order: the frames that a player shows, each with its timestamps."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import av.error
import numpy as np
from av.sidedata.sidedata import Type as SideData
from av.video.reformatter import VideoReformatter

from m3ray.errors import DecodeError
from m3ray.video.orientation import UPRIGHT, orient, read_display_matrix
from m3ray.video.packet_times import LAST_PICTURES, TINY_BYTES
from m3ray.video.video_file import VideoFile, error_text


class UncertainDamageError(Exception):
    """Something does not decode, and threads hide which packet that is: one thread tells whether it is damage."""


def decode_shown_frames(video: VideoFile) -> Iterator[Any]:
    """Decode the frames of a video in the order in which they are shown.

    Frames that an edit list cuts away, that only others refer to, or that come before a stream's first keyframe and
    cannot be decoded, are not shown.

    Args:
        video: opened video.
    Yields:
        Each frame, as PyAV gives it.
    Raises:
        DecodeError: If a picture after the first keyframe cannot be decoded or is corrupt (`damaged`), or a frame has
            more pixels than allowed (`too_large`).
        UncertainDamageError: If anything does not decode where more than one thread decodes.
    """
    has_keyframe, count = False, len(video.scan.table)
    for number, (packet, codec) in enumerate(video.packets(), start=1):
        # A recording may have been stopped anywhere: its last pictures then lack what they refer to.
        stopped = video.promises_nothing and number > count - LAST_PICTURES
        try:
            frames = codec.decode(packet)
        except av.error.FFmpegError as error:
            if video.threads > 1:
                raise UncertainDamageError from error
            if has_keyframe and not stopped and not _is_empty(packet):
                raise _damage_error(f"packet {number} of {count} does not decode: {error_text(error)}") from error
            continue
        has_keyframe = has_keyframe or (packet is not None and packet.is_keyframe)
        for frame in frames:
            if not frame.is_corrupt:
                video.check_pixels(frame.width, frame.height)
                yield frame
            elif video.threads > 1:
                raise UncertainDamageError
            elif has_keyframe and not stopped:
                raise _damage_error(f"a frame of packet {number} of {count} is corrupt")


def _is_empty(packet: Any) -> bool:
    """Whether a packet holds no picture of its own."""
    return packet is None or packet.size <= TINY_BYTES


def _damage_error(words: str) -> DecodeError:
    return DecodeError("damaged", f"{words}: the file is damaged, copy or convert it again")


class Converter:
    """Conversion of PyAV's frames to upright RGB pictures; reuses its buffers from frame to frame."""

    def __init__(self) -> None:
        self._reformatter = VideoReformatter()

    def convert(self, frame: Any) -> np.ndarray:
        """Convert a frame to the picture that is shown.

        Args:
            frame: frame of PyAV's.
        Returns:
            uint8, (H, W, 3), valid until the next call.
        """
        rgb = self._reformatter.reformat(frame, format="rgb24", threads=1)
        plane = rgb.planes[0]
        strides = (plane.line_size, 3, 1)
        picture: np.ndarray = np.ndarray((rgb.height, rgb.width, 3), np.uint8, memoryview(plane), strides=strides)
        return orient(picture, display_matrix(frame))


def display_matrix(frame: Any) -> tuple[float, float, float, float]:
    """Read the display matrix of a frame.

    Args:
        frame: frame of PyAV's.
    Returns:
        (a, b, c, d) of the matrix; that of an upright picture where it carries none.
    """
    side_data = frame.side_data.get(SideData.DISPLAYMATRIX)
    return UPRIGHT if side_data is None else read_display_matrix(bytes(side_data))
