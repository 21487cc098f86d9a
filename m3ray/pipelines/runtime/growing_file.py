"""A text file that grows: a killed job leaves it as it was last saved."""

from __future__ import annotations

import os
from collections.abc import Sequence

from m3ray.storage.filesystems import is_local
from m3ray.storage.root import Root

# S3 cannot append: each save uploads the whole file, so of a week's log only its ends are uploaded meanwhile.
_MOST_BYTES = 1 << 20
_GAP = b"... lines are left out here until the job has ended ...\n"


class GrowingFile:
    """Lines that are appended to a local file, or uploaded whole to S3 if there are new ones.

    Args:
        root: root that the file lies in.
        *path: path of the file in the root, part by part.
    """

    def __init__(self, root: Root, *path: str) -> None:
        self._root, self._path = root, path
        self._data = bytearray()
        self._saved = 0

    def add(self, lines: Sequence[str]) -> None:
        """Add lines, for the next save.

        Args:
            lines: lines without their ends.
        """
        self._data += b"".join(line.encode(errors="backslashreplace") + b"\n" for line in lines)

    def save(self, *, whole: bool = True) -> None:
        """Write what is new.

        Args:
            whole: whether a long file in S3 is written with its middle; else its ends alone, 1 MiB.
        Raises:
            OSError: If the storage failed; the next save writes these lines too.
        """
        size = len(self._data)
        if is_local(self._root.uri):
            self._append(self._root.path(*self._path), size)
        elif size > self._saved or (whole and size > _MOST_BYTES):
            self._root.write_bytes(bytes(self._data) if whole else keep_ends(bytes(self._data)), *self._path)
        self._saved = size

    def _append(self, path: str, size: int) -> None:
        with open(os.open(path, os.O_WRONLY | os.O_CREAT, 0o666), "wb") as file:
            # Bytes that a full disk cut short are written again; a file that somebody deleted is written anew.
            start = self._saved if file.seek(0, os.SEEK_END) >= self._saved else 0
            file.seek(start)
            file.write(self._data[start:size])
            file.truncate()


def keep_ends(data: bytes) -> bytes:
    """Keep a long text's first lines and its latest ones.

    Args:
        data: text of any length, UTF-8.
    Returns:
        The text itself up to 1 MiB; else whole lines of its ends, with a line in place of what lies between.
    """
    if len(data) <= _MOST_BYTES:
        return data
    first = data[: data.rfind(b"\n", 0, _MOST_BYTES // 4) + 1]
    last = data[-3 * _MOST_BYTES // 4 :]
    return first + _GAP + last[last.find(b"\n") + 1 :]
