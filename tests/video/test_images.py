"""Images as clips of one frame: the pixels that a viewer shows, or a reason."""

import zlib
from contextlib import suppress
from dataclasses import replace

import numpy as np
import pytest
from image_files import (
    PNG_END,
    corners,
    encoded_image,
    exif,
    jpeg_says,
    png,
    png_chunk,
    png_rows,
    unread_images,
    webp_bomb,
)  # fmt: skip
from PIL import Image, ImageOps
from torchvision import transforms

from m3ray.config import DecodeConfig, LimitsConfig
from m3ray.errors import DecodeError
from m3ray.video.decode import decode
from m3ray.video.images import convert_to_rgb, decode_image

CONFIG, LIMITS = DecodeConfig(size=96), LimitsConfig()


def shown(data, size=96, **limits):
    ((metadata, frames),) = decode(data, replace(CONFIG, size=size), replace(LIMITS, **limits))
    assert frames.shape == (1, size, size, 3)
    assert frames.dtype == np.uint8
    assert metadata.frames == metadata.sampled == 1
    return frames[0]


def reason(data, **limits):
    with pytest.raises(DecodeError) as error:
        shown(data, **limits)
    assert "\n" not in error.value.message
    return error.value.reason


def square(pixels):
    return np.asarray(Image.fromarray(pixels).resize((96, 96), Image.Resampling.NEAREST))


PICTURE = square(corners())


@pytest.mark.parametrize("kind", ["PNG", "BMP", "WEBP"])
def test_a_lossless_image_is_its_pixels(kind):
    options = {"lossless": True} if kind == "WEBP" else {}
    data = encoded_image(PICTURE, kind, **options)
    np.testing.assert_array_equal(shown(data), PICTURE)


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"subsampling": 0}, {"optimize": True}])
def test_a_jpeg_is_its_pixels_within_its_loss(options):
    data = encoded_image(PICTURE, "JPEG", quality=95, **options)
    assert np.abs(shown(data).astype(int) - PICTURE).mean() < 2, "of 255, as Pillow's own decoding differs"


def test_the_metadata_are_those_of_one_frame_without_length():
    data = encoded_image(corners(), "JPEG")
    metadata, _ = decode_image(data, "jpeg", CONFIG, LIMITS)
    assert metadata.as_dict() == {
        "width": 96, "height": 64, "native_fps": 0.0, "duration": 0.0, "frames": 1, "sampled": 1,
        "video_bytes": len(data), "container": "jpeg", "decoder": "pillow",
    }  # fmt: skip


@pytest.mark.parametrize("extent", ["all", "in_one_pass", "first_window", "first_frame"])
def test_every_extent_of_an_image_is_its_frame(extent):
    ((_, frames),) = decode(encoded_image(PICTURE), CONFIG, LIMITS, extent=extent)
    np.testing.assert_array_equal(frames, PICTURE[None])


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_turns_and_mirrors_as_viewers_do(orientation, kind):
    """Expected: Pillow's own `exif_transpose` of the stored picture."""
    stored = Image.fromarray(corners())
    stored.getexif()[0x0112] = orientation
    expected = np.asarray(ImageOps.exif_transpose(stored))
    data = encoded_image(corners(), kind, exif=exif(orientation), **({"lossless": True} if kind == "WEBP" else {}))
    metadata, _ = decode_image(data, kind.lower(), CONFIG, LIMITS)
    assert (metadata.height, metadata.width) == expected.shape[:2]
    np.testing.assert_array_equal(shown(data, 64), shown(encoded_image(expected), 64))


def test_a_phones_jpeg_with_exif_or_with_more_pictures_is_its_first_picture_upright():
    data = encoded_image(corners(), "JPEG", exif=exif(6), quality=95)
    upright = encoded_image(np.rot90(corners(), -1).copy())
    assert np.abs(shown(data).astype(int) - shown(upright)).mean() < 2
    second = Image.fromarray(255 - corners())
    several = encoded_image(corners(), "MPO", save_all=True, append_images=[second], quality=95)
    assert np.abs(shown(several).astype(int) - shown(encoded_image(corners()))).mean() < 2


