"""Memory that a process keeps."""

import platform
import subprocess
import sys

import pytest

from m3ray.tiers import malloc


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="glibc's own setting")
def test_freed_memory_is_kept_for_the_next_clip():
    """In a process of its own: a block of 256 MB that was freed is still the process's."""
    script = (
        "import psutil, numpy as np; from m3ray.tiers.malloc import keep_freed_memory\n"
        "taken = keep_freed_memory()\n"
        "block = np.ones(32 * 1024**2); del block\n"
        "print(taken, psutil.Process().memory_info().rss > 256 * 1024**2)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True", "True"]


def test_other_c_libraries_are_left_alone(monkeypatch):
    monkeypatch.setattr(malloc.platform, "libc_ver", lambda: ("musl", "1.2"))
    monkeypatch.setattr(malloc.ctypes, "CDLL", None)
    assert malloc.keep_freed_memory() is False
