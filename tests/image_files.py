"""Images for tests, each of one look in many encodings: as bytes."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
from PIL import Image

ORIENTATION = 0x0112


def corners(width: int = 96, height: int = 64) -> np.ndarray:
    """A smooth picture whose four corners differ, so that no turn and no mirror leaves it as it is."""
    y, x = np.mgrid[:height, :width]
    return np.stack(
        [x * 255 // (width - 1), y * 255 // (height - 1), (x + y) * 255 // (width + height - 2)], -1
    ).astype(np.uint8)


def encoded_image(pixels: np.ndarray | Image.Image, kind: str = "PNG", **options) -> bytes:
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def exif(orientation: int) -> Image.Exif:
    tags = Image.Exif()
    tags[ORIENTATION] = orientation
    return tags


def png_chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png(width: int, height: int, bits: int, colour: int, rows: bytes, *chunks: bytes) -> bytes:
    """A PNG written by hand, as the writers at hand cannot write each kind."""
    header = png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(chunks) + png_chunk(b"IDAT", zlib.compress(rows)) + PNG_END


PNG_END = png_chunk(b"IEND", b"")


def png_rows(values: np.ndarray) -> bytes:
    """Rows of samples, unfiltered; those of 16 bits with the high byte first."""
    wide = values.astype(">u2" if values.dtype == np.uint16 else np.uint8)
    return b"".join(b"\0" + row.tobytes() for row in wide)


def webp_bomb(width: int, height: int) -> bytes:
    """A header of a WebP that promises a large canvas."""
    head = (
        b"VP8X"
        + struct.pack("<I", 10)
        + bytes(4)
        + (width - 1).to_bytes(3, "little")
        + (height - 1).to_bytes(3, "little")
    )
    return b"RIFF" + struct.pack("<I", 4 + len(head)) + b"WEBP" + head


def jpeg_says(data: bytes, width: int, height: int) -> bytes:
    """A JPEG whose frame header says another size: bytes 5 to 8 behind the marker."""
    at = next(k for k in range(len(data)) if data[k] == 0xFF and data[k + 1] in (0xC0, 0xC2))
    return data[: at + 5] + struct.pack(">HH", height, width) + data[at + 9 :]


def unread_images() -> dict[str, bytes]:
    """Beginnings of formats that are known and not read, by the name that the message must have."""
    return {
        "TIFF": encoded_image(corners(), "TIFF"),
        "HEIC": b"\x00\x00\x00\x18ftypheic" + bytes(300),
        "AVIF": b"\x00\x00\x00\x18ftypavif" + bytes(300),
        "SVG": b'<?xml version="1.0"?>\n<svg xmlns="http://www.w3.org/2000/svg"/>',
        "JPEG XL": b"\xff\x0a" + bytes(100),
        "JPEG 2000": b"\x00\x00\x00\x0cjP  \r\n\x87\n" + bytes(100),
        "Photoshop": b"8BPS" + bytes(100),
        "PDF": b"%PDF-1.7\n" + bytes(100),
        "ICO": b"\x00\x00\x01\x00\x01\x00" + bytes(100),
    }
