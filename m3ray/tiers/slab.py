"""Windows of a batch on their way to a device as one slab, from which every tier takes its frames."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from m3ray.tiers.base import Window
from m3ray.tiers.transfers import Upload, transfers_of
from m3ray.video.frame_cache import shrink_frames

# Frames on the host, or on their way to the device.
Frames = np.ndarray | Upload


def upload_windows(windows: Sequence[Window], device: torch.device) -> list[Window]:
    """Begin to copy the frames of windows to the device, once for all tiers that compute them there.

    They are copied once on the host, from wherever they lie into one pinned buffer. Windows of one shape lie side by
    side on the device, so that a batch of them is a view of the slab.

    Args:
        windows: windows of one or of several clips.
        device: device that computes them; nothing is copied for a CPU.
    Returns:
        The windows in the same order, `uploaded` set on all devices but a CPU.
    """
    if device.type == "cpu" or not windows:
        return list(windows)
    order = sorted(range(len(windows)), key=lambda k: (windows[k].lead is not None, windows[k].frames.shape))
    uploads = transfers_of(device).upload_slab([_lead_and_frames(windows[k]) for k in order])
    uploaded = dict(zip(order, uploads, strict=True))
    return [replace(window, uploaded=uploaded[k]) for k, window in enumerate(windows)]


def _lead_and_frames(window: Window) -> list[np.ndarray]:
    return [window.frames] if window.lead is None else [window.lead[None], window.frames]


def take_frames(window: Window, start: int = 0, stop: int | None = None) -> Frames:
    """Consecutive frames of a window, from the slab if they are there.

    Args:
        window: the window.
        start: first frame.
        stop: end of the frames; None takes all to the window's end.
    Returns:
        uint8, (T, H, W, 3), a view.
    """
    if window.uploaded is None:
        return window.frames[start:stop]
    own = window.uploaded.tensor if window.lead is None else window.uploaded.tensor[1:]
    return replace(window.uploaded, tensor=own[start:stop])


def take_shrunk_frames(window: Window, size: int | None, stop: int | None = None) -> Frames:
    """The first frames of a window, at the size that a network sees.

    Args:
        window: the window.
        size: height and width, pixels; None: the window's own.
        stop: end of the frames; None takes all to the window's end.
    Returns:
        uint8, (T, size, size, 3): a view where the window has that size; else shrunk on the host, as those on the
        device are of the decoder's.
    """
    if size is None or window.frames.shape[1] == size:
        return take_frames(window, 0, stop)
    return shrink_frames(window.frames[:stop], size)


def first_of(frames: Frames) -> Frames:
    """The first of some frames, where they are.

    Args:
        frames: uint8, (T, H, W, 3).
    Returns:
        uint8, (H, W, 3), a view.
    """
    return frames[0] if isinstance(frames, np.ndarray) else replace(frames, tensor=frames.tensor[0])


def shape_of(frames: Frames) -> tuple[int, ...]:
    """The shape of frames, wherever they are.

    Args:
        frames: frames on the host or on their way to the device.
    """
    return tuple(frames.shape if isinstance(frames, np.ndarray) else frames.tensor.shape)


def repeat_last_frame(frames: Frames, minimum: int) -> Frames:
    """Frames with the last one repeated until there are enough.

    Args:
        frames: uint8, (T, H, W, 3), T >= 1.
        minimum: smallest number of frames to return.
    Returns:
        (max(T, minimum), H, W, 3), where the frames are.
    """
    missing = minimum - shape_of(frames)[0]
    if missing <= 0:
        return frames
    if isinstance(frames, np.ndarray):
        return np.concatenate([frames, np.repeat(frames[-1:], missing, axis=0)])
    there = frames.wait()
    return Upload(torch.cat([there, there[-1:].expand(missing, *there.shape[1:])]))


@dataclass(frozen=True)
class UploadedBatch:
    """Inputs of a network that are on their way to its device.

    Args:
        parts: an upload for each input, of one shape.
    """

    parts: Sequence[Upload]

    def wait(self) -> Tensor:
        """Let what is asked of the current stream from now on come after the copies of these inputs alone.

        Returns:
            The inputs, (B, ...): a view of the slab where they lie in it at equal distances, else a copy on the device.
        """
        return join_tensors([part.wait() for part in self.parts])


def join_tensors(tensors: Sequence[Tensor]) -> Tensor:
    """Stack tensors of one shape, without a copy where they are views of one memory at equal distances.

    Args:
        tensors: tensors of one shape and type, at least one.
    Returns:
        (B, ...); it may share the memory of `tensors`.
    """
    first = tensors[0]
    offsets = [tensor.storage_offset() for tensor in tensors]
    step = offsets[1] - offsets[0] if len(offsets) > 1 else 0
    evenly = offsets == [offsets[0] + k * step for k in range(len(offsets))]
    same = all(t.untyped_storage()._cdata == first.untyped_storage()._cdata for t in tensors)
    if step >= 0 and evenly and same and len({tensor.stride() for tensor in tensors}) == 1:
        return first.as_strided((len(tensors), *first.shape), (step, *first.stride()), offsets[0])
    return torch.stack(list(tensors))
