"""Flow compiled by Numba against OpenCV's own."""

import numpy as np
import pytest
from drifting import drifting_texture, opencv_flows
from hypothesis import given, settings
from hypothesis import strategies as st

from m3ray.tiers.farneback.compiled import MAX_WIDTH, mean_flows
from m3ray.tiers.farneback.definition import MIN_SIDE

sides = st.integers(MIN_SIDE, 40) | st.integers(MIN_SIDE, 150)


@settings(max_examples=40)
@given(st.integers(0, 99), st.integers(2, 4), sides, sides)
def test_compiled_flow_is_opencv_s_for_any_shape(seed, frames, height, width):
    """A tenth of the 1 % that docs/accuracy.md gives for flow."""
    clip = drifting_texture(seed, frames, height, width)
    assert mean_flows(clip) == pytest.approx(opencv_flows(clip), rel=1e-3)


def test_compiled_flow_of_the_widest_frame():
    clip = drifting_texture(1, 2, 40, MAX_WIDTH)
    assert mean_flows(clip) == pytest.approx(opencv_flows(clip), rel=1e-4)


def test_a_pair_has_the_same_flow_in_any_company():
    """Polynomials of a frame are kept for the next pair: they must be those of the frame itself."""
    clip = drifting_texture(7, 4, 48, 64)
    assert mean_flows(clip) == [mean_flows(clip[k : k + 2])[0] for k in range(3)]


def test_still_frames_do_not_move():
    still = np.repeat(drifting_texture(8, 1, 40, 40), 2, axis=0)
    assert mean_flows(still) == pytest.approx([0], abs=0.01)


def test_below_the_limit_the_definition_is_not_opencv_s():
    """Why there is a limit: a frame of 9 pixels, of which OpenCV weakens the middle one and not the border."""
    clip = drifting_texture(0, 2, MIN_SIDE - 1, MIN_SIDE - 1)
    assert mean_flows(clip) != pytest.approx(opencv_flows(clip), rel=0.01)
