"""Decoding with PyAV, in order: the pictures that a player shows, each with its timestamps."""

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
from m3ray.video.video_file import VideoFile, in_words


def shown_frames(video: VideoFile) -> Iterator[Any]:
    """The frames of a video as PyAV gives them, in the order in which they are shown.

    Frames that an edit list cuts away, that only others refer to, or that come before a stream's first keyframe and
    cannot be decoded, are not shown.

    Raises:
        DecodeError: `damaged`: a picture after the first keyframe cannot be decoded, or is corrupt; `too_large`.
    """
    sound, count = False, len(video.scan.table)
    for number, (packet, codec) in enumerate(video.packets(), start=1):
        # A recording may have been stopped anywhere: its last pictures then lack what they refer to.
        stopped = video.promises_nothing and number > count - LAST_PICTURES
        try:
            frames = codec.decode(packet)
        except av.error.FFmpegError as error:
            if sound and not stopped and not _is_empty(packet):
                raise _damaged(f"packet {number} of {count} does not decode: {in_words(error)}") from error
            continue
        sound = sound or (packet is not None and packet.is_keyframe)
        for frame in frames:
            if not frame.is_corrupt:
                video.check_pixels(frame.width, frame.height)
                yield frame
            elif sound and not stopped:
                raise _damaged(f"a frame of packet {number} of {count} is corrupt")


def _is_empty(packet: Any) -> bool:
    """Whether a packet holds no picture of its own."""
    return packet is None or packet.size <= TINY_BYTES


def _damaged(words: str) -> DecodeError:
    return DecodeError("damaged", f"{words}: the file is damaged, copy or convert it again")


class Converter:
    """Turns frames of PyAV's into RGB pictures, upright. Keeps what the conversion needs from frame to frame."""

    def __init__(self) -> None:
        self._reformatter = VideoReformatter()

    def convert(self, frame: Any) -> np.ndarray:
        """A picture as it is shown: uint8, (H, W, 3), valid until the next call."""
        rgb = self._reformatter.reformat(frame, format="rgb24", threads=1)
        plane = rgb.planes[0]
        strides = (plane.line_size, 3, 1)
        picture: np.ndarray = np.ndarray((rgb.height, rgb.width, 3), np.uint8, memoryview(plane), strides=strides)
        return orient(picture, matrix_of(frame))


def matrix_of(frame: Any) -> tuple[float, float, float, float]:
    """The display matrix of a frame of PyAV's."""
    found = frame.side_data.get(SideData.DISPLAYMATRIX)
    return UPRIGHT if found is None else read_display_matrix(bytes(found))
