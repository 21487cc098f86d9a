"""Decoding of images: clips of one frame, in the orientation and the colours that a viewer shows."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
from PIL import Image
from PIL.BmpImagePlugin import BmpImageFile
from PIL.ImageFile import ImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.WebPImagePlugin import WebPImageFile

from m3ray.config import DecodeConfig, LimitsConfig
from m3ray.errors import DecodeError
from m3ray.video.image_formats import (
    describe_missing_image_bytes,
    find_png_damage,
    keep_png_pixels,
    read_webp_size,
)
from m3ray.video.metadata import VideoMetadata
from m3ray.video.orientation import orient

_ORIENTATION = 0x0112  # EXIF's tag
_PNG_BITS = 24  # where a PNG says how many bits a sample has
_JPEG_BLOCK = 64  # pixels that take at least one bit; where they lack it, the decoder fills in grey and says nothing
# EXIF's orientations as display matrices (a, b, c, d): where a pixel of the stored picture goes.
_MATRICES = {
    2: (-1.0, 0.0, 0.0, 1.0),
    3: (-1.0, 0.0, 0.0, -1.0),
    4: (1.0, 0.0, 0.0, -1.0),
    5: (0.0, 1.0, 1.0, 0.0),
    6: (0.0, 1.0, -1.0, 0.0),
    7: (0.0, -1.0, -1.0, 0.0),
    8: (0.0, -1.0, 1.0, 0.0),
}
# Each plugin is called by its name: Pillow is never asked to find out what a file is.
_PLUGINS: dict[str, Callable[[io.BytesIO], ImageFile]] = {
    "jpeg": JpegImageFile,
    "png": PngImageFile,
    "webp": WebPImageFile,
    "bmp": BmpImageFile,
}


def decode_image(
    data: bytes, image: str, config: DecodeConfig, limits: LimitsConfig
) -> tuple[VideoMetadata, np.ndarray]:
    """Decode an image as a clip of one frame.

    Turned as EXIF says; transparent pixels are laid over white; of 16 bits the higher eight are taken; of an animation
    the first picture. Colour profiles are not applied, as those of videos are not.

    Args:
        data: bytes of the file.
        image: its format, as `image_formats.detect_image` tells.
        config: size of the frame.
        limits: per-clip limits, of which `max_image_pixels` is read from the header.
    Returns:
        The metadata of the clip, with a length of 0 seconds; the frame: uint8, (1, size, size, 3), RGB.
    Raises:
        DecodeError: If it is too large, truncated or damaged.
    """
    missing = describe_missing_image_bytes(data, image)
    if missing:
        raise _truncation_error(missing)
    with _decoder_errors(image):
        picture = _read_pixels(data, image, limits)
    height, width = picture.shape[:2]
    metadata = VideoMetadata(width, height, 0.0, 0.0, 1, 1, len(data), image, "pillow")
    return metadata, _resize_image(picture, config.size)[None]


def _resize_image(picture: np.ndarray, size: int) -> np.ndarray:
    """Resize with the triangle filter that networks of images are mostly trained with, Pillow's own (size, size, 3)."""
    return np.asarray(Image.fromarray(picture).resize((size, size), Image.Resampling.BILINEAR))


def _read_pixels(data: bytes, image: str, limits: LimitsConfig) -> np.ndarray:
    """The picture as a viewer shows it, uint8, (H, W, 3)."""
    size = read_webp_size(data) if image == "webp" else None
    if size is not None:  # its plugin takes the memory on opening
        _check_pixels(*size, limits)
    damage = find_png_damage(data) if image == "png" else None
    if damage is not None:
        raise DecodeError("damaged", f"{damage}: copy or convert it again")
    with _no_own_limit(), _PLUGINS[image](io.BytesIO(keep_png_pixels(data) if image == "png" else data)) as file:
        _check_pixels(*file.size, limits)
        if image == "jpeg" and 8 * len(data) < file.width * file.height / _JPEG_BLOCK:
            raise _truncation_error(f"{len(data)} bytes are too few for a JPEG of {file.width}x{file.height} pixels")
        _halve_transparency(file, data)
        return read_upright(file)


def read_upright(image: Image.Image) -> np.ndarray:
    """Read a picture of Pillow's as a viewer shows it.

    Args:
        image: the picture, loaded or not.
    Returns:
        uint8, (H, W, 3), turned as its EXIF says; what is transparent is laid over white.
    """
    matrix = _MATRICES.get(_read_orientation(image))
    picture = convert_to_rgb(image)
    return picture if matrix is None else orient(picture, matrix)


def _halve_transparency(file: ImageFile, data: bytes) -> None:
    """Take the higher eight bits of a PNG's transparent colour too, where its pixels have sixteen."""
    colour = file.info.get("transparency")
    if isinstance(file, PngImageFile) and file.mode == "RGB" and data[_PNG_BITS] == 16 and isinstance(colour, tuple):
        file.info["transparency"] = tuple(value >> 8 for value in colour)


def convert_to_rgb(image: Image.Image) -> np.ndarray:
    """Convert a picture of any of Pillow's modes to eight bits of red, green and blue.

    Args:
        image: the picture, loaded or not.
    Returns:
        uint8, (H, W, 3); what is transparent is laid over white.
    """
    transparent = image.info.get("transparency")
    if image.mode.startswith("I"):  # grey of 16 bits
        grey = np.asarray(image)
        eight = (grey >> 8).astype(np.uint8)
        if isinstance(transparent, int):
            eight[grey == transparent] = 255
        return np.repeat(eight[..., None], 3, axis=-1)
    if image.mode in ("LA", "PA", "RGBA", "La", "RGBa") or transparent is not None:
        above = image.convert("RGBA")
        white = Image.new("RGB", above.size, "white")
        white.paste(above, mask=above.getchannel("A"))
        return np.asarray(white)
    return np.asarray(image if image.mode == "RGB" else image.convert("RGB"))


def _read_orientation(file: Image.Image) -> int:
    """EXIF's orientation, 1 to 8; 1 where what is there cannot be read, as viewers do."""
    try:
        return int(file.getexif().get(_ORIENTATION, 1))
    except Exception:  # of a parser of anything that a camera wrote
        return 1


def _check_pixels(width: int, height: int, limits: LimitsConfig) -> None:
    if width * height > limits.max_image_pixels:
        words = f"{width}x{height} image, limit {limits.max_image_pixels} pixels"
        advice = "raise limits.max-image-pixels (and limits.memory-mb: it takes about 10 bytes a pixel)"
        raise DecodeError("too_large", f"{words}: {advice}")


@contextmanager
def _no_own_limit() -> Iterator[None]:
    """Pillow without its own limit of pixels, which warns, and cannot be raised for one image."""
    before, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
    try:
        yield
    finally:
        Image.MAX_IMAGE_PIXELS = before


@contextmanager
def _decoder_errors(image: str) -> Iterator[None]:
    """Whatever a plugin raises becomes a DecodeError; what memory is missing stays what it is."""
    try:
        yield
    except (DecodeError, MemoryError):
        raise
    except Exception as error:
        words = " ".join(str(error).split())[:200] or type(error).__name__
        if "truncated" in words.lower():
            raise _truncation_error(f"its {image.upper()} data end too early ({words})") from error
        raise DecodeError(
            "damaged", f"does not decode as {image.upper()}: {words}: copy or convert it again"
        ) from error


def _truncation_error(missing: str) -> DecodeError:
    return DecodeError("truncated", f"{missing}: the file is cut short, copy it again", stage="demux")
