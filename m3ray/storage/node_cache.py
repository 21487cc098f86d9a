"""The folder of a node for what is fetched once: weights and bundles."""

from __future__ import annotations

import os
from pathlib import Path


def node_cache(kind: str) -> Path:
    """Name the folder for one kind of fetched files, below $M3RAY_CACHE or ~/.cache/m3ray.

    Args:
        kind: name of the folder, such as `weights`.
    Returns:
        Its path, whether or not it is there.
    """
    default = Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")).expanduser() / "m3ray"
    return Path(os.environ.get("M3RAY_CACHE", default)) / kind
