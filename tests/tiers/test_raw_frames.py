"""Statistics of each frame, against the public functions of a clip of one frame."""

import pytest
import torch
from counting import META, count_operations
from recipes import frames

from m3ray.tiers import raw, raw_frames

CPU = torch.device("cpu")
SIZE = torch.Size((256, 256))


@pytest.fixture(scope="module")
def images():
    """Five textures, the fifth dark; uint8, (5, 256, 256, 3)."""
    made = torch.from_numpy(frames(5, t=5))
    made[4] //= 16
    return made


def test_planes_are_the_channels(images):
    planes = raw_frames.split_planes(images)
    assert planes.is_contiguous()
    assert torch.equal(planes, images.permute(0, 3, 1, 2).float())


def test_luma_and_brightness_are_those_of_the_way_over_bytes(images):
    """Bit for bit: flow rounds luma to 8 bits, and a thousandth of all pixels lie half-way."""
    planes = raw_frames.split_planes(images)
    bright, gray = raw.brightness_and_luma(images.permute(0, 3, 1, 2))
    assert torch.equal(raw_frames.frame_luma(planes), gray)
    torch.testing.assert_close(raw_frames.frame_brightness(planes), bright, rtol=1e-6, atol=0)


def test_contrast_and_blurriness_are_the_public_ones(images):
    gray = raw_frames.frame_luma(raw_frames.split_planes(images))
    torch.testing.assert_close(raw_frames.frame_contrast(gray), raw.contrast(gray[:, None]), rtol=1e-6, atol=1e-7)
    for half_width in (30, 5):
        waves = raw_frames.place_waves(SIZE, half_width, CPU)
        expected = raw.blurriness(gray[:, None], half_width)
        torch.testing.assert_close(raw_frames.frame_blurriness(gray, waves), expected, rtol=1e-6, atol=0)


@pytest.mark.parametrize(("height", "width", "half"), [(64, 48, 5), (33, 70, 30), (8, 8, 1)])
def test_the_projection_is_that_of_the_fourier_plane(height, width, half):
    """Reference: PyTorch's FFT with all but the square set to zero, float64."""
    gray = torch.rand(2, height, width, generator=torch.Generator().manual_seed(1))
    n, m = min(half, height // 2), min(half, width // 2)
    kept = torch.zeros(height, width)
    kept[torch.arange(-n, n)[:, None] % height, torch.arange(-m, m) % width] = 1
    expected = torch.fft.ifft2(torch.fft.fft2(gray.double()) * kept)
    found = raw_frames._project_low(gray, raw_frames.place_waves(gray.shape[-2:], half, CPU)).double()
    torch.testing.assert_close(found[:, 0], expected.real, rtol=0, atol=1e-5)
    torch.testing.assert_close(found[:, 1].abs(), expected.imag.abs(), rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "launches"),
    [("split_planes", 1), ("frame_luma", 3), ("frame_brightness", 3), ("frame_contrast", 1), ("frame_blurriness", 14)],
)
def test_each_takes_few_launches(name, launches):
    """Before, for the five: 1, 11 together, 5 and 39."""
    images = torch.empty(360, 256, 256, 3, dtype=torch.uint8, device=META)
    planes = raw_frames.split_planes(images)
    gray = raw_frames.frame_luma(planes)
    waves = raw_frames.place_waves(SIZE, 30, META)
    arguments = {"split_planes": (images,), "frame_contrast": (gray,), "frame_blurriness": (gray, waves)}
    counted = count_operations(getattr(raw_frames, name), *arguments.get(name, (planes,)))
    assert counted.launches <= launches
    assert counted.uploads == counted.downloads == 0
