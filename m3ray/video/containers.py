"""Container formats, told by the content of a file: a name can claim anything, and a playlist can open other files."""

from __future__ import annotations

from m3ray.errors import DecodeError
from m3ray.video.image_formats import IMAGE_FORMATS, detect_unread_image

HEAD = 1024
_TS_PACKET = 188
_M2TS_PACKET = 192
_MOV_ATOMS = (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot", b"styp", b"uuid")
_ASF_HEADER = bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c")
_MXF_PARTITION = bytes.fromhex("060e2b34020501010d01020101")


def detect_container(data: bytes) -> str:
    """Detect which container a file is.

    Args:
        data: bytes of the file, or its first `HEAD` bytes.
    Returns:
        FFmpeg's name of the demuxer.
    Raises:
        DecodeError: If the file is empty (`empty_file`), an image of a kind that is not read (`unsupported_image`), or
            none of the allowed containers (`not_a_video`).
    """
    if not data:
        raise DecodeError("empty_file", "the file is empty (0 bytes): copy or download it again", stage="sniff")
    unread = detect_unread_image(data)
    if unread is not None:
        advice = "convert it to JPEG, PNG, WebP or BMP"
        raise DecodeError("unsupported_image", f"it is {unread}, which is not read: {advice}", stage="sniff")
    for name, matches in _SIGNATURES.items():
        if matches(data):
            return name
    raise DecodeError(
        "not_a_video",
        f"begins with {data[:16]!r}, which is none of {', '.join((*_SIGNATURES, *IMAGE_FORMATS))}: convert it, or "
        "leave it out",
        stage="sniff",
    )


def _is_mov(data: bytes) -> bool:
    return data[4:8] in _MOV_ATOMS


def _is_matroska(data: bytes) -> bool:
    return data.startswith(b"\x1a\x45\xdf\xa3")


def _is_avi(data: bytes) -> bool:
    return data.startswith(b"RIFF") and data[8:11] == b"AVI"


def _is_mpegts(data: bytes) -> bool:
    return _has_sync(data, 0, _TS_PACKET) or _has_sync(data, 4, _M2TS_PACKET)


def _has_sync(data: bytes, offset: int, packet: int) -> bool:
    """Three sync bytes a packet apart: one alone is the letter G."""
    return all(data[offset + k * packet : offset + k * packet + 1] == b"\x47" for k in range(3))


def _is_mpegps(data: bytes) -> bool:
    return data.startswith(b"\x00\x00\x01\xba")


def _is_mpegvideo(data: bytes) -> bool:
    return data.startswith(b"\x00\x00\x01\xb3")


def _is_gif(data: bytes) -> bool:
    return data.startswith((b"GIF87a", b"GIF89a"))


def _is_flv(data: bytes) -> bool:
    return data.startswith(b"FLV\x01")


def _is_asf(data: bytes) -> bool:
    return data.startswith(_ASF_HEADER)


def _is_ogg(data: bytes) -> bool:
    return data.startswith(b"OggS\x00")


def _is_mxf(data: bytes) -> bool:
    return data.startswith(_MXF_PARTITION)


# None of these demuxers opens anything beside the bytes that it is given.
_SIGNATURES = {
    "mov": _is_mov,
    "matroska": _is_matroska,
    "avi": _is_avi,
    "mpegts": _is_mpegts,
    "mpeg": _is_mpegps,
    "mpegvideo": _is_mpegvideo,
    "gif": _is_gif,
    "flv": _is_flv,
    "asf": _is_asf,
    "ogg": _is_ogg,
    "mxf": _is_mxf,
}
