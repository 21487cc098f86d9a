"""Completeness of a file: the bytes that its container promises by its own length fields, against those it has.

Only promises count. MPEG program and transport streams make none, nor does a live recording of unknown length.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator

_UNKNOWN_32 = (0, 0xFFFFFFFF)  # what writers that cannot seek back leave in a length field
_EBML_SEGMENT = 0x18538067
_GIF_TRAILER = 0x3B
_FOURCC, _LENGTH = 4, 4


def describe_missing_bytes(data: bytes, container: str) -> str | None:
    """Describe what a container promises and the file does not hold.

    Args:
        data: bytes of the file.
        container: FFmpeg's name of the container.
    Returns:
        A clause for a message; None where nothing is missing.
    """
    check = _CHECKS.get(container)
    return check(data) if check else None


def _describe_shortfall(promised: int, data: bytes) -> str | None:
    return f"{len(data)} of {promised} bytes are there" if promised > len(data) else None


def _find_missing_mov(data: bytes) -> str | None:
    """Boxes, one after the other: a length, a name. In fragments each box is a promise of its own."""
    at, fragmented, described = 0, False, False
    while at + 8 <= len(data):
        size, name = struct.unpack_from(">I4s", data, at)
        if size == 1 and at + 16 <= len(data):
            size = struct.unpack_from(">Q", data, at + 8)[0]
        if size == 0:  # up to the end of the file
            size = len(data) - at
        if size < 8 or not name.isalnum():  # junk after the last box
            return None
        if name == b"sidx" and _end_of_index(data, at, size) > len(data):
            return _describe_shortfall(_end_of_index(data, at, size), data)
        described = described or name == b"moov"
        fragmented = fragmented or name == b"moof" or (name == b"moov" and b"mvex" in data[at : at + size])
        # With a sample table beside it, a length that is too large loses nothing: the table is asked sample by sample.
        if at + size > len(data) and (fragmented or not described or name == b"moov"):
            return _describe_shortfall(at + size, data)
        at += size
    return "the last box is cut" if (fragmented or not described) and any(data[at:]) else None


def _end_of_index(data: bytes, at: int, size: int) -> int:
    """Where the fragments end that a segment index lists, one after the other behind it."""
    wide = data[at + 8 : at + 9] == b"\1"
    first = at + 12 + 8 + (8 if wide else 4)
    begin = int.from_bytes(data[first : first + (8 if wide else 4)], "big")
    table = first + (8 if wide else 4) + 2
    count = int.from_bytes(data[table : table + 2], "big")
    sizes = (data[table + 2 + 12 * k : table + 6 + 12 * k] for k in range(count))
    return at + size + begin + sum(int.from_bytes(entry, "big") & 0x7FFFFFFF for entry in sizes)


def _find_missing_matroska(data: bytes) -> str | None:
    """The EBML header, then one segment."""
    at = 0
    while at < len(data):
        element, at = _read_ebml_id(data, at)
        size, at = _read_ebml_size(data, at)
        if element is None or size is None:
            return None
        if element == _EBML_SEGMENT:
            return _describe_shortfall(at + size, data)
        at += size
    return None


def _read_ebml_id(data: bytes, at: int) -> tuple[int | None, int]:
    width = 9 - data[at].bit_length() if at < len(data) else 9
    if width > 4 or at + width > len(data):
        return None, at
    return int.from_bytes(data[at : at + width], "big"), at + width


def _read_ebml_size(data: bytes, at: int) -> tuple[int | None, int]:
    """A length, its leading one removed; None where it is unknown (all ones) or not there."""
    width = 9 - data[at].bit_length() if at < len(data) else 9
    if width > 8 or at + width > len(data):
        return None, at
    value = int.from_bytes(data[at : at + width], "big") & ((1 << 7 * width) - 1)
    return (None if value == (1 << 7 * width) - 1 else value), at + width


def _find_missing_avi(data: bytes) -> str | None:
    """RIFF chunks, one after the other; files of more than a gigabyte have several."""
    for at in _riff_chunks(data):
        size = struct.unpack_from("<I", data, at + _FOURCC)[0]
        if size not in _UNKNOWN_32 and at + 8 + size > len(data):
            return _describe_shortfall(at + 8 + size, data)
    return None


def count_avi_entries(data: bytes, stream: int) -> int:
    """Count the entries of an AVI's index for a video stream, empty ones too.

    Args:
        data: bytes of the whole file.
        stream: index of the stream, in the order of the headers.
    Returns:
        Number of entries; 0 where no index covers the whole file.
    """
    if b"AVIX" in (data[at + 8 : at + 12] for at in _riff_chunks(data)):
        return 0
    at = 12
    while at + 8 <= len(data):
        name, size = data[at : at + _FOURCC], struct.unpack_from("<I", data, at + _FOURCC)[0]
        if name == b"idx1":
            entries = data[at + 8 : at + 8 + size]
            names = (b"%02ddc" % stream, b"%02ddb" % stream)
            return sum(entries[k : k + 4] in names for k in range(0, len(entries), 16))
        at += 8 + size + size % 2
    return 0


def _riff_chunks(data: bytes) -> Iterator[int]:
    """Where each RIFF chunk begins."""
    at = 0
    while data[at : at + _FOURCC] == b"RIFF" and at + 8 <= len(data):
        yield at
        size = struct.unpack_from("<I", data, at + _FOURCC)[0]
        if size in _UNKNOWN_32:
            return
        at += 8 + size + size % 2


def _find_missing_gif(data: bytes) -> str | None:
    """Blocks up to the trailer."""
    if len(data) < 13:
        return "the header is cut"
    at, pictures = 13 + _palette_bytes(data[10]), 0
    while at < len(data) and data[at] != _GIF_TRAILER:
        if data[at] == 0x21:
            at = _end_of_sub_blocks(data, at + 2)
        elif data[at] == 0x2C and at + 10 < len(data):
            at, pictures = _end_of_sub_blocks(data, at + 10 + _palette_bytes(data[at + 9]) + 1), pictures + 1
        else:  # padding, which decoders pass over
            at += 1
    return "the trailer that ends a GIF is not there" if at >= len(data) and pictures else None


def _palette_bytes(flags: int) -> int:
    return 3 << ((flags & 7) + 1) if flags & 0x80 else 0


def _end_of_sub_blocks(data: bytes, at: int) -> int:
    while at < len(data) and data[at]:
        at += data[at] + 1
    return at + 1


_FLV_TAGS = (8, 9, 18)


def _find_missing_flv(data: bytes) -> str | None:
    """Tags: kind, three bytes of length, seven more; after each its whole length again."""
    at = int.from_bytes(data[5:9], "big") + 4
    while at + 11 <= len(data) and data[at] & 0x1F in _FLV_TAGS:
        end = at + 11 + int.from_bytes(data[at + 1 : at + 4], "big")
        if end > len(data):
            return _describe_shortfall(end, data)
        at = end + 4
    return "the last tag is cut" if at < len(data) < at + 11 and data[at] & 0x1F in _FLV_TAGS else None


_ASF_FILE_PROPERTIES = bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365")


def _find_missing_asf(data: bytes) -> str | None:
    """The file's size, as its properties say; a broadcast has none."""
    at = data.find(_ASF_FILE_PROPERTIES, 0, 1 << 16)
    if at < 0 or at + 92 > len(data):
        return None
    size, broadcast = struct.unpack_from("<Q", data, at + 40)[0], data[at + 88] & 1
    return None if broadcast else _describe_shortfall(size, data)


