"""How a batch of windows is laid out in parts, and what a part asks of a device."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from counting import META, CountedMemory
from hypothesis import given
from hypothesis import strategies as st

from m3ray.tiers import Window
from m3ray.tiers.raw_batch import (
    BYTES_A_FRAME,
    PLAIN_STEPS,
    Piece,
    average_rows,
    fit_frames,
    measure_part,
    plan_parts,
    read_free_bytes,
)


@given(st.lists(st.integers(1, 40), min_size=1, max_size=8), st.integers(2, 50))
def test_every_row_and_every_pair_is_computed_once(rows, most):
    parts = plan_parts(rows, most)
    assert all(0 < sum(map(len, pieces)) <= most for pieces in parts)
    by_window = {window: [p for pieces in parts for p in pieces if p.window == window] for window in range(len(rows))}
    for window, pieces in by_window.items():
        assert (pieces[0].start, pieces[-1].stop) == (0, rows[window])
        # The row before leads the next piece: the pair of both is in that one, and in no other.
        assert all(later.start == earlier.stop - 1 for earlier, later in pairwise(pieces))


def test_windows_that_fit_are_one_part():
    assert plan_parts([45] * 8, 384) == [[Piece(k, 0, 45) for k in range(8)]]


SIZES = [(0, 64), (2 << 30, 64), (9 << 30, 384), (15 << 30, 640), (80 << 30, 1024)]


@pytest.mark.parametrize(("free", "frames"), SIZES)
def test_half_of_the_free_memory_says_how_many_frames(free, frames):
    assert fit_frames(free) == frames


def test_a_cpu_s_memory_is_not_asked_for():
    assert read_free_bytes(torch.device("cpu")) == 0


def measure(lengths):
    frames = torch.empty(sum(lengths), 256, 256, 3, dtype=torch.uint8, device=META)
    return measure_part(frames, lengths, 30, lambda hog: hog[:, :10] - 1, PLAIN_STEPS)


@pytest.mark.parametrize("lengths", [[64], [45] * 8, [1] * 64])
def test_a_frame_takes_no_more_memory_than_is_stated(lengths):
    with CountedMemory() as counted, torch.no_grad():
        measure(lengths)
    least = 0 if max(lengths) == 1 else 0.75
    assert least < counted.peak / (BYTES_A_FRAME * sum(lengths)) < 1


def test_a_part_has_thirteen_numbers_a_frame_and_one_a_pair():
    assert measure([45, 1, 3]).shape == (13 * 49 + 46,)


def test_rows_are_averaged_by_window_and_leads_are_left_out():
    """Rows numbered from 0 in the batch; a window of 3, one of 2 with a lead, which goes on in a second part."""
    pixels = np.zeros((2, 2, 2, 3), np.uint8)
    windows = [Window(pixels[[0, 0, 0]], video_bytes=5), Window(pixels, 1, pixels[0])]
    parts = [[Piece(0, 0, 3), Piece(1, 0, 2)], [Piece(1, 1, 3)]]
    found = []
    for rows, flow in (([0, 1, 2, 3, 4], [10, 20, 30]), ([4, 5], [40])):
        frame = np.array(rows, np.float32)
        found.append(np.concatenate([np.tile(frame, 3), np.repeat(frame, 10), np.array(flow, np.float32)]))
    first, second = average_rows(windows, parts, found)
    assert (first["brightness"].value, first["brightness"].weight) == (1, 3)
    assert (first["mean_optical_flow"].value, first["mean_optical_flow"].weight) == (15, 2)
    assert (second["blurriness"].value, second["blurriness"].weight) == (4.5, 2)
    assert (second["mean_optical_flow"].value, second["mean_optical_flow"].weight) == (35, 2)
    assert second["hog"].value.tolist() == [4.5] * 10
    assert first["size_bytes"].value == 5
