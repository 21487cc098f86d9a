"""What may befall a ramp's file: begun in the middle, trimmed, joined, late, with packets that are not shown."""

from __future__ import annotations

import io
import struct
from collections.abc import Callable, Iterator
from dataclasses import replace
from fractions import Fraction
from typing import Any

import av
from ramps import Ramp

Change = Callable[[list[Any]], list[Any]]
_NESTED = (b"moov", b"trak", b"edts", b"elst")


def begin_late(ramp: Ramp, container: str, seconds: Fraction) -> Ramp:
    """All times later: a player waits, then shows the same."""
    return replace(ramp, data=_remux(ramp.data, container, lambda packets: _move(packets, seconds)))


def begin_amid(ramp: Ramp, container: str, skip: int) -> Ramp:
    """Without its first packets: what needs them cannot be decoded, so a player begins with the next key frame."""
    key = next(place for place, is_key in _places(ramp.data)[skip:] if is_key)
    return replace(ramp.between(key, None), data=_remux(ramp.data, container, lambda packets: packets[skip:]))


def trim_start(ramp: Ramp, first: int) -> Ramp:
    """An MP4 cut as `ffmpeg -ss -c copy` does: kept from the key frame before, and an edit list hides the rest."""
    key = max(n for n, (place, is_key) in enumerate(_places(ramp.data)) if is_key and place <= first)
    start = ramp.starts[first]
    data = _remux(ramp.data, "mp4", lambda packets: _move(packets[key:], -start))
    return replace(ramp.between(first, None), data=data)


def keep(ramp: Ramp, *parts: tuple[int, int]) -> Ramp:
    """An MP4 whose edit list shows these parts alone: from a frame up to another, as an editor's cuts leave it."""
    starts = [*ramp.starts, ramp.seconds]
    edits = [(starts[first], starts[stop]) for first, stop in parts]
    shown = [ramp.between(*part) for part in parts]
    return Ramp(
        _with_edits(ramp.data, edits),
        tuple(frame for part in shown for frame in part.frames),
        tuple(duration for part in shown for duration in part.durations),
    )


def join(first: Ramp, second: Ramp) -> Ramp:
    """One file after the other: times jump back where the second begins."""
    return Ramp(first.data + second.data, first.frames + second.frames, first.durations + second.durations)


def hide(ramp: Ramp, container: str, every: int) -> Ramp:
    """Of VP8, packets that are decoded and not shown: the frame before lasts so much longer."""
    hidden = range(every // 2, len(ramp.frames), every)
    kept = [n for n in range(len(ramp.frames)) if n not in hidden]
    longer = [ramp.durations[n] + (ramp.durations[n + 1] if n + 1 in hidden else 0) for n in kept]

    def change(packets: list[Any]) -> list[Any]:
        return [_invisible(packet) if n in hidden else packet for n, packet in enumerate(packets)]

    return Ramp(_remux(ramp.data, container, change), tuple(ramp.frames[n] for n in kept), tuple(longer))


def _remux(data: bytes, container: str, change: Change) -> bytes:
    buffer = io.BytesIO()
    with av.open(io.BytesIO(data)) as source, av.open(buffer, mode="w", format=container) as file:
        stream = file.add_stream_from_template(source.streams[0])
        for packet in change([packet for packet in source.demux() if packet.size]):
            packet.stream = stream
            file.mux(packet)
    return buffer.getvalue()


def _move(packets: list[Any], seconds: Fraction) -> list[Any]:
    for packet in packets:
        ticks = seconds / packet.time_base
        assert ticks.denominator == 1, f"{seconds} s is no multiple of {packet.time_base} s"
        packet.pts, packet.dts = packet.pts + int(ticks), packet.dts + int(ticks)
    return packets


def _places(data: bytes) -> list[tuple[int, bool]]:
    """Of each packet, in the order of decoding, which frame it is in the order of showing and whether a key frame."""
    with av.open(io.BytesIO(data)) as file:
        packets = [(packet.pts, packet.is_keyframe) for packet in file.demux() if packet.size]
    order = sorted(pts for pts, _ in packets)
    return [(order.index(pts), is_key) for pts, is_key in packets]


def _invisible(packet: Any) -> Any:
    """RFC 6386, 9.1: the fifth bit of a frame's tag says whether it is shown."""
    data = bytearray(bytes(packet))
    data[0] &= ~0x10
    changed = av.Packet(bytes(data))
    changed.pts, changed.dts, changed.time_base = packet.pts, packet.dts, packet.time_base
    changed.duration, changed.is_keyframe = packet.duration, packet.is_keyframe
    return changed


def _with_edits(data: bytes, edits: list[tuple[Fraction, Fraction]]) -> bytes:
    """An MP4 whose index stands at its end with another edit list: (from, to) in seconds of what was shown before."""
    boxes = dict(_boxes(data))
    at, size = boxes[b"elst"]
    scales = {name: struct.unpack_from(">I", data, boxes[name][0] + 20)[0] for name in (b"mvhd", b"mdhd")}
    (offset,) = struct.unpack_from(">i", data, at + 20)  # in the media of the first frame shown
    entries = b"".join(
        struct.pack(">IiI", int((stop - start) * scales[b"mvhd"]), offset + int(start * scales[b"mdhd"]), 1 << 16)
        for start, stop in edits
    )
    changed = bytearray(data[: at + 12] + struct.pack(">I", len(edits)) + entries + data[at + size :])
    for name in _NESTED:
        place, old = boxes[name]
        struct.pack_into(">I", changed, place, old + 16 + len(entries) - size)
    return bytes(changed)


def _boxes(data: bytes, start: int = 0, stop: int | None = None) -> Iterator[tuple[bytes, tuple[int, int]]]:
    """The name, place and size of every box of an MP4 with one track, those inside others too."""
    at, stop = start, len(data) if stop is None else stop
    while at < stop:
        size, name = struct.unpack_from(">I4s", data, at)
        yield name, (at, size)
        if name in (*_NESTED[:-1], b"mdia"):
            yield from _boxes(data, at + 8, at + size)
        at += size
