"""How much may still be written to a disk."""

from __future__ import annotations

import os
from pathlib import Path

# Less than this is none: a catalogue of a few clips takes more.
FEWEST_BYTES = 1 << 20


def existing(path: Path) -> Path:
    """`path`, or the nearest folder above it that is there."""
    return next(place for place in (path, *path.parents) if os.path.lexists(place))


def is_full(folder: Path) -> bool:
    """Whether the disk of an existing folder has no room left; False where the system does not tell."""
    if not hasattr(os, "statvfs"):
        return False
    found = os.statvfs(folder)
    blocks = found.f_bfree if os.geteuid() == 0 else found.f_bavail
    return bool(found.f_blocks) and blocks * found.f_frsize < FEWEST_BYTES