def test_exif_that_cannot_be_read_turns_nothing():
    data = encoded_image(corners(), "JPEG", exif=b"Exif\0\0MM\0*\xff\xff\xff\xff" + bytes(20))
    assert np.abs(shown(data).astype(int) - shown(encoded_image(corners()))).mean() < 3
    np.testing.assert_array_equal(shown(encoded_image(corners(), exif=exif(99))), shown(encoded_image(corners())))


def test_grey_and_bits_are_spread_over_the_colours():
    grey = PICTURE[..., 0]
    np.testing.assert_array_equal(shown(encoded_image(grey)), np.repeat(grey[..., None], 3, -1))
    bits = Image.fromarray(grey > 100)
    np.testing.assert_array_equal(shown(encoded_image(bits))[..., 1], (grey > 100) * np.uint8(255))
    np.testing.assert_array_equal(shown(encoded_image(bits, "BMP"))[..., 1], (grey > 100) * np.uint8(255))


def test_a_palette_is_looked_up_and_its_transparent_colour_is_white():
    few = Image.fromarray(PICTURE).quantize(16)
    np.testing.assert_array_equal(shown(encoded_image(few)), np.asarray(few.convert("RGB")))
    np.testing.assert_array_equal(shown(encoded_image(few, "BMP")), np.asarray(few.convert("RGB")))
    hole = few.getpixel((0, 0))
    frame = shown(encoded_image(few, transparency=hole))
    mask = np.asarray(few) == hole
    assert (frame[mask] == 255).all()
    np.testing.assert_array_equal(frame[~mask], np.asarray(few.convert("RGB"))[~mask])


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_what_is_transparent_lies_over_white(kind):
    """Half opaque red over white: 255, 128, 128 (255 x 0.498 + 0 x 0.502)."""
    pixels = np.zeros((96, 96, 4), np.uint8)
    pixels[:, :48] = (255, 0, 0, 127)
    frame = shown(encoded_image(pixels, kind, **({"lossless": True, "exact": True} if kind == "WEBP" else {})))
    assert (frame[:, 48:] == 255).all(), "black, but not to be seen"
    np.testing.assert_array_equal(np.unique(frame[:, :48].reshape(-1, 3), axis=0), [[255, 128, 128]])
    grey = np.zeros((96, 96, 2), np.uint8)
    assert (shown(encoded_image(Image.fromarray(grey, "LA"))) == 255).all()


def test_a_single_transparent_colour_is_white():
    rows = png_rows(PICTURE.reshape(96, -1))
    colour = b"".join(b"\0" + bytes([value]) for value in PICTURE[0, 0])
    frame = shown(png(96, 96, 8, 2, rows, png_chunk(b"tRNS", colour)))
    mask = (PICTURE[0, 0] == PICTURE).all(-1)
    assert (frame[mask] == 255).all()
    np.testing.assert_array_equal(frame[~mask], PICTURE[~mask])


def wide(values):
    """16 bits whose high byte is `values`, and whose low one is something."""
    return values.astype(np.uint16) * 256 + 77


def test_sixteen_bits_are_scaled_and_not_clipped():
    grey = png(96, 96, 16, 0, png_rows(wide(PICTURE[..., 0])))
    np.testing.assert_array_equal(shown(grey), np.repeat(PICTURE[..., :1], 3, -1))
    colours = png(96, 96, 16, 2, png_rows(wide(PICTURE).reshape(96, -1)))
    np.testing.assert_array_equal(shown(colours), PICTURE)
    alpha = np.dstack([wide(PICTURE), np.where(np.arange(96) < 48, 0, 65535)[None, :, None].repeat(96, 0)])
    frame = shown(png(96, 96, 16, 6, png_rows(alpha.astype(np.uint16).reshape(96, -1))))
    assert (frame[:, :48] == 255).all()
    np.testing.assert_array_equal(frame[:, 48:], PICTURE[:, 48:])


