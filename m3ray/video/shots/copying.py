"""A shot's packets written to a file as they are."""

from __future__ import annotations

from typing import Any

import numpy as np

from m3ray.video.packet_times import PacketTable
from m3ray.video.shots.span import Span
from m3ray.video.shots.written import Container, WrittenShot, choose_sound, cut_sound, mux_sound, open_buffer
from m3ray.video.video_file import VideoFile


def find_packets(table: PacketTable, span: Span) -> range | None:
    """Find the packets that show a shot's frames and no others.

    Args:
        table: packets of the video, in decoding order.
        span: the shot.
    Returns:
        Their positions, the first a key frame; None where there are no such packets: the shot begins between key
        frames, or shares a picture that others refer to with the next one.
    """
    if None in span.stamps or len(set(span.stamps)) < len(span.stamps):
        return None
    keys = np.flatnonzero((np.asarray(table.pts) == span.stamps[0]) & np.asarray(table.keys))
    if len(keys) != 1:
        return None
    shown = np.flatnonzero(np.asarray(table.shown)[keys[0] :]) + keys[0]
    if len(shown) < len(span.stamps):
        return None
    # Hidden packets behind the last shown one belong to what comes next, or show nothing.
    packets = range(int(keys[0]), int(shown[len(span.stamps) - 1]) + 1)
    stamps = {table.pts[k] for k in packets if table.shown[k]}
    return packets if stamps == set(span.stamps) else None


def copy_shot(video: VideoFile, span: Span, packets: range, container: Container) -> WrittenShot:
    """Copy a shot into a file: pictures and sound as they are, with rotation and colours.

    Args:
        video: the video, opened.
        span: the shot.
        packets: positions of its packets.
        container: kind of file to write.
    Returns:
        The file.
    Raises:
        av.error.FFmpegError, ValueError: If a file of this kind cannot hold it.
    """
    with video.reopen() as source, video.reopen() as other:
        stream, sound = source.streams[video.stream.index], choose_sound(other)
        origin = int(span.stamps[0] or 0)
        begin = float(origin * stream.time_base)
        heard = cut_sound(sound, begin, begin + span.stop - span.start)
        buffer, file = open_buffer(container)
        with file:
            # Opaque: of a codec that is only decoded here (dav1d's AV1) no encoder is asked for.
            target = file.add_stream_from_template(stream, opaque=True)
            ears = file.add_stream_from_template(sound) if heard else None
            for packet in _pick(source, stream, packets):
                packet.dts = None if packet.dts is None else packet.dts - origin
                packet.pts -= origin
                packet.stream = target
                file.mux(packet)
            mux_sound(file, ears, heard)
    return WrittenShot(buffer.getvalue(), container.suffix, "copied", bool(heard))


def _pick(source: Any, stream: Any, packets: range) -> Any:
    """The packets at these positions among those that are not empty, as `VideoFile` counts them."""
    full = (packet for packet in source.demux(stream) if packet.size)
    for position, packet in enumerate(full):
        if position >= packets.stop:
            return
        if position in packets:
            yield packet
