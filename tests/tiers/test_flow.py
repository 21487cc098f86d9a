"""Compiled flow against OpenCV's own, which stands in `golden/flow.npz` for whole textures (test_raw)."""

import itertools

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from m3ray.tiers import flow
from m3ray.tiers.farneback.compiled import WIDEST, mean_flows


def smooth_noise(seed: int, frames: int, height: int, width: int) -> np.ndarray:
    """A texture that drifts: uint8 (T, H, W). Noise alone has no motion to find."""
    noise = np.random.default_rng(seed).integers(0, 256, (height, width)).astype(np.float32)
    base = cv2.GaussianBlur(noise, (0, 0), 2)
    base = (base - base.min()) / max(1e-6, float(np.ptp(base))) * 255
    return np.stack([np.roll(base, (k, 2 * k), (0, 1)) for k in range(frames)]).astype(np.uint8)


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 99), st.integers(2, 4), st.integers(2, 150), st.integers(2, 150))
def test_compiled_flow_is_opencv_s_for_any_shape(seed, frames, height, width):
    clip = smooth_noise(seed, frames, height, width)
    expected = [flow.opencv_flow(*pair) for pair in itertools.pairwise(clip)]
    # The issue asks for 1 %; a window larger than the frame leaves both a system that is nearly singular.
    assert mean_flows(clip) == pytest.approx(expected, rel=1e-2 if min(height, width) < 16 else 1e-3, abs=1e-4)


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
    expected = [flow.opencv_flow(*pair) for pair in itertools.pairwise(clip)]
    assert flow.pair_flows(clip) == pytest.approx(expected, rel=0.01)


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
