"""Flow in PyTorch against OpenCV's own."""

import cv2
import numpy as np
import pytest
import torch
from counting import META, count_operations
from drifting import drifting_texture, opencv_flows
from recipes import golden, moving_texture

from m3ray.tiers import flow
from m3ray.tiers.farneback import flows
from m3ray.tiers.farneback.definition import MIN_SIDE
from m3ray.tiers.flow import batch_flow


@pytest.mark.parametrize("side", [MIN_SIDE, MIN_SIDE + 1, 16, 31, 33])
def test_flow_in_pytorch_is_opencv_s_for_small_frames(side):
    """The way that a GPU takes."""
    clip = drifting_texture(5, 2, side, side + 3)
    found = flow.batch_flow(torch.from_numpy(clip).float()).item()
    assert [found] == pytest.approx(opencv_flows(clip), rel=1e-3)


@pytest.mark.parametrize("position", range(4))
def test_flow_in_pytorch_is_opencv_s(position):
    """The way that a GPU takes, on the CPU: golden/flow.npz within 1 %, and OpenCV's own flow pixel by pixel."""
    figures = golden("flow")
    motion = ("shift", "rotate", "zoom", "still")[position]
    texture = moving_texture(int(figures["first_seed"]) + position, motion)
    frames_ = torch.from_numpy(texture).float()
    assert batch_flow(frames_).item() == pytest.approx(figures[motion].mean(), rel=0.01, abs=1e-3)
    expected = cv2.calcOpticalFlowFarneback(texture[0], texture[1], None, 0.5, 3, 15, 3, 5, 1.2, 0)
    if motion != "still":  # without motion both divide rounding errors by next to nothing
        found = flows(frames_[:2])[0].permute(1, 2, 0).numpy()
        assert np.abs(found - expected).max() < 1e-4


def test_the_flow_of_a_texture_that_moves_is_its_motion():
    """Two pixels to the right and one down, away from the borders."""
    frames = torch.from_numpy(drifting_texture(3, 3, 96, 96)).float()
    displacement = flows(frames)
    assert displacement.shape == (2, 2, 96, 96)
    inner = displacement[..., 24:-24, 24:-24].mean(dim=(2, 3))
    torch.testing.assert_close(inner, torch.tensor([[2.0, 1.0]] * 2), rtol=0.05, atol=0.05)


def test_clips_end_to_end_have_the_flow_that_each_has_alone():
    """Of 4, 1 and 3 frames, 3 + 0 + 2 pairs: none of two clips, whose frames have nothing alike."""
    clips = [torch.from_numpy(drifting_texture(seed, n, 48, 64)).float() for seed, n in ((1, 4), (7, 1), (9, 3))]
    together = flows(torch.cat(clips), [len(clip) for clip in clips])
    apart = torch.cat([flows(clips[0]), flows(clips[2])])
    torch.testing.assert_close(together, apart, rtol=0, atol=1e-6)


def test_eight_clips_take_the_launches_of_one():
    """327, cat's two a level among them; before, 1,011 for each clip."""
    counts = {
        clips: count_operations(flows, torch.empty(clips * 45, 256, 256, device=META), [45] * clips) for clips in (2, 8)
    }
    assert counts[2].launches == counts[8].launches <= 327
    assert counts[8].uploads == counts[8].downloads == 0
