"""Files that shots are written into: their containers, their names' endings, and the sound that goes along."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Any

import av

from m3ray.video.video_file import VideoFile

_WEBM = b"webm"
_HEAD = 64  # bytes that hold the type of a Matroska file


@dataclass(frozen=True)
class Container:
    """A kind of file to write.

    Args:
        name: FFmpeg's name of the muxer.
        suffix: ending of the file's name.
    """

    name: str
    suffix: str


@dataclass(frozen=True)
class WrittenShot:
    """A shot as a file.

    Args:
        data: bytes of the file.
        suffix: ending of its name, with the dot.
        how: `copied`: its packets as they were; `encoded`: its pictures anew.
        sound: whether it has the video's sound.
    """

    data: bytes
    suffix: str
    how: str
    sound: bool


MP4, MOV = Container("mp4", ".mp4"), Container("mov", ".mov")
MATROSKA, WEBM = Container("matroska", ".mkv"), Container("webm", ".webm")


def list_containers(video: VideoFile, data: bytes) -> tuple[Container, ...]:
    """List which kinds of file a shot of a video may be written as, the best first.

    Args:
        video: the video, opened.
        data: its bytes.
    Returns:
        The kinds; the last one, Matroska, takes almost any codec.
    """
    if video.container == "mov":
        return (MP4, MOV, MATROSKA)
    if video.container == "matroska" and _WEBM in data[:_HEAD]:
        return (WEBM, MATROSKA)
    return (MATROSKA,)


def choose_sound(file: Any) -> Any | None:
    """Choose the sound that a player plays.

    Args:
        file: container opened with PyAV.
    Returns:
        The stream: the default one, else the first; None where there is none.
    """
    streams = [stream for stream in file.streams.audio if stream.codec_context is not None]
    marked = [stream for stream in streams if stream.disposition.default]
    return next(iter(marked or streams), None)


def cut_sound(stream: Any | None, start: float, stop: float) -> list[Any]:
    """Read the packets of the sound that begin within a shot; sound is cut between packets, some 20 ms each.

    Args:
        stream: stream of the sound, of a container opened with PyAV; None: there is none.
        start: when the shot begins, seconds in the file's time.
        stop: when it ends.
    Returns:
        The packets, their times counted from the shot's start.
    """
    packets: list[Any] = []
    for packet in () if stream is None else stream.container.demux(stream):
        if packet.pts is None or not packet.size or not start <= float(packet.pts * packet.time_base) < stop:
            continue
        shift = round(start / packet.time_base)
        packet.dts = packet.pts - shift if packet.dts is None else packet.dts - shift
        packet.pts -= shift
        packets.append(packet)
    return packets


def mux_sound(file: Any, target: Any | None, packets: list[Any]) -> None:
    """Write packets of sound.

    Args:
        file: file that is written.
        target: its stream of sound; None: there is none.
        packets: the packets, as `cut_sound` gives them.
    """
    for packet in packets if target is not None else ():
        packet.stream = target
        file.mux(packet)


def open_buffer(container: Container) -> tuple[io.BytesIO, Any]:
    """Open a file in memory to write to.

    Args:
        container: kind of file.
    Returns:
        What its bytes go to, and the file, opened with PyAV.
    """
    buffer = io.BytesIO()
    return buffer, av.open(buffer, mode="w", format=container.name)
