"""What lies below a folder of S3, where folders are a way of reading keys, and a key may be nearly anything."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from pyarrow import fs as pafs

Listed = Callable[[str], list[pafs.FileInfo]]
# A client asks for no key that has such a part: it takes them for steps of a path, or refuses.
_NO_NAMES = ("", ".", "..")
UNASKABLE = (
    "unreadable_key",
    "an empty part (//), . or .., or a slash at the end of its key: no client can ask for it; copy the object to a key "
    "without",
)


def remote_files(base: str, listed: Listed, listed_below: Listed) -> Iterator[tuple[str, tuple[str, str] | None]]:
    """Path of each object below `base`, and why it must not be read.

    A folder at a time, so that memory holds the largest one and not all; where keys have parts that are no names, all
    below that folder at once, since a client cannot list such a part by itself.

    Args:
        base: bucket and prefix.
        listed: what is in a folder.
        listed_below: what is in it and all its sub-folders.
    """
    folders = [base.rstrip("/")]
    while folders:
        folder = folders.pop()
        found = listed(folder)
        if not found and folder != base.rstrip("/"):
            yield f"{folder}/", UNASKABLE  # the object alone that a key with a slash at its end is
        below = [info.path for info in found if info.type == pafs.FileType.Directory]
        named = [path for path in below if _first_part(path, folder) not in _NO_NAMES]
        folders += named
        yield from ((info.path, None) for info in found if info.type == pafs.FileType.File)
        if len(named) < len(below):
            yield from ((path, UNASKABLE) for path in _unaskable(listed_below(folder), folder))


def _first_part(path: str, folder: str) -> str:
    return path[len(folder) + 1 :].partition("/")[0]


def _unaskable(found: list[pafs.FileInfo], folder: str) -> Iterator[str]:
    for info in found:
        if info.type == pafs.FileType.File and _first_part(info.path, folder) in _NO_NAMES:
            yield info.path
