"""Versions of m3ray and of what it runs on, without importing any of it."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version

from m3ray import __version__


def find_version(package: str) -> str | None:
    """Read the version of an installed package from its metadata.

    Args:
        package: name of the package as pip knows it.
    Returns:
        The version; None if it is not installed.
    """
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def describe_versions() -> str:
    """Say which versions run here.

    Returns:
        One line.
    """
    others = ", ".join(f"{title} {find_version(title.lower()) or 'missing'}" for title in ("Torch", "Ray"))
    return f"m3ray {__version__} (Python {platform.python_version()}, {others})"
