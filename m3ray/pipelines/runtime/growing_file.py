"""A text file that gets longer: a killed job leaves what it was at its last saving."""

from __future__ import annotations

import os
from collections.abc import Sequence

from m3ray.storage.filesystems import is_local
from m3ray.storage.root import Root

# S3 appends nothing: each saving is one upload of the whole, which a week's log must not make a burden.
_MOST_BYTES = 1 << 20
_LEFT_OUT = b"... lines are left out here until the job has ended ...\n"


class GrowingFile:
    """Lines that are appended locally, and in S3 uploaded whole, if there are new ones.

    Args:
        root: holds it.
        path: of the file in it.
    """

    def __init__(self, root: Root, *path: str) -> None:
        self._root, self._path = root, path
        self._data = bytearray()
        self._saved = 0

    def add(self, lines: Sequence[str]) -> None:
        """Adds lines, for the next saving."""
        self._data += b"".join(line.encode(errors="backslashreplace") + b"\n" for line in lines)

    def save(self, *, whole: bool = True) -> None:
        """Writes what is new.

        Args:
            whole: in S3, a long file with its middle; else its ends alone, 1 MiB.
        Raises:
            OSError: the storage failed; the next saving writes this too.
        """
        size = len(self._data)
        if is_local(self._root.uri):
            self._append(self._root.path(*self._path), size)
        elif size > self._saved or (whole and size > _MOST_BYTES):
            self._root.write_bytes(bytes(self._data) if whole else ends(bytes(self._data)), *self._path)
        self._saved = size

    def _append(self, path: str, size: int) -> None:
        with open(os.open(path, os.O_WRONLY | os.O_CREAT, 0o666), "wb") as file:
            # A write that a full disk cut short is made again; a file that somebody deleted is written anew.
            start = self._saved if file.seek(0, os.SEEK_END) >= self._saved else 0
            file.seek(start)
            file.write(self._data[start:size])
            file.truncate()


def ends(data: bytes) -> bytes:
    """A long text's first lines and its latest ones."""
    if len(data) <= _MOST_BYTES:
        return data
    first = data[: data.rfind(b"\n", 0, _MOST_BYTES // 4) + 1]
    last = data[-3 * _MOST_BYTES // 4 :]
    return first + _LEFT_OUT + last[last.find(b"\n") + 1 :]
