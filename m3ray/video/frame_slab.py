"""Memory that the decoding child writes a window of frames to and its parent copies it from, past any pipe.

The parent makes it, of a size that nobody can change, and the child inherits it. The child is not trusted: the parent
never maps the memory, it copies as many bytes as it asked for, so that what the child writes later reaches nobody.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

READ = b"read\n"
"""What the parent sends when it has its copy, so that the next window may be written."""


def open_slab(size: int) -> int | None:
    """Make memory for a window of frames, of a size that stays.

    Args:
        size: bytes of a window.
    Returns:
        Its file descriptor, or None where the system has no such memory.
    """
    if sys.platform != "linux":
        return None
    import fcntl

    try:
        slab = os.memfd_create("m3ray-frames", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    except OSError:  # a sandbox that forbids it
        return None
    try:
        os.ftruncate(slab, size)
        fcntl.fcntl(slab, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL)
    except OSError:
        os.close(slab)
        return None
    return slab


def write_slab(slab: int, frames: np.ndarray) -> None:
    """Write a window of frames.

    Args:
        slab: file descriptor of the memory.
        frames: contiguous, uint8.
    Raises:
        OSError: If they are more than it holds.
    """
    view, at = frames.reshape(-1).data, 0
    while at < len(view):
        at += os.pwrite(slab, view[at:], at)


def read_slab(slab: int, shape: tuple[int, ...]) -> np.ndarray:
    """Copy a window of frames.

    Args:
        slab: file descriptor of the memory.
        shape: of the frames.
    Returns:
        uint8, of that shape.
    Raises:
        EOFError: If the memory holds fewer.
    """
    # Not earlier: the child leaves the network while it has one thread, and NumPy starts more.
    import numpy as np

    frames = np.empty(shape, np.uint8)
    view, at = frames.reshape(-1).data, 0
    while at < len(view):
        count = os.preadv(slab, [view[at:]], at)
        if not count:
            raise EOFError(f"{at} of {len(view)} bytes are there")
        at += count
    return frames
