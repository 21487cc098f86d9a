"""Compiled flow against OpenCV's own, which stands in `golden/flow.npz` for whole textures (test_raw)."""

import itertools

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from m3ray.tiers import flow
from m3ray.tiers.farneback.compiled import WIDEST, mean_flows
from m3ray.tiers.farneback.definition import SMALLEST_SIDE
from m3ray.tiers.flow import mean_optical_flow


def smooth_noise(seed: int, frames: int, height: int, width: int) -> np.ndarray:
    """A texture that drifts: uint8 (T, H, W). Noise alone has no motion to find."""
    noise = np.random.default_rng(seed).integers(0, 256, (height, width)).astype(np.float32)
    base = cv2.GaussianBlur(noise, (0, 0), 2)
    base = (base - base.min()) / max(1e-6, float(np.ptp(base))) * 255
    return np.stack([np.roll(base, (k, 2 * k), (0, 1)) for k in range(frames)]).astype(np.uint8)


def opencv_flows(clip: np.ndarray) -> list[float]:
    return [flow.opencv_flow(*pair) for pair in itertools.pairwise(clip)]


sides = st.integers(SMALLEST_SIDE, 40) | st.integers(SMALLEST_SIDE, 150)


@settings(max_examples=40)
@given(st.integers(0, 99), st.integers(2, 4), sides, sides)
def test_compiled_flow_is_opencv_s_for_any_shape(seed, frames, height, width):
    """A tenth of the 1 % that README's table of bounds gives for flow."""
    clip = smooth_noise(seed, frames, height, width)
    assert mean_flows(clip) == pytest.approx(opencv_flows(clip), rel=1e-3)


@pytest.mark.parametrize("side", [SMALLEST_SIDE, SMALLEST_SIDE + 1, 16, 31, 33])
def test_flow_in_pytorch_is_opencv_s_for_small_frames(side):
    """The way that a GPU takes."""
    clip = smooth_noise(5, 2, side, side + 3)
    found = flow.batched_flow(torch.from_numpy(clip).float()).item()
    assert [found] == pytest.approx(opencv_flows(clip), rel=1e-3)


@settings(max_examples=20)
@given(st.integers(0, 99), st.integers(1, SMALLEST_SIDE - 1), st.integers(1, 150), st.booleans())
def test_smaller_frames_are_opencv_s_own(seed, short, long, upright):
    clip = smooth_noise(seed, 3, *((long, short) if upright else (short, long)))
    assert flow.pair_flows(clip) == opencv_flows(clip)
    assert mean_optical_flow(torch.from_numpy(clip)[None] / 255).item() == pytest.approx(np.mean(opencv_flows(clip)))


def test_below_the_limit_the_definition_is_not_opencv_s():
    """Why there is a limit: a frame of 9 pixels, of which OpenCV weakens the middle one and not the border."""
    clip = smooth_noise(0, 2, SMALLEST_SIDE - 1, SMALLEST_SIDE - 1)
    assert mean_flows(clip) != pytest.approx(opencv_flows(clip), rel=0.01)


@pytest.mark.parametrize("shape", [(3, 6), (6, 6), (10, 10), (64, 80)])
def test_frames_without_texture_do_not_move(shape):
    clip = np.stack([np.full(shape, level, np.uint8) for level in (0, 90, 255)])
    assert flow.pair_flows(clip) == [0.0, 0.0]
    assert mean_optical_flow(torch.from_numpy(clip)[None] / 255).item() == 0.0


def test_compiled_flow_of_the_widest_frame():
    clip = smooth_noise(1, 2, 40, WIDEST)
    assert mean_flows(clip) == pytest.approx([flow.opencv_flow(*clip)], rel=1e-4)


@pytest.mark.parametrize("shape", [(1, 40), (40, 1), (1, 1), (34, WIDEST + 1)])
def test_what_the_compiled_code_does_not_take_goes_to_opencv(shape):
    clip = smooth_noise(2, 2, *shape)
    assert flow.pair_flows(clip) == [flow.opencv_flow(*clip)]


def test_frames_that_have_nothing_alike_do_no_harm():
    """Displacements far outside the frame: nothing is read there, and no value is left undefined."""
    clip = np.random.default_rng(3).integers(0, 256, (5, 64, 80), dtype=np.uint8)
    clip[2] = 0
    assert flow.pair_flows(clip) == pytest.approx(opencv_flows(clip), rel=0.01)


def test_opencv_serves_where_numba_does_not_work(monkeypatch):
    def refuse(name):
        raise RuntimeError("cannot cache function")

    monkeypatch.setattr(flow, "import_module", refuse)
    flow._compiled.cache_clear()
    clip = smooth_noise(4, 2, 48, 48)
    try:
        with pytest.warns(UserWarning, match=r"cannot cache.*NUMBA_CACHE_DIR"):
            assert flow.pair_flows(clip) == [flow.opencv_flow(*clip)]
    finally:
        flow._compiled.cache_clear()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")
def test_smaller_frames_are_opencv_s_own_on_a_gpu():
    clip = smooth_noise(6, 3, 8, 20)
    found = mean_optical_flow(torch.from_numpy(clip)[None].cuda() / 255)
    assert found.is_cuda
    assert found.item() == pytest.approx(np.mean(opencv_flows(clip)))
