"""The CSV that a command writes: checked before anything is scored, so that no video is written over."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TextIO

from m3ray.errors import ConfigError

_FIRST, _LAST = (b"clip_id,", b"rank,"), b",reason"  # columns of what `m3ray score` and `m3ray compare` write
_LONGEST = 4096  # bytes of a header


def check_csv(name: str) -> None:
    """Check that rows can be written to a file, and that nothing else is lost by it.

    Args:
        name: path of the file.
    Raises:
        ConfigError: If its folder is not there, it is a folder, it is there and holds something else than rows of an
            earlier call (a video, say), or it cannot be written.
    """
    path = Path(os.path.realpath(name))  # what a link leads to is what would be written
    if not path.parent.is_dir():
        raise ConfigError(f"--csv {name}: there is no folder {Path(name).parent}")
    if path.is_dir():
        raise ConfigError(f"--csv {name}: a folder is there: expected a file, such as {path / 'scores.csv'}")
    try:
        is_there = path.exists()
        if is_there and not path.is_file():
            return  # a device or a pipe, which may have no reader yet
        if is_there and not _is_free(path):
            raise ConfigError(f"--csv {name}: is there, and no CSV of m3ray's: move it, or give another file")
        with open(path, "ab"):  # writes nothing, and fails as writing would
            pass
        if not is_there:
            path.unlink()
    except OSError as error:
        why = error.strerror or str(error)
        raise ConfigError(f"--csv {name}: cannot be written ({why}): give a file in a folder of yours") from error


def open_csv(name: str) -> TextIO:
    """Open the file for rows; those of an earlier call go.

    Args:
        name: path of the file, which `check_csv` has checked.
    Returns:
        The file, for text.
    """
    return open(name, "w", encoding="utf-8", errors="backslashreplace", newline="")


def _is_free(path: Path) -> bool:
    """Whether a file is empty, or begins as rows of an earlier call do."""
    with open(path, "rb") as file:
        header = file.readline(_LONGEST).rstrip(b"\r\n")
    return os.path.getsize(path) == 0 or (header.startswith(_FIRST) and header.endswith(_LAST))
