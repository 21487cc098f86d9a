"""Objects below a folder of S3, where folders are a way of reading keys, and a key may be nearly anything."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from pyarrow import fs as pafs

ListFolder = Callable[[str], list[pafs.FileInfo]]
# No client can ask for a key with such a part: it is taken for a step of a path, or rejected.
_NO_NAMES = ("", ".", "..")
UNREADABLE_KEY = (
    "unreadable_key",
    "an empty part (//), . or .., or a slash at the end of its key: no client can ask for it; copy the object to a key "
    "without",
)


def list_remote_files(
    base: str, list_folder: ListFolder, list_below: ListFolder
) -> Iterator[tuple[str, tuple[str, str] | None]]:
    """List every object below a folder, and which of them must be rejected.

    A folder at a time, so that memory holds the largest one and not all; where keys have parts that are no names, all
    below that folder at once, since a client cannot list such a part by itself.

    Args:
        base: bucket and prefix of the folder.
        list_folder: from the path of a folder to what is in it.
        list_below: from the path of a folder to what is in it and in all its sub-folders.
    Yields:
        The path of each object, and None or the reason and message of its reject.
    """
    folders = [base.rstrip("/")]
    while folders:
        folder = folders.pop()
        entries = list_folder(folder)
        if not entries and folder != base.rstrip("/"):
            yield f"{folder}/", UNREADABLE_KEY  # the object alone that a key with a slash at its end is
        below = [info.path for info in entries if info.type == pafs.FileType.Directory]
        named = [path for path in below if _first_part(path, folder) not in _NO_NAMES]
        folders += named
        yield from ((info.path, None) for info in entries if info.type == pafs.FileType.File)
        if len(named) < len(below):
            yield from ((path, UNREADABLE_KEY) for path in _unreadable_keys(list_below(folder), folder))


def _first_part(path: str, folder: str) -> str:
    return path[len(folder) + 1 :].partition("/")[0]


def _unreadable_keys(entries: list[pafs.FileInfo], folder: str) -> Iterator[str]:
    for info in entries:
        if info.type == pafs.FileType.File and _first_part(info.path, folder) in _NO_NAMES:
            yield info.path