def _find_missing_ogg(data: bytes) -> str | None:
    """Pages: a header, a table of segment lengths, the segments; the last one of a stream is marked."""
    at, ended = 0, False
    while data[at : at + 4] == b"OggS":
        ended = ended or bool(data[at + 5 : at + 6] and data[at + 5] & 4)
        lengths = data[at + 27 : at + 27 + data[at + 26]] if at + 27 <= len(data) else b""
        if at + 27 > len(data) or len(lengths) < data[at + 26]:
            return "the last page is cut"
        end = at + 27 + len(lengths) + sum(lengths)
        if end > len(data):
            return _describe_shortfall(end, data)
        at = end
    return None if ended else "the page that ends an Ogg stream is not there"


_KEY = b"\x06\x0e\x2b\x34"


def _find_missing_mxf(data: bytes) -> str | None:
    """Triplets of a 16 byte key, a BER length, a value; the first one says where the last partition begins."""
    footer = int.from_bytes(data[44:52], "big") if data[16:17] == b"\x83" else 0
    if footer >= len(data):
        return _describe_shortfall(footer + 1, data)
    at = 0
    while at + 17 <= len(data) and data[at : at + 4] == _KEY:
        first = data[at + 16]
        width = first & 0x7F if first & 0x80 else 0
        size = int.from_bytes(data[at + 17 : at + 17 + width], "big") if width else first
        end = at + 17 + width + size
        if end > len(data):
            return _describe_shortfall(end, data)
        at = end
    left = data[at : at + 17]
    return "the last triplet is cut" if 0 < len(left) < 17 and left[:4] == _KEY[: len(left)] else None


_CHECKS: dict[str, Callable[[bytes], str | None]] = {
    "mov": _find_missing_mov,
    "matroska": _find_missing_matroska,
    "avi": _find_missing_avi,
    "gif": _find_missing_gif,
    "flv": _find_missing_flv,
    "asf": _find_missing_asf,
    "ogg": _find_missing_ogg,
    "mxf": _find_missing_mxf,
}
