"""Image formats by their content, and what their length fields promise."""

import numpy as np
import pytest
from image_files import corners, encoded_image, png, png_chunk, png_rows, unread_images, webp_bomb

from m3ray.errors import DecodeError
from m3ray.video.containers import detect_container
from m3ray.video.image_formats import (
    IMAGE_FORMATS,
    describe_missing_image_bytes,
    detect_image,
    detect_unread_image,
    find_png_damage,
    keep_png_pixels,
    read_webp_size,
)


@pytest.mark.parametrize("name", IMAGE_FORMATS)
def test_each_format_is_told_by_its_beginning(name):
    data = encoded_image(corners(), name.upper())
    assert detect_image(data) == detect_image(data[:64]) == name
    assert describe_missing_image_bytes(data, name) is None
    assert detect_unread_image(data) is None


def test_formats_that_are_not_read_have_names_and_videos_are_none_of_them(clip_bytes):
    for name, data in unread_images().items():
        assert detect_image(data) is None
        assert detect_unread_image(data).startswith(name)
        with pytest.raises(DecodeError, match="convert it to JPEG"):
            detect_container(data)
    assert detect_unread_image(clip_bytes) is detect_image(clip_bytes) is None
    assert detect_image(b"BM is how this text begins, with a few more words") is None


@pytest.mark.parametrize("options", [{"lossless": True}, {"quality": 50}, {"quality": 50, "exif": b"Exif\0\0"}])
def test_a_webp_says_its_size_in_three_ways(options):
    assert read_webp_size(encoded_image(corners(97, 31), "WEBP", **options)) == (97, 31)
    assert read_webp_size(webp_bomb(1 << 24, 3)) == (1 << 24, 3)
    assert read_webp_size(b"RIFF\0\0\0\0WEBPVP8 ") is None


def test_a_png_keeps_what_decides_on_its_pixels():
    rows = png_rows(np.zeros((4, 4), np.uint8))
    bare = png(4, 4, 8, 0, rows)
    assert keep_png_pixels(bare) is bare
    assert keep_png_pixels(png(4, 4, 8, 0, rows, png_chunk(b"tEXt", b"a\0b"), png_chunk(b"acTL", bytes(8)))) == bare
    assert find_png_damage(bare) is None
    at = bare.index(b"IDAT") + 6
    assert find_png_damage(bare[:at] + b"\x99" + bare[at + 1 :]) == "the checksum of chunk 2 is wrong"


def test_a_jpeg_ends_with_its_first_picture_whatever_a_thumbnail_or_a_trailer_holds():
    jpeg = encoded_image(corners(), "JPEG")
    thumbnail = b"\xff\xe1" + (2 + len(jpeg)).to_bytes(2, "big") + jpeg
    whole = jpeg[:2] + thumbnail + jpeg[2:]
    assert describe_missing_image_bytes(whole + b"trailer", "jpeg") is None
    assert "marker that ends" in describe_missing_image_bytes(whole[:-2], "jpeg")
    assert "before the first scan" in describe_missing_image_bytes(whole[: len(jpeg)], "jpeg")
