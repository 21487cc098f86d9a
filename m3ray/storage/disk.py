"""Free space on a disk."""

from __future__ import annotations

import os
from pathlib import Path

# With less than this a disk counts as full: even the catalogue of a few clips takes more.
MIN_FREE_BYTES = 1 << 20


def nearest_existing(path: Path) -> Path:
    """Find the nearest folder above a path that exists.

    Args:
        path: path that need not exist.
    Returns:
        The path itself if it exists, else the nearest of its parents that does.
    """
    return next(folder for folder in (path, *path.parents) if os.path.lexists(folder))


def is_full(folder: Path) -> bool:
    """Tell whether the disk of a folder is full.

    Args:
        folder: existing folder.
    Returns:
        Whether less than 1 MiB is free for this user; False where the system does not tell.
    """
    if not hasattr(os, "statvfs"):
        return False
    status = os.statvfs(folder)
    blocks = status.f_bfree if os.geteuid() == 0 else status.f_bavail
    return bool(status.f_blocks) and blocks * status.f_frsize < MIN_FREE_BYTES
