"""Shots whose pictures are encoded anew, as a copy of their packets would show frames of other shots."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from typing import Any

import av.error
import numpy as np
from av.filter import Graph

from m3ray.config import LimitsConfig
from m3ray.video.orientation import UPRIGHT, orient
from m3ray.video.shots.colours import Colours
from m3ray.video.shots.span import Span
from m3ray.video.shots.timeline import Timeline
from m3ray.video.shots.written import (
    MATROSKA,
    MP4,
    WEBM,
    Container,
    WrittenShot,
    choose_sound,
    cut_sound,
    list_containers,
    mux_sound,
    open_buffer,
)
from m3ray.video.shown_frames import decode_shown_frames, display_matrix
from m3ray.video.video_file import VideoFile, error_text

_PULSE_FRAMES = 25
_TICKS = 90_000  # a second: whole numbers of them for 24, 25, 30 frames, and fine enough for all others
# Quality that eyes hardly tell from the source's.
_H264 = ("libx264", {"preset": "medium", "crf": "16", "threads": "1"})
_VP9 = ("libvpx-vp9", {"crf": "20", "b": "0", "cpu-used": "4", "threads": "1"})
_MP4_SOUND = ("aac", "mp3", "ac3", "eac3", "opus", "alac", "flac")
_WEBM_SOUND = ("opus", "vorbis")
# Filters that turn a picture to each of the eight orientations, and what they do to an array.
_TURNS: tuple[tuple[tuple[tuple[str, str | None], ...], Callable[[np.ndarray], np.ndarray]], ...] = (
    ((), lambda picture: picture),
    ((("hflip", None),), np.fliplr),
    ((("vflip", None),), np.flipud),
    ((("hflip", None), ("vflip", None)), lambda picture: picture[::-1, ::-1]),
    ((("transpose", "0"),), np.transpose),
    ((("transpose", "1"),), lambda picture: np.rot90(picture, -1)),
    ((("transpose", "2"),), np.rot90),
    ((("transpose", "3"),), lambda picture: picture[::-1, ::-1].T),
)


def encode_shots(
    data: bytes, limits: LimitsConfig, wanted: Sequence[tuple[int, Span]], timeline: Timeline, pulse: Callable[[], None]
) -> Iterator[tuple[int, WrittenShot | str]]:
    """Encode shots of a video, which is decoded once for all of them.

    Args:
        data: bytes of the video.
        limits: per-clip limits of pixels and seconds.
        wanted: number and frames of each shot, ascending, apart.
        timeline: when the video's frames are shown.
        pulse: function that is called now and then while nothing is yielded.
    Yields:
        The number of each shot, and its file; or why there is none.
    Raises:
        DecodeError: If the video cannot be decoded.
    """
    if not wanted:
        return
    with VideoFile(data, limits) as video:
        kind = list_containers(video, data)[0]
        frames = _count_frames(video, pulse)
        for number, span in wanted:
            try:
                with video.reopen() as other:  # its sound is read anew for each shot
                    yield number, _encode(video, frames, span, timeline, choose_sound(other), kind)
            except (av.error.FFmpegError, ValueError) as error:
                yield number, f"cannot be encoded: {error_text(error)}"


def _count_frames(video: VideoFile, pulse: Callable[[], None]) -> Iterator[tuple[int, Any]]:
    for index, frame in enumerate(decode_shown_frames(video)):
        if index % _PULSE_FRAMES == 0:
            pulse()
        yield index, frame


def _choose_container(kind: Container, sound: Any | None) -> Container:
    """The kind of file for pictures that are encoded anew, and sound that is not."""
    codec = None if sound is None else sound.codec_context.codec.canonical_name
    if kind is WEBM:
        return WEBM if codec in (None, *_WEBM_SOUND) else MATROSKA
    return MP4 if codec in (None, *_MP4_SOUND) else MATROSKA


def _encode(
    video: VideoFile,
    frames: Iterator[tuple[int, Any]],
    span: Span,
    timeline: Timeline,
    sound: Any | None,
    kind: Container,
) -> WrittenShot:
    """Encode a shot's pictures, and copy its sound; frames before it are passed over."""
    container, stamp = _choose_container(kind, sound), span.stamps[0]
    origin = span.start if stamp is None else float(stamp * video.stream.time_base)
    heard = cut_sound(sound, origin, origin + span.stop - span.start)
    starts = np.append(timeline.times[span.first : span.end], span.stop) - span.start
    ticks = np.rint(starts * _TICKS).astype(int)
    buffer, file = open_buffer(container)
    with file:
        target, turn, colours, ears = None, None, None, None
        for index, frame in frames:
            if index < span.first:
                continue
            if target is None or turn is None or colours is None:
                turn = _Turn(frame)
                target, colours = _add_stream(file, turn.shape(frame), frame, video, container)
                ears = file.add_stream_from_template(sound) if heard else None
            picture = colours.convert(turn(frame))
            picture.pts, picture.time_base = int(ticks[index - span.first]), Fraction(1, _TICKS)
            picture.pict_type = 0
            _mux(file, target, target.encode(picture), ticks)
            if index == span.end - 1:
                break
        if target is None:
            raise ValueError("none of its frames came again")
        _mux(file, target, target.encode(), ticks)
        mux_sound(file, ears, heard)
    return WrittenShot(buffer.getvalue(), container.suffix, "encoded", bool(heard))


