"""Memory allocation in a process that computes clip after clip."""

from __future__ import annotations

import ctypes
import platform

# Parameters of glibc's mallopt(3), with the numbers that its header gives them.
_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4
_MAX_BYTES = 2**31 - 1


def keep_freed_memory() -> bool:
    """Let this process keep the memory that it frees, for the next clip of the same size.

    glibc gives every block above 32 MB back to the system, which hands it out again a zeroed page at a time: much of
    CSN-152's time on the CPU. Only for processes that compute clips, as memory used at the peak is not given back.

    Returns:
        Whether the C library took the setting; False where it is not glibc.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    libc = ctypes.CDLL(None)
    return bool(libc.mallopt(_M_MMAP_MAX, 0) and libc.mallopt(_M_TRIM_THRESHOLD, _MAX_BYTES))
