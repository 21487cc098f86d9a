"""Mean flow against OpenCV's own: of whole textures in golden/flow.npz, of other frames computed here."""

import numpy as np
import pytest
import torch
from counting import META, count_operations
from drifting import drifting_texture, opencv_flows
from hypothesis import given, settings
from hypothesis import strategies as st
from recipes import golden, moving_texture

from m3ray.tiers import flow
from m3ray.tiers.farneback.compiled import MAX_WIDTH
from m3ray.tiers.farneback.definition import MIN_SIDE
from m3ray.tiers.flow import mean_optical_flow


@settings(max_examples=20)
@given(st.integers(0, 99), st.integers(1, MIN_SIDE - 1), st.integers(1, 150), st.booleans())
def test_smaller_frames_are_opencv_s_own(seed, short, long, upright):
    clip = drifting_texture(seed, 3, *((long, short) if upright else (short, long)))
    assert flow.pair_flows(clip) == opencv_flows(clip)
    assert mean_optical_flow(torch.from_numpy(clip)[None] / 255).item() == pytest.approx(np.mean(opencv_flows(clip)))


@pytest.mark.parametrize("shape", [(3, 6), (6, 6), (10, 10), (64, 80)])
def test_frames_without_texture_do_not_move(shape):
    clip = np.stack([np.full(shape, level, np.uint8) for level in (0, 90, 255)])
    assert flow.pair_flows(clip) == [0.0, 0.0]
    assert mean_optical_flow(torch.from_numpy(clip)[None] / 255).item() == 0.0


@pytest.mark.parametrize("shape", [(1, 40), (40, 1), (1, 1), (34, MAX_WIDTH + 1)])
def test_what_the_compiled_code_does_not_take_goes_to_opencv(shape):
    clip = drifting_texture(2, 2, *shape)
    assert flow.pair_flows(clip) == [flow.opencv_flow(*clip)]


def test_frames_that_have_nothing_alike_do_no_harm():
    """Displacements far outside the frame: nothing is read there, and no value is left undefined."""
    clip = np.random.default_rng(3).integers(0, 256, (5, 64, 80), dtype=np.uint8)
    clip[2] = 0
    assert flow.pair_flows(clip) == pytest.approx(opencv_flows(clip), rel=0.01)


def test_opencv_serves_where_numba_does_not_work(monkeypatch):
    def fail(name):
        raise RuntimeError("cannot cache function")

    monkeypatch.setattr(flow, "import_module", fail)
    flow._import_compiled.cache_clear()
    clip = drifting_texture(4, 2, 48, 48)
    try:
        with pytest.warns(UserWarning, match=r"cannot cache.*NUMBA_CACHE_DIR"):
            assert flow.pair_flows(clip) == [flow.opencv_flow(*clip)]
    finally:
        flow._import_compiled.cache_clear()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")
def test_smaller_frames_are_opencv_s_own_on_a_gpu():
    clip = drifting_texture(6, 3, 8, 20)
    found = mean_optical_flow(torch.from_numpy(clip)[None].cuda() / 255)
    assert found.is_cuda
    assert found.item() == pytest.approx(np.mean(opencv_flows(clip)))


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


def test_flow_in_pytorch_is_the_same_in_parts(monkeypatch):
    texture = torch.from_numpy(moving_texture(3, "shift", t=8, n=96)).float()
    whole = flow.batch_flow(texture)
    monkeypatch.setattr(flow, "_AT_ONCE", 3)
    torch.testing.assert_close(flow.batch_flow(texture), whole, rtol=1e-5, atol=1e-6)


def test_flow_of_a_single_frame_is_zero():
    assert mean_optical_flow(torch.rand(2, 1, 64, 64)).tolist() == [0, 0]


@pytest.mark.parametrize("frames", [16, 64])
def test_flow_on_a_device_uploads_nothing_in_a_batch(frames):
    """329 launches however many frames; before, 1,011."""
    counted = count_operations(mean_optical_flow, torch.empty(1, frames + 1, 256, 256, device=META))
    assert counted.uploads == counted.downloads == 0
    assert counted.launches <= 329


def test_clips_of_one_frame_have_no_pair_and_ask_for_nothing():
    counted = count_operations(flow.pair_magnitudes, torch.empty(3, 256, 256, device=META), [1, 1, 1])
    assert counted.launches <= 1
    assert flow.pair_magnitudes(torch.rand(3, 64, 64), [1, 1, 1]).shape == (0,)
