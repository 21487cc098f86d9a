"""Image formats, told by the content of a file, and what a file says of itself before any of it is decoded."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Iterator

_PNG = b"\x89PNG\r\n\x1a\n"
# Sizes of the header that follows a BMP's own 14 bytes: "BM" alone begins many a text.
_BMP_HEADERS = (12, 40, 52, 56, 64, 108, 124)
# Of a PNG's chunks those that decide on pixels; text and colour profiles, which may unpack to gigabytes, are left out.
_PNG_KEPT = (b"IHDR", b"PLTE", b"IDAT", b"IEND", b"tRNS", b"eXIf")
_HEIF_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")
_JPEG_SCAN, _JPEG_END = 0xDA, b"\xff\xd9"
_JPEG_ALONE = (0x01, *range(0xD0, 0xD9))  # markers without a length

# Formats that are not read, by how a file begins: told, so that the message can name them.
_OTHERS = (
    (b"II*\x00", "TIFF, or a camera's raw file"),
    (b"MM\x00*", "TIFF, or a camera's raw file"),
    (b"II+\x00", "TIFF"),
    (b"MM\x00+", "TIFF"),
    (b"FUJIFILMCCD-RAW", "a camera's raw file"),
    (b"\x00\x00\x00\x0cJXL \r\n\x87\n", "JPEG XL"),
    (b"\xff\x0a", "JPEG XL"),
    (b"\x00\x00\x00\x0cjP  \r\n\x87\n", "JPEG 2000"),
    (b"\xff\x4f\xff\x51", "JPEG 2000"),
    (b"8BPS", "Photoshop"),
    (b"%PDF-", "PDF"),
    (b"%!PS", "PostScript"),
    (b"v/1\x01", "OpenEXR"),
    (b"#?RADIANCE", "Radiance HDR"),
    (b"DDS ", "DDS"),
    (b"qoif", "QOI"),
    (b"\x00\x00\x01\x00", "ICO"),
)


def detect_image(data: bytes) -> str | None:
    """Detect which image format a file is.

    Args:
        data: bytes of the file, or its first few.
    Returns:
        A name of `IMAGE_FORMATS`; None where it is none of them.
    """
    return next((name for name, matches in _SIGNATURES.items() if matches(data)), None)


def detect_unread_image(data: bytes) -> str | None:
    """Detect an image format that is known and not read.

    Args:
        data: bytes of the file, or its first few hundred.
    Returns:
        Name of the format for a message; None where it is none of them.
    """
    if data[4:8] == b"ftyp" and data[8:12] in (*_HEIF_BRANDS, b"avif", b"avis", b"crx "):
        return {b"avif": "AVIF", b"avis": "AVIF", b"crx ": "a camera's raw file"}.get(data[8:12], "HEIC")
    text = data[:1024].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if text.startswith(b"<svg") or (text.startswith((b"<?xml", b"<!doctype svg")) and b"<svg" in text):
        return "SVG"
    return next((name for start, name in _OTHERS if data.startswith(start)), None)


def describe_missing_image_bytes(data: bytes, image: str) -> str | None:
    """Describe what an image promises by its own length fields and end marker, and the file does not hold.

    Args:
        data: bytes of the file.
        image: its format, a name of `IMAGE_FORMATS`.
    Returns:
        A clause for a message; None where nothing is missing, or the decoder tells.
    """
    check = _CHECKS.get(image)
    return check(data) if check else None


def read_webp_size(data: bytes) -> tuple[int, int] | None:
    """Read the size of a WebP's canvas: its decoder takes the memory for it when it opens the file.

    Args:
        data: bytes of the file, or its first 30.
    Returns:
        Width and height, pixels; None where the first chunk is not as it should be.
    """
    chunk, at = data[12:16], data[20:30]
    if len(at) < 10:
        return None
    if chunk == b"VP8X":
        return 1 + int.from_bytes(at[4:7], "little"), 1 + int.from_bytes(at[7:10], "little")
    if chunk == b"VP8 " and at[3:6] == b"\x9d\x01\x2a":
        width, height = struct.unpack("<HH", at[6:10])
        return width & 0x3FFF, height & 0x3FFF
    if chunk == b"VP8L" and at[0] == 0x2F:
        bits = int.from_bytes(at[1:5], "little")
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    return None


def keep_png_pixels(data: bytes) -> bytes:
    """Drop a PNG's chunks that say nothing of the pixels of its first picture, such as text and colour profiles.

    Args:
        data: bytes of the file.
    Returns:
        The file with the others; itself where there is nothing to drop.
    """
    chunks = [*_png_chunks(data)]
    kept = [(start, end) for start, end, name in chunks if name in _PNG_KEPT]
    return data if len(kept) == len(chunks) else _PNG + b"".join(data[start:end] for start, end in kept)


def find_png_damage(data: bytes) -> str | None:
    """Find a chunk of pixels whose checksum is not that of its bytes: decoders pass over it.

    Args:
        data: bytes of the file.
    Returns:
        A clause for a message; None where all agree.
    """
    view = memoryview(data)
    for number, (start, end, name) in enumerate(_png_chunks(data), start=1):
        if name == b"IDAT" and zlib.crc32(view[start + 4 : end - 4]) != int.from_bytes(view[end - 4 : end], "big"):
            return f"the checksum of chunk {number} is wrong"
    return None


def _png_chunks(data: bytes) -> Iterator[tuple[int, int, bytes]]:
    """Start, end and name of each chunk: a length, a name, the content, a checksum."""
    at = len(_PNG)
    while at + 8 <= len(data):
        size, name = struct.unpack_from(">I4s", data, at)
        yield at, at + 12 + size, name
        at += 12 + size


def _find_missing_png(data: bytes) -> str | None:
    ends = [(end, name) for _, end, name in _png_chunks(data)]
    complete = any(name == b"IEND" and end <= len(data) for end, name in ends)
    return None if complete else "the chunk that ends a PNG is not there"


def _find_missing_jpeg(data: bytes) -> str | None:
    """Segments up to the first scan, each with a length; in a scan nothing but its end looks like the end marker.

    What follows the end, the further pictures of a phone's file say, is nobody's loss.
    """
    at = 2
    while at + 4 <= len(data) and data[at] == 0xFF:
        marker = data[at + 1]
        if marker == _JPEG_SCAN:
            return None if data.find(_JPEG_END, at) >= 0 else "the marker that ends a JPEG is not there"
        if marker == 0xFF or marker in _JPEG_ALONE:  # padding
            at += 1 if marker == 0xFF else 2
        else:
            at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    return "it ends before the first scan of a JPEG" if at + 4 > len(data) else None


def _find_missing_webp(data: bytes) -> str | None:
    promised = 8 + struct.unpack_from("<I", data, 4)[0]
    return f"{len(data)} of {promised} bytes are there" if promised > len(data) else None


def _is_bmp(data: bytes) -> bool:
    return data[:2] == b"BM" and data[14:18] in {struct.pack("<I", size) for size in _BMP_HEADERS}


_SIGNATURES: dict[str, Callable[[bytes], bool]] = {
    "jpeg": lambda data: data.startswith(b"\xff\xd8\xff"),
    "png": lambda data: data.startswith(_PNG),
    "webp": lambda data: data[:4] == b"RIFF" and data[8:12] == b"WEBP",
    "bmp": _is_bmp,
}
IMAGE_FORMATS = tuple(_SIGNATURES)
"""Formats of images that are read: clips of one frame. A GIF is a video, whatever its number of frames."""

_CHECKS: dict[str, Callable[[bytes], str | None]] = {
    "jpeg": _find_missing_jpeg,
    "png": _find_missing_png,
    "webp": _find_missing_webp,
}