def _add_stream(
    file: Any, shape: tuple[int, int], frame: Any, video: VideoFile, container: Container
) -> tuple[Any, Colours]:
    """A stream with the size, the colours and the shape of pixels of the source's frames."""
    codec, options = _VP9 if container is WEBM else _H264
    source, (width, height) = video.stream.codec_context, shape
    stream = file.add_stream(codec, rate=Fraction(video.rate).limit_denominator(1001), options=options)
    stream.width, stream.height = width, height
    pixels = _choose_format(frame.format.name, stream.codec_context.codec, odd=bool(width % 2 or height % 2))
    stream.pix_fmt, colours = pixels, Colours.choose(frame, source, pixels)
    stream.codec_context.time_base = Fraction(1, _TICKS)
    colours.tell(stream.codec_context)
    ratio = source.sample_aspect_ratio
    if ratio:
        stream.codec_context.sample_aspect_ratio = (
            ratio if (width, height) == (frame.width, frame.height) else 1 / ratio
        )
    return stream, colours


def _choose_format(source: str, codec: Any, *, odd: bool) -> str:
    """The pixels' format: the source's own, where the codec has it, else the nearest that most players play.

    Grey is none: its levels are full ones, and players take those of a video without colours for limited ones.
    """
    known = {fmt.name for fmt in codec.video_formats if not fmt.name.startswith("gray")}
    if source in known and not (odd and "420" in source):
        return source
    if odd:  # halved colours need even sides
        return "yuv444p"
    return "yuv420p10le" if "10" in source and "yuv420p10le" in known else "yuv420p"


def _mux(file: Any, stream: Any, packets: Any, ticks: np.ndarray) -> None:
    """Write packets, each of which lasts until the next frame."""
    for packet in packets:
        time = round(packet.pts * packet.time_base * _TICKS)
        after = int(np.searchsorted(ticks, time, side="right"))
        if after < len(ticks):
            packet.duration = round((int(ticks[after]) - time) / (packet.time_base * _TICKS))
        packet.stream = stream
        file.mux(packet)


class _Turn:
    """Turns frames upright, as players do whom the file's display matrix tells; encoded ones carry none.

    Args:
        frame: the first frame, which says how.
    """

    def __init__(self, frame: Any) -> None:
        filters = _find_turn(display_matrix(frame))
        self._swaps = any(name == "transpose" for name, _ in filters)
        self._graph: Graph | None = None
        if filters:
            self._graph = Graph()
            size = {"width": frame.width, "height": frame.height, "format": frame.format.name}
            nodes = [self._graph.add_buffer(**size, time_base=Fraction(1, _TICKS))]
            nodes += [self._graph.add(name, value) for name, value in filters]
            nodes.append(self._graph.add("buffersink"))
            self._graph.link_nodes(*nodes).configure()

    def shape(self, frame: Any) -> tuple[int, int]:
        """Width and height of a frame that is turned."""
        return (frame.height, frame.width) if self._swaps else (frame.width, frame.height)

    def __call__(self, frame: Any) -> Any:
        """The frame, upright."""
        if self._graph is None:
            return frame
        frame.time_base, frame.pts = Fraction(1, _TICKS), 0
        self._graph.vpush(frame)
        return self._graph.vpull()


def _find_turn(matrix: tuple[float, float, float, float]) -> tuple[tuple[str, str | None], ...]:
    """The filters that do what `orient` does."""
    if matrix == UPRIGHT:
        return ()
    probe = np.arange(6).reshape(2, 3)
    wanted = orient(probe, matrix)
    return next(filters for filters, turn in _TURNS if np.array_equal(turn(probe), wanted))
