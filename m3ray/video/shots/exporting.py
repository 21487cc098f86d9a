"""The caller's side of writing shots as files, which the decoding child makes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from m3ray.errors import DecodeError
from m3ray.video.sandbox import Decoder
from m3ray.video.shots.written import WrittenShot

_SUFFIXES = (".mp4", ".mov", ".mkv", ".webm")


def write_shots(
    decoder: Decoder, data: bytes, ranges: Sequence[tuple[int, int]]
) -> Iterator[tuple[int, WrittenShot | str]]:
    """Have the decoding child write shots of a video as files.

    Args:
        decoder: decodes in a child process.
        data: bytes of the video.
        ranges: of each shot its first frame and the one behind its last, among those that are shown; apart.
    Yields:
        The number of each shot among those wanted, in any order, and its file; or why there is none, in a line.
    Raises:
        DecodeError: If the video cannot be decoded, is an image, or the child dies of it.
    """
    order = sorted(range(len(ranges)), key=lambda number: ranges[number])
    wanted = [ranges[number] for number in order]
    for header, payload in decoder.ask(data, "export", decoder.limits.max_bytes, ranges=wanted):
        number = order[header["number"]]
        if "failure" in header:
            yield number, str(header["failure"])
        elif header["suffix"] not in _SUFFIXES:
            raise DecodeError("decoder_error", f"the decoder answers with a file {header['suffix']!r}")
        else:
            yield number, WrittenShot(bytes(payload), header["suffix"], str(header["how"]), bool(header["sound"]))
