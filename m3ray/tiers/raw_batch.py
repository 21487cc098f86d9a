"""A batch of windows as runs of frames, end to end: how a GPU computes the raw tier, whatever the windows' lengths.

A window's rows are the frame before it, if there is one, and its frames. Rows are computed alike; which of them count,
and in which window, is settled on the host, where the numbers of each frame are averaged in float64.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from m3ray.schema import HOG_COMPONENTS
from m3ray.tiers.base import WeightedValue, Window, WindowFeatures
from m3ray.tiers.farneback import Improve, improve_flow
from m3ray.tiers.flow import pair_magnitudes
from m3ray.tiers.hog import hog_of_planes
from m3ray.tiers.raw_frames import (
    LowWaves,
    frame_blurriness,
    frame_brightness,
    frame_contrast,
    frame_luma,
    place_waves,
    split_planes,
)

_FRAMES_AT_ONCE_ON_GPU = 64  # at least, whatever is free: they take 0.7 GB
_MOST_FRAMES_AT_ONCE = 1024  # by then a launch works long enough for the next one to be ready
# What a frame takes at the peak, which is flow's: 9.8 MiB are counted, the rest is for what a GPU rounds up.
BYTES_A_FRAME = 11 << 20
_SHARE = 0.5  # of the memory that is free: networks of the same actor, and other actors, want some too


@dataclass(frozen=True)
class Piece:
    """Consecutive rows of a window, computed together.

    Args:
        window: index of the window in its batch.
        start: first row.
        stop: end of the rows.
    """

    window: int
    start: int
    stop: int

    def __len__(self) -> int:
        return self.stop - self.start


@dataclass
class Steps:
    """The functions that do most of the work, so that each can be compiled apart.

    Pixel statistics stay out: their luma must round to the same 8 bits, which fused additions would change.

    Args:
        hog: what `hog_of_planes` does.
        flow: what `improve_flow` does.
    """

    hog: Callable[[Tensor], Tensor]
    flow: Improve


PLAIN_STEPS = Steps(hog_of_planes, improve_flow)


def read_free_bytes(device: torch.device) -> int:
    """Memory of a device that is free, or that PyTorch holds and would use again; 0 where nobody can say."""
    if device.type != "cuda":
        return 0
    held = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return torch.cuda.mem_get_info(device)[0] + held


def fit_frames(free: int) -> int:
    """How many frames are computed at once.

    Args:
        free: memory that is free, bytes.
    Returns:
        As many as take half of it, a multiple of 64, from 64 to 1,024.
    """
    fitting = int(free * _SHARE) // BYTES_A_FRAME // _FRAMES_AT_ONCE_ON_GPU * _FRAMES_AT_ONCE_ON_GPU
    return min(max(fitting, _FRAMES_AT_ONCE_ON_GPU), _MOST_FRAMES_AT_ONCE)


def plan_parts(rows: Sequence[int], most: int) -> list[list[Piece]]:
    """Lay windows end to end in parts; one that goes on in the next part starts there with the row before.

    Args:
        rows: rows of each window, 1 or more.
        most: rows that a part takes, 2 or more.
    Returns:
        The pieces of each part, in order.
    """
    parts: list[list[Piece]] = [[]]
    room = most
    for window, count in enumerate(rows):
        start = 0
        while True:
            if room < min(2, count - start):
                parts.append([])
                room = most
            piece = Piece(window, start, min(count, start + room))
            parts[-1].append(piece)
            room -= len(piece)
            if piece.stop == count:
                break
            start = piece.stop - 1
    return parts


def measure_pixels(planes: Tensor, waves: LowWaves) -> tuple[Tensor, Tensor]:
    """Measure brightness, contrast and blurriness of each frame, in this order.

    Args:
        planes: values in [0, 255], float32, (T, 3, H, W).
        waves: waves of blurriness' low-frequency square.
    Returns:
        The three of each frame, float32, (3, T); luma in 8 bits, as flow wants it, float32, (T, H, W).
    """
    gray = frame_luma(planes)
    numbers = [frame_brightness(planes), frame_contrast(gray), frame_blurriness(gray, waves)]
    return torch.stack(numbers), (gray * 255).round_().clamp_(0, 255)


def measure_part(
    frames: Tensor, lengths: Sequence[int], half_width: int, project: Callable[[Tensor], Tensor], steps: Steps
) -> Tensor:
    """Compute the numbers of a part's frames on their device, without waiting for them.

    Args:
        frames: uint8, (T, 256, 256, 3).
        lengths: rows of each piece, end to end in `frames`.
        half_width: half the side of blurriness' low-frequency square.
        project: HOG's projection on the device.
        steps: the functions that do most of the work.
    Returns:
        Brightness, contrast and blurriness of all frames, the ten of HOG frame by frame, and the flow of each pair of
        consecutive rows of a piece, float32, (13 T + T - pieces,).
    """
    planes = split_planes(frames)
    numbers, gray = measure_pixels(planes, place_waves(planes.shape[-2:], half_width, planes.device))
    hog = project(steps.hog(planes))
    del planes  # most of the memory is wanted by what follows
    return torch.cat([numbers.flatten(), hog.flatten(), pair_magnitudes(gray, lengths, steps.flow)])


def average_rows(
    windows: Sequence[Window], parts: Sequence[Sequence[Piece]], found: Sequence[np.ndarray]
) -> list[WindowFeatures]:
    """Average the numbers of each window's own frames and pairs.

    Args:
        windows: the windows.
        parts: how their rows were laid out.
        found: what `measure_part` gave for each part.
    Returns:
        The raw columns of each window.
    """
    frames: list[list[np.ndarray]] = [[] for _ in windows]
    pairs: list[list[np.ndarray]] = [[] for _ in windows]
    for pieces, numbers in zip(parts, found, strict=True):
        lengths = [len(piece) for piece in pieces]
        by_frame, by_pair = _split_numbers(numbers, lengths)
        for piece, own, flow in zip(pieces, by_frame, by_pair, strict=True):
            # The row before the piece's own frames is there for its flow alone.
            is_led = piece.start > 0 or windows[piece.window].lead is not None
            frames[piece.window].append(own[is_led:])
            pairs[piece.window].append(flow)
    return [
        _weigh(window, np.concatenate(own), np.concatenate(flow))
        for window, own, flow in zip(windows, frames, pairs, strict=True)
    ]


def _split_numbers(numbers: np.ndarray, lengths: Sequence[int]) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Of each piece the 13 numbers of each frame, (rows, 13), and the flow of each pair, (rows - 1,), float64."""
    count, ends = sum(lengths), np.cumsum(lengths)
    numbers = numbers.astype(np.float64)
    pixels = numbers[: 3 * count].reshape(3, count).T
    hog = numbers[3 * count : (3 + HOG_COMPONENTS) * count].reshape(count, HOG_COMPONENTS)
    flow = numbers[(3 + HOG_COMPONENTS) * count :]
    by_frame = np.split(np.hstack([pixels, hog]), ends[:-1])
    return by_frame, np.split(flow, (ends - np.arange(1, len(ends) + 1))[:-1])


def _weigh(window: Window, frames: np.ndarray, pairs: np.ndarray) -> WindowFeatures:
    """Mean over a window's frames, (T, 13), and over its pairs."""
    count, means = len(frames), frames.mean(axis=0)
    return {
        "brightness": WeightedValue(means[0], count),
        "contrast": WeightedValue(means[1], count),
        "blurriness": WeightedValue(means[2], count),
        "mean_optical_flow": WeightedValue(np.asarray(pairs.mean() if len(pairs) else 0.0), len(pairs)),
        "hog": WeightedValue(means[3:], count),
        "size_bytes": WeightedValue(np.array(window.video_bytes, np.float64), count),
    }
