"""One iteration of a displacement, against PyTorch's way and against a motion that is known."""

import numpy as np
import pytest
import torch
from drifting import drifting_texture

from m3ray.tiers.farneback import batched
from m3ray.tiers.farneback.definition import border_weights
from m3ray.tiers.farneback.improve import improve
from m3ray.tiers.farneback.matrices import outside_factors, share_of
from m3ray.tiers.farneback.rows import scratch_rows


def expand_in_pytorch(frame):
    """The polynomials of a frame as the compiled code orders them, y, x, yy, xx, xy: (5, H, W)."""
    yy, y, minus_xy, minus_x, xx = batched._expand(torch.from_numpy(frame).float()[None], 0)[0].numpy()
    return np.stack([y, -minus_x, yy, xx, -minus_xy])


def improve_in_pytorch(first, second, flow):
    """One iteration of planes and flow as tensors, (1, 5, H, W) and (1, 2, H, W)."""
    first, second = (torch.stack([p[:, 2], p[:, 0], -p[:, 4], -p[:, 1], p[:, 3]], dim=1) for p in (first, second))
    first = first * share_of(0, *flow.shape[-2:])
    level = batched.place_level(flow.shape[-2:], flow.device)
    return batched.improve_flow(first, second, first * outside_factors(), flow, level)


def improve_once(first, second, flow):
    """The flow after one iteration, by the compiled code and by PyTorch's."""
    weights = tuple(np.asarray(border_weights(length), np.float32) for length in flow.shape[1:])
    rows, pixels = first.transpose(1, 0, 2).copy(), second.transpose(1, 2, 0).copy()
    improved = flow.copy()
    improve(rows, pixels, improved, weights, *scratch_rows())
    tensors = (torch.from_numpy(array)[None] for array in (first, second, flow))
    return improved, improve_in_pytorch(*tensors)[0].numpy()


@pytest.mark.parametrize("shape", [(10, 10), (15, 40), (34, 21)])
def test_an_iteration_is_that_of_pytorch_s_way(shape):
    first, second = (expand_in_pytorch(frame) for frame in drifting_texture(4, 2, *shape))
    start = np.random.default_rng(0).uniform(-2, 2, (2, *shape)).astype(np.float32)
    found, expected = improve_once(first, second, start)
    np.testing.assert_allclose(found, expected, rtol=1e-2, atol=1e-2)


def test_a_known_motion_is_found_from_nothing():
    first, second = (expand_in_pytorch(frame) for frame in drifting_texture(5, 2, 64, 64))
    flow = np.zeros((2, 64, 64), np.float32)
    for _ in range(3):
        flow = improve_once(first, second, flow)[0]
    np.testing.assert_allclose(flow[:, 20:-20, 20:-20].mean(axis=(1, 2)), [2, 1], atol=0.1)


def test_a_frame_without_structure_stays_where_it_is():
    flat = np.zeros((5, 12, 12), np.float32)
    found, _ = improve_once(flat, flat, np.zeros((2, 12, 12), np.float32))
    assert (found == 0).all()