def test_a_transparent_colour_of_sixteen_bits_is_white():
    grey = wide(PICTURE[..., 0])
    frame = shown(png(96, 96, 16, 0, png_rows(grey), png_chunk(b"tRNS", grey[0, :1].astype(">u2").tobytes())))
    assert (frame[grey == grey[0, 0]] == 255).all()
    assert (frame[grey != grey[0, 0]][:, 0] == PICTURE[..., 0][grey != grey[0, 0]]).all()
    colours = wide(PICTURE)
    entry = png_chunk(b"tRNS", colours[0, 0].astype(">u2").tobytes())
    frame = shown(png(96, 96, 16, 2, png_rows(colours.reshape(96, -1)), entry))
    assert (frame[0, 0] == 255).all()
    np.testing.assert_array_equal(frame[-1, -1], PICTURE[-1, -1])


def test_cmyk_is_inverted_as_its_writers_do():
    """Pillow writes CMYK as Adobe does, inverted; cyan without red must not come out as red."""
    ink = Image.new("CMYK", (96, 96), (255, 0, 0, 0))
    frame = shown(encoded_image(ink, "JPEG", quality=95))
    np.testing.assert_allclose(frame.reshape(-1, 3).mean(0), (0, 255, 255), atol=3)
    black = Image.new("CMYK", (96, 96), (0, 0, 0, 255))
    assert shown(encoded_image(black, "JPEG", quality=95)).max() < 5


def test_of_an_animation_the_first_picture_is_shown():
    frames = [Image.fromarray(PICTURE), Image.fromarray(255 - PICTURE)]
    for kind, options in (("WEBP", {"lossless": True}), ("PNG", {})):
        data = encoded_image(frames[0], kind, save_all=True, append_images=frames[1:], duration=100, **options)
        np.testing.assert_array_equal(shown(data), PICTURE)


def test_it_is_resized_as_networks_of_images_were_trained():
    """By Pillow's triangle filter: ResMem's transforms, torchvision's, timm's."""
    picture = np.random.default_rng(0).integers(0, 256, (200, 300, 3), dtype=np.uint8)
    expected = transforms.Resize((64, 64))(Image.fromarray(picture))
    np.testing.assert_array_equal(shown(encoded_image(picture), 64), np.asarray(expected))
    assert shown(encoded_image(corners(2, 2)), 64).shape == (64, 64, 3)


def test_a_pixel_bomb_is_rejected_from_its_header():
    jpeg = encoded_image(PICTURE, "JPEG")
    bombs = [
        png(100_000, 100_000, 8, 2, b"\0"),
        jpeg_says(jpeg, 65_000, 65_000),
        webp_bomb(1 << 14, 1 << 14),
        b"BM" + bytes(12) + np.array([40, 100_000, 100_000], "<i4").tobytes() + b"\1\0\x18\0" + bytes(200),
    ]
    for data in bombs:
        with pytest.raises(DecodeError, match=r"limit 120000000 pixels: raise limits\.max-image-pixels") as error:
            shown(data)
        assert error.value.reason == "too_large"


def test_cameras_of_a_hundred_million_pixels_are_within_the_limit_and_a_user_may_set_another():
    assert LIMITS.max_image_pixels >= 12_000 * 9_000, "phones of 108 megapixels"
    assert reason(encoded_image(PICTURE), max_image_pixels=96 * 95) == "too_large"
    assert shown(encoded_image(PICTURE), max_pixels=1).shape == (96, 96, 3), "that one is of videos"


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "BMP"])
def test_pillows_own_limit_is_not_asked(kind, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    shown(encoded_image(PICTURE, kind))
    assert Image.MAX_IMAGE_PIXELS == 10


def test_text_and_profiles_that_unpack_to_gigabytes_are_passed_over():
    bomb = zlib.compress(bytes(100 << 20), 9)
    chunks = [
        png_chunk(b"zTXt", b"a\0\0" + bomb),
        png_chunk(b"iTXt", b"a\0\1\0\0\0" + bomb),
        png_chunk(b"iCCP", b"a\0\0" + bomb),
    ]
    data = png(96, 96, 8, 2, png_rows(PICTURE.reshape(96, -1)), *chunks)
    np.testing.assert_array_equal(shown(data), PICTURE)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "BMP", "progressive"])
