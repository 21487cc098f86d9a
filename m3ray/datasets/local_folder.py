"""Videos below a local folder, found by their names or by their first bytes; other files are counted."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from m3ray.datasets.listing import FolderClip, SkippedFiles
from m3ray.errors import DecodeError
from m3ray.storage.filesystems import one_line, printable_path
from m3ray.video.containers import HEAD, detect_container

ENDINGS = frozenset(
    "3g2 3gp asf avi divx f4v flv gif m1v m2p m2ts m2v m4v mkv mod "  # noqa: SIM905
    "mov mp4 mpe mpeg mpg mts mxf ogg ogm ogv qt tod ts vob webm wmv".split()
)
# Never opened to look: sound and pictures that share a video's container, and what lies beside videos by the million.
_OTHERS = frozenset(
    "aac ass avif bmp csv doc docx gz heic heif htm html jpeg jpg json jsonl log m4a m4b md mka mp3 npy npz "  # noqa: SIM905
    "oga opus parquet pdf pkl png py srt svg tar tif tiff tsv txt vtt wav webp wma xls xlsx xml yaml yml zip".split()
)


def is_named_video(path: str) -> bool:
    """Tell whether a file is named like a video, and not hidden.

    Args:
        path: path or key of the file, parts separated by /.
    Returns:
        Whether its ending is one of `ENDINGS`, in either case.
    """
    name = path.rsplit("/", 1)[-1]
    return not name.startswith(".") and name.rsplit(".", 1)[-1].lower() in ENDINGS


def find_named_local_videos(base: str) -> Iterator[str]:
    """Find every file below a folder that is named like a video, links followed.

    Args:
        base: path of the folder.
    Yields:
        The URI of each file.
    """
    seen: set[str] = set()
    for folder, below, names in os.walk(base, followlinks=True):
        # A link to a folder above would else lead round and round.
        seen.add(os.path.realpath(folder))
        below[:] = [name for name in below if os.path.realpath(os.path.join(folder, name)) not in seen]
        yield from (_name_and_uri(os.path.join(folder, name))[1] for name in names if is_named_video(name))


def find_local_videos(base: str, skipped: SkippedFiles) -> Iterator[FolderClip]:
    """Find the videos below a folder, by their names or by their first bytes.

    Links to folders are not followed, and nothing outside the folder is opened.

    Args:
        base: path of the folder.
        skipped: gets the counts of what is no video.
    Yields:
        Each video; one behind a link out of the folder with the reason to reject it.
    """
    home = os.path.realpath(base).rstrip("/") + "/"
    for folder, below, names in os.walk(base, onerror=lambda error: skipped.errors.append(one_line(error))):
        linked = [name for name in below if os.path.islink(os.path.join(folder, name))]
        hidden = [name for name in below if name.startswith(".")]
        skipped.others.update(["hidden folders"] * len(hidden))
        below[:] = sorted(set(below) - set(hidden))
        for name in [*names, *(name for name in linked if name not in hidden)]:
            yield from _find_in_file(base, home, os.path.join(folder, name), skipped)


def _find_in_file(base: str, home: str, path: str, skipped: SkippedFiles) -> Iterator[FolderClip]:
    name = os.path.basename(path)
    if name.startswith("."):
        skipped.others["hidden"] += 1
    elif is_named_video(name):
        yield _folder_clip(base, home, path)
    elif os.path.isdir(path):
        skipped.others["links to folders"] += 1
    elif name.rsplit(".", 1)[-1].lower() not in _OTHERS and _is_inside(path, home) and _is_video(path):
        yield _folder_clip(base, home, path)
    else:
        skipped.add(printable_path(name))


def _is_inside(path: str, home: str) -> bool:
    """Whether a path, links followed, stays below `home`, a real path that ends in /."""
    return not os.path.islink(path) or os.path.realpath(path).startswith(home)


def _is_video(path: str) -> bool:
    """Whether the first bytes are a container's; nothing but a plain file is opened."""
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            return False
        with open(path, "rb") as file:
            return bool(detect_container(file.read(HEAD)))
    except (OSError, DecodeError):
        return False


def _folder_clip(base: str, home: str, path: str) -> FolderClip:
    name, uri = _name_and_uri(path)
    below = len(printable_path(base.rstrip("/"))) + 1
    return FolderClip(name[below:], uri, None if _is_inside(path, home) else _outside_link(path))


def _name_and_uri(path: str) -> tuple[str, str]:
    """A path as text and as URI: the path itself, but for names that are no UTF-8."""
    name = printable_path(path)
    return name, path if name == path else Path(path).as_uri()


def _outside_link(path: str) -> tuple[str, str]:
    """Reason and message of the reject of a link that leads out of the folder."""
    where = f"a link to {printable_path(os.path.realpath(path))}, outside the folder"
    return "link_outside", f"{where}: copy the file in, or list it in a table (--dataset table)"
