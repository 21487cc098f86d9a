"""Parity with OpenCV, NumPy's FFT and scikit-image: golden/raw.npz, golden/flow.npz; tolerances are the issue's."""

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from recipes import frames, golden, moving_texture

from m3ray.errors import ShapeError
from m3ray.tiers import flow as flow_module
from m3ray.tiers.farneback import flows
from m3ray.tiers.flow import batched_flow, mean_optical_flow
from m3ray.tiers.hog import LENGTH, hog
from m3ray.tiers.raw import blurriness, brightness, contrast, luma, pixel_sums


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


def test_hog(rgb, figures):
    assert np.abs(hog(rgb[:2, 0]).numpy() - figures["hog"]).max() < 1e-4


@pytest.mark.parametrize("name", ["brightness", "contrast", "blurriness"])
def test_a_clip_has_the_mean_of_its_frames(rgb, figures, name):
    clip = rgb.transpose(0, 1)
    found = {
        "brightness": brightness,
        "contrast": lambda c: contrast(luma(c)),
        "blurriness": lambda c: blurriness(luma(c)),
    }
    assert found[name](clip).item() == pytest.approx(figures[name].mean(), abs=1e-3)


@pytest.mark.parametrize("position", range(4))
def test_flow(position):
    figures = golden("flow")
    motion = ("shift", "rotate", "zoom", "still")[position]
    texture = moving_texture(int(figures["first_seed"]) + position, motion)
    found = mean_optical_flow(torch.from_numpy(texture)[None].float() / 255).item()
    assert found == pytest.approx(figures[motion].mean(), rel=0.01, abs=1e-4)
    # The known motions: shift by (2, 1) pixels a frame; still.
    if motion == "shift":
        assert found == pytest.approx(np.sqrt(5), rel=0.02)
    if motion == "still":
        assert found < 0.01


@pytest.mark.parametrize("position", range(4))
def test_flow_in_pytorch_is_opencv_s(position):
    """The way that a GPU takes, on the CPU: golden/flow.npz within 1 %, and OpenCV's own flow pixel by pixel."""
    figures = golden("flow")
    motion = ("shift", "rotate", "zoom", "still")[position]
    texture = moving_texture(int(figures["first_seed"]) + position, motion)
    frames_ = torch.from_numpy(texture).float()
    assert batched_flow(frames_).item() == pytest.approx(figures[motion].mean(), rel=0.01, abs=1e-3)
    expected = cv2.calcOpticalFlowFarneback(texture[0], texture[1], None, 0.5, 3, 15, 3, 5, 1.2, 0)
    if motion != "still":  # without motion both divide rounding errors by next to nothing
        found = flows(frames_[:2])[0].permute(1, 2, 0).numpy()
        assert np.abs(found - expected).max() < 1e-4


def test_flow_in_pytorch_is_the_same_in_parts(monkeypatch):
    texture = torch.from_numpy(moving_texture(3, "shift", t=8, n=96)).float()
    whole = batched_flow(texture)
    monkeypatch.setattr(flow_module, "_AT_ONCE", 3)
    torch.testing.assert_close(batched_flow(texture), whole, rtol=1e-5, atol=1e-6)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")
def test_the_raw_features_are_the_same_on_a_gpu(rgb):
    clip = rgb.transpose(0, 1)
    for function in (brightness, lambda c: contrast(luma(c)), lambda c: blurriness(luma(c)), lambda c: hog(c[0])):
        torch.testing.assert_close(function(clip.cuda()).cpu(), function(clip), rtol=1e-4, atol=1e-4)
    on_gpu, on_cpu = (mean_optical_flow(luma(c)).item() for c in (clip.cuda(), clip))
    assert on_gpu == pytest.approx(on_cpu, rel=0.01)


def test_flow_of_a_single_frame_is_zero():
    assert mean_optical_flow(torch.rand(2, 1, 64, 64)).tolist() == [0, 0]


def test_the_tier_s_way_over_bytes_is_the_public_functions(rgb):
    pixels = (rgb[:, 0] * 255).round().to(torch.uint8)
    bright, gray = pixel_sums(pixels)
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


def test_hog_has_the_paper_s_length():
    assert LENGTH == 34_596 == hog(torch.rand(1, 3, 256, 256)).shape[1]
