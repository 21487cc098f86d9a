"""Pixel statistics against OpenCV's and NumPy's FFT: golden/raw.npz."""

import numpy as np
import pytest
import torch
from counting import META, count_operations
from hypothesis import given, settings
from hypothesis import strategies as st
from recipes import frames, golden

from m3ray.errors import ShapeError
from m3ray.tiers.flow import mean_optical_flow
from m3ray.tiers.hog import hog
from m3ray.tiers.raw import blurriness, brightness, brightness_and_luma, contrast, luma, split_channels


@pytest.fixture(scope="module")
def figures():
    return golden("raw")


@pytest.fixture(scope="module")
def rgb(figures):
    """One clip a frame: (6, 1, 3, 256, 256)."""
    return torch.from_numpy(frames(int(figures["seed"]))).permute(0, 3, 1, 2)[:, None].float() / 255


def test_brightness(rgb, figures):
    assert np.abs(brightness(rgb).numpy() - figures["brightness"]).max() < 1e-5


def test_contrast(rgb, figures):
    assert np.abs(contrast(luma(rgb)).numpy() - figures["contrast"]).max() < 1e-5


def test_blurriness(rgb, figures):
    assert np.abs(blurriness(luma(rgb)).numpy() - figures["blurriness"]).max() < 1e-3


@pytest.mark.parametrize("name", ["brightness", "contrast", "blurriness"])
def test_a_clip_has_the_mean_of_its_frames(rgb, figures, name):
    clip = rgb.transpose(0, 1)
    found = {
        "brightness": brightness,
        "contrast": lambda c: contrast(luma(c)),
        "blurriness": lambda c: blurriness(luma(c)),
    }
    assert found[name](clip).item() == pytest.approx(figures[name].mean(), abs=1e-3)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")
def test_the_raw_features_are_the_same_on_a_gpu(rgb):
    clip = rgb.transpose(0, 1)
    for function in (brightness, lambda c: contrast(luma(c)), lambda c: blurriness(luma(c)), lambda c: hog(c[0])):
        torch.testing.assert_close(function(clip.cuda()).cpu(), function(clip), rtol=1e-4, atol=1e-4)
    on_gpu, on_cpu = (mean_optical_flow(luma(c)).item() for c in (clip.cuda(), clip))
    assert on_gpu == pytest.approx(on_cpu, rel=0.01)


def test_the_tier_s_way_over_bytes_is_the_public_functions(rgb):
    pixels = (rgb[:, 0] * 255).round().to(torch.uint8)
    bright, gray = brightness_and_luma(pixels)
    torch.testing.assert_close(bright, brightness(rgb), rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(gray, luma(rgb)[:, 0], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("height", "width", "half"), [(64, 48, 5), (33, 70, 30), (8, 8, 1)])
def test_blurriness_of_any_plane_is_that_of_the_fourier_transform(height, width, half):
    """Reference: NumPy's FFT with the square set to zero, float64."""
    gray = np.random.default_rng(0).random((height, width))
    square = min(half, height // 2), min(half, width // 2)
    spectrum = np.fft.fft2(gray)
    rows, columns = (np.r_[0:n, size - n : size] for n, size in zip(square, (height, width), strict=True))
    spectrum[np.ix_(rows, columns)] = 0
    expected = np.mean(20 * np.log10(np.maximum(np.abs(np.fft.ifft2(spectrum)), 1e-8)))
    assert blurriness(torch.from_numpy(gray)[None, None], half).item() == pytest.approx(expected, abs=1e-6)


def test_constant_frames_give_finite_numbers():
    rgb = torch.full((1, 3, 3, 256, 256), 0.5)
    assert torch.count_nonzero(hog(rgb[0])) == 0
    assert torch.isfinite(blurriness(luma(rgb))).all()
    assert contrast(luma(rgb)).item() < 1e-6


@settings(max_examples=20, deadline=None)
@given(
    st.integers(1, 2),
    st.integers(1, 4),
    st.integers(16, 80),
    st.integers(16, 80),
    st.sampled_from([torch.float32, torch.float64]),
)
def test_any_shape_gives_a_number_a_clip(batch, length, height, width, dtype):
    rgb = torch.rand(batch, length, 3, height, width, dtype=dtype)
    gray = luma(rgb)
    for values in (brightness(rgb), contrast(gray), blurriness(gray)):
        assert values.shape == (batch,)
        assert values.dtype == dtype
        assert torch.isfinite(values).all()
    # V = max(R, G, B) is never below luma, a weighted mean of the three.
    assert (brightness(rgb) >= gray.mean(dim=(1, 2, 3)) - 1e-6).all()


@pytest.mark.parametrize("call", [brightness, luma, contrast, blurriness, mean_optical_flow, hog])
@pytest.mark.parametrize("bad", [torch.zeros(3), torch.zeros(1, 2, 5, 8, 8, 8), torch.zeros(1, 0, 8, 8)])
def test_wrong_shapes_are_named(call, bad):
    with pytest.raises(ShapeError, match="expected"):
        call(bad)


def test_channels_are_split_in_order_and_contiguous():
    frames_ = np.random.default_rng(1).integers(0, 256, (2, 5, 7, 3), dtype=np.uint8)
    planes = split_channels(frames_)
    assert np.array_equal(planes.numpy(), frames_.transpose(0, 3, 1, 2))
    assert all(planes[:, channel].is_contiguous() for channel in range(3))


def test_statistics_of_two_colours_by_hand():
    """Half red, half black: V is 1 or 0, luma 0.299 or 0; its deviation is half the difference."""
    rgb = torch.zeros(1, 1, 3, 4, 4, dtype=torch.float64)
    rgb[..., 0, :, :2] = 1
    assert brightness(rgb).item() == 0.5
    assert luma(rgb).amax().item() == 0.299
    assert contrast(luma(rgb)).item() == pytest.approx(0.299 / 2)


@pytest.mark.parametrize(
    ("function", "launches"), [(brightness, 2), (luma, 5), (contrast, 5), (blurriness, 39), (brightness_and_luma, 11)]
)
def test_pixel_statistics_stay_on_their_device(function, launches):
    """Blurriness uploaded its two sets of waves for each call."""
    shape = {brightness: (1, 16, 3, 64, 64), luma: (1, 16, 3, 64, 64), brightness_and_luma: (16, 3, 64, 64)}
    dtype = torch.uint8 if function is brightness_and_luma else torch.float32
    counted = count_operations(function, torch.empty(shape.get(function, (1, 16, 64, 64)), dtype=dtype, device=META))
    assert counted.uploads == counted.downloads == 0
    assert counted.launches <= launches
