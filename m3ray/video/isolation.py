"""Whether a process of this machine may leave the network, as the decoding child does, and what keeps it from that."""

from __future__ import annotations

import errno
import subprocess
import sys
from pathlib import Path

_SECONDS = 10.0
# In a process of its own, as there is no way back; CLONE_NEWUSER and CLONE_NEWNET of linux/sched.h, as the child's.
_TRY = """
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


def why_not_isolated() -> str:
    """Why `unshare` is refused here and what to do, in words; empty where it is not."""
    if sys.platform != "linux":
        return f"{sys.platform} has no network namespaces"
    refused = _tried()
    return f"{refused}: {way_out(_PROC)}" if refused else ""


def _tried() -> str:
    """The name of the error that `unshare` ends with; empty where it has none."""
    ran = subprocess.run([sys.executable, "-I", "-S", "-c", _TRY], capture_output=True, timeout=_SECONDS, check=False)
    return errno.errorcode.get(ran.returncode, f"error {ran.returncode}") if ran.returncode else ""


def way_out(proc: Path) -> str:
    """What lets `unshare` pass: the kernel's setting that forbids it, else the container's filter.

    Args:
        proc: the folder that is /proc.
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