@pytest.mark.parametrize("share", [0.3, 0.6, 0.95, None])
def test_a_file_that_is_cut_is_truncated(kind, share):
    noise = np.random.default_rng(0).integers(0, 256, (96, 96, 3), np.uint8)
    options = {"progressive": True} if kind == "progressive" else {}
    data = encoded_image(noise, "JPEG" if kind == "progressive" else kind, **options)
    cut = data[: len(data) - 2 if share is None else int(len(data) * share)]
    assert reason(cut) == "truncated"
    if kind in ("JPEG", "progressive"):
        assert reason(cut + bytes(len(data) - len(cut))) == "truncated", "a download that was never filled in"


@pytest.mark.parametrize("length", [3, 8, 12, 20, 30, 60])
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "BMP"])
def test_a_beginning_alone_has_a_reason(kind, length):
    assert reason(encoded_image(PICTURE, kind)[:length]) in ("truncated", "damaged", "not_a_video", "unreadable")


def test_bytes_overwritten_at_random_give_a_frame_or_a_reason():
    good = {kind: encoded_image(PICTURE, kind) for kind in ("PNG", "JPEG", "WEBP", "BMP")}
    for data in good.values():
        for seed in range(40):
            rng, changed = np.random.default_rng(seed), bytearray(data)
            for position in rng.integers(0, len(changed), 1 + seed // 4):
                changed[position] = rng.integers(256)
            with suppress(DecodeError):
                assert len(list(decode(bytes(changed), CONFIG, LIMITS))) == 1


def test_a_jpeg_whose_bytes_cannot_hold_its_pixels_is_truncated_and_a_flat_one_is_not():
    assert reason(jpeg_says(encoded_image(corners(), "JPEG"), 9000, 9000)) == "truncated"
    flat = Image.new("L", (4096, 4096), 90)
    for options in ({"optimize": True}, {"progressive": True, "optimize": True}):
        assert np.ptp(shown(encoded_image(flat, "JPEG", quality=20, **options))) == 0


def test_a_damaged_png_is_damaged():
    data = bytearray(encoded_image(np.random.default_rng(0).integers(0, 256, (96, 96, 3), np.uint8)))
    at = data.index(b"IDAT") + 4
    data[at + 1000 : at + 1200] = bytes(200)
    assert reason(bytes(data)) == "damaged"
    assert reason(png(0, 0, 8, 2, b"") + PNG_END) == "damaged"


@pytest.mark.parametrize(("name", "data"), unread_images().items())
def test_an_image_of_another_kind_is_named_with_what_to_do(name, data):
    with pytest.raises(DecodeError, match=rf"it is {name}.*: convert it to JPEG, PNG, WebP or BMP") as error:
        shown(data)
    assert error.value.reason == "unsupported_image"


def test_what_only_claims_to_be_an_image_is_none():
    assert reason(b"") == "empty_file"
    assert reason(b"a text that is called .jpg\n" * 9) == "not_a_video"
    assert reason(b"PK\x03\x04" + bytes(100)) == "not_a_video"
    assert reason(b"BMW and other cars\n" * 9) == "not_a_video"


def test_modes_that_no_reader_here_gives_still_become_colours():
    image = Image.fromarray(PICTURE).convert("YCbCr")
    assert np.abs(convert_to_rgb(image).astype(int) - PICTURE).max() <= 3
