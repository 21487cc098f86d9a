"""Trying out whether processes here may leave the network, as the decoding child does, and what forbids it."""

from __future__ import annotations

import errno
import subprocess
import sys
from pathlib import Path

_TIMEOUT_SECONDS = 10.0
# In a process of its own, as there is no way back; CLONE_NEWUSER and CLONE_NEWNET of linux/sched.h, as the child's.
_SCRIPT = """
import ctypes, sys
libc = ctypes.CDLL(None, use_errno=True)
sys.exit(ctypes.get_errno() if libc.unshare(0x10000000 | 0x40000000) else 0)
"""
_PROC = Path("/proc")
# Kernel setting to the value that forbids it, and what to do.
_SETTINGS = (
    ("sys/user/max_user_namespaces", "0", "set sysctl user.max_user_namespaces to 10000"),
    ("sys/kernel/unprivileged_userns_clone", "0", "set sysctl kernel.unprivileged_userns_clone to 1"),
    ("sys/kernel/apparmor_restrict_unprivileged_userns", "1",
     "set sysctl kernel.apparmor_restrict_unprivileged_userns to 0"),
)  # fmt: skip


def find_isolation_obstacle() -> str:
    """Try `unshare` in a child process, and find out what forbids it.

    Returns:
        Why it fails here and what to do; empty where it works.
    """
    if sys.platform != "linux":
        return f"{sys.platform} has no network namespaces"
    error = _try_unshare()
    return f"{error}: {advise_isolation(_PROC)}" if error else ""


def _try_unshare() -> str:
    """The name of the error that `unshare` ends with; empty where it has none."""
    command = [sys.executable, "-I", "-S", "-c", _SCRIPT]
    process = subprocess.run(command, capture_output=True, timeout=_TIMEOUT_SECONDS, check=False)
    return errno.errorcode.get(process.returncode, f"error {process.returncode}") if process.returncode else ""


def advise_isolation(proc: Path) -> str:
    """Say what would let `unshare` pass: a kernel setting, or else the container's filter.

    Args:
        proc: folder to read the settings from, /proc but in tests.
    Returns:
        A clause for a message.
    """
    for name, forbids, advice in _SETTINGS:
        if _read(proc / name) == forbids:
            return advice
    if "Seccomp:\t2" in _read(proc / "self" / "status"):
        return "the container's seccomp filter forbids it; run it with one that lets unshare pass"
    return "the kernel or a security module forbids it"


def _read(file: Path) -> str:
    try:
        return file.read_text().strip()
    except OSError:
        return ""
