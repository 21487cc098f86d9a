"""Checks of the machine: Python, processors, memory, disks, limits and GPUs."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

from m3ray.commands.findings import Finding, describe_error

_OLDEST = (3, 11)
_GB = 1e9
_LITTLE_DISK = 5 * _GB
_LITTLE_MEMORY = 4 * _GB
_LITTLE_SHARED = 1 * _GB
_FEW_FILES, _MANY_FILES = 4096, 65536
_CPU_ONLY = "pip install --force-reinstall torch torchvision --index-url https://pypi.org/simple"


def check_python() -> Iterator[Finding]:
    """Check Python's version, and name the platform."""
    sound = sys.version_info >= _OLDEST
    text = f"{platform.python_version()} on {platform.system()} {platform.machine()}, {sys.executable}"
    yield Finding("Python", "ok" if sound else "missing", text, "" if sound else "install Python 3.11 or newer", True)


def check_processors() -> Iterator[Finding]:
    """Check processors and memory."""
    psutil = import_module("psutil")
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    yield Finding("processors", "ok", f"{usable} of {os.cpu_count()} usable")
    memory = psutil.virtual_memory()
    little = memory.available < _LITTLE_MEMORY
    text = f"{memory.available / _GB:.1f} of {memory.total / _GB:.1f} GB free"
    yield Finding("memory", "warning" if little else "ok", text, "end other programs" if little else "")


def check_disks() -> Iterator[Finding]:
    """Check the free space of where roots, temporary files and weights lie, and of Ray's shared memory."""
    places = {"working folder": Path.cwd(), "temporary files": Path(tempfile.gettempdir()), "cache": find_cache()}
    for name, path in places.items():
        free = shutil.disk_usage(nearest_folder(path)).free
        little = free < _LITTLE_DISK
        mend = f"free some space, at least {_LITTLE_DISK / _GB:.0f} GB" if little else ""
        yield Finding(f"disk: {name}", "warning" if little else "ok", f"{path}: {free / _GB:.1f} GB free", mend)
    shared = Path("/dev/shm")
    if shared.is_dir():
        free = shutil.disk_usage(shared).free
        little = free < _LITTLE_SHARED
        mend = "in a container: docker run --shm-size=4g" if little else ""
        text = f"{shared}: {free / _GB:.1f} GB free, for Ray's object store"
        yield Finding("shared memory", "warning" if little else "ok", text, mend)


def check_temporary_files() -> Iterator[Finding]:
    """Check that a temporary file can be written: decoding, Ray and every shard need some."""
    try:
        with tempfile.TemporaryFile() as file:
            file.write(b"m3ray")
            file.flush()
    except OSError as error:
        mend = "free some space, or set TMPDIR to a folder that can be written"
        yield Finding("temporary files", "missing", describe_error(error), mend, True)
        return
    yield Finding("temporary files", "ok", f"{tempfile.gettempdir()} can be written", essential=True)


def check_limits() -> Iterator[Finding]:
    """Check how many files a process may open: Ray holds many."""
    resource = import_module("resource")  # there is none on Windows
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    few = soft != resource.RLIM_INFINITY and soft < _FEW_FILES
    text = f"{soft} open files (ulimit -n), at most {hard}"
    most = _MANY_FILES if hard == resource.RLIM_INFINITY else min(hard, _MANY_FILES)
    mend = f"ulimit -n {most}" if most > soft else f"in a container: docker run --ulimit nofile={_MANY_FILES}"
    yield Finding("limits", "warning" if few else "ok", text, mend if few else "")


def check_gpus() -> Iterator[Finding]:
    """Check which GPUs PyTorch can compute on, beside those that the driver shows."""
    torch = import_module("torch")
    driver = ask_driver()
    if torch.cuda.is_available():
        for index in range(torch.cuda.device_count()):
            facts = torch.cuda.get_device_properties(index)
            text = f"{facts.name}, {facts.total_memory / _GB:.1f} GB, CUDA {torch.version.cuda}"
            yield Finding(f"GPU {index}", "ok", text if driver is None else f"{text}, driver {driver[index][1]}")
        return
    if driver is None:
        yield Finding("GPU", "ok", "none: networks are computed on processors")
        return
    names = ", ".join(name for name, _ in driver)
    if torch.version.cuda is None:
        yield Finding("GPU", "warning", f"{names} is there, but this PyTorch is built for processors alone", _CPU_ONLY)
        return
    text = f"{names} is there (driver {driver[0][1]}), but PyTorch for CUDA {torch.version.cuda} does not see it"
    yield Finding("GPU", "warning", text, "update the driver, or unset CUDA_VISIBLE_DEVICES")


def ask_driver() -> list[tuple[str, str]] | None:
    """Ask NVIDIA's driver for its GPUs.

    Returns:
        Name and driver's version of each; None where there is no driver or it does not answer.
    """
    program = shutil.which("nvidia-smi")
    if program is None:
        return None
    command = [program, "--query-gpu=name,driver_version", "--format=csv,noheader"]
    try:
        found: Any = subprocess.run(command, capture_output=True, text=True, timeout=5, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    rows = [line.rpartition(", ") for line in found.stdout.splitlines() if line.strip()]
    return [(name, version) for name, _, version in rows] or None


def find_cache() -> Path:
    """Find the folder that weights are downloaded into; it may not be there yet."""
    default = Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")).expanduser() / "m3ray"
    return Path(os.environ.get("M3RAY_CACHE") or default)


def nearest_folder(path: Path) -> Path:
    """Find the first folder on the way up that exists.

    Args:
        path: any path.
    Returns:
        Itself, or one above it.
    """
    return next(folder for folder in (path, *path.resolve().parents) if folder.exists())
