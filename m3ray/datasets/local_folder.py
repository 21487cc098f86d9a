"""What lies below a local folder: videos by name or by content, and all else counted."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from m3ray.datasets.listing import Found, Passed
from m3ray.errors import DecodeError
from m3ray.storage.filesystems import as_text, one_line
from m3ray.video.containers import HEAD, container_of

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
    """Whether a file is named like a video, and not hidden."""
    name = path.rsplit("/", 1)[-1]
    return not name.startswith(".") and name.rsplit(".", 1)[-1].lower() in ENDINGS


def named_local_videos(base: str) -> Iterator[str]:
    """The URI of every file below `base` that is named like a video, links followed."""
    seen: set[str] = set()
    for folder, below, names in os.walk(base, followlinks=True):
        # A link to a folder above would else lead round and round.
        seen.add(os.path.realpath(folder))
        below[:] = [name for name in below if os.path.realpath(os.path.join(folder, name)) not in seen]
        yield from (_named(os.path.join(folder, name))[1] for name in names if is_named_video(name))


def local_videos(base: str, passed: Passed) -> Iterator[Found]:
    """The videos below `base`, by their names or by their first bytes; what else is there goes to `passed`.

    Links to folders are not followed, and nothing outside `base` is opened.
    """
    home = os.path.realpath(base).rstrip("/") + "/"
    for folder, below, names in os.walk(base, onerror=lambda error: passed.errors.append(one_line(error))):
        linked = [name for name in below if os.path.islink(os.path.join(folder, name))]
        hidden = [name for name in below if name.startswith(".")]
        passed.others.update(["hidden folders"] * len(hidden))
        below[:] = sorted(set(below) - set(hidden))
        for name in [*names, *(name for name in linked if name not in hidden)]:
            yield from _local_file(base, home, os.path.join(folder, name), passed)


def _local_file(base: str, home: str, path: str, passed: Passed) -> Iterator[Found]:
    name = os.path.basename(path)
    if name.startswith("."):
        passed.others["hidden"] += 1
    elif is_named_video(name):
        yield _local_clip(base, home, path)
    elif os.path.isdir(path):
        passed.others["links to folders"] += 1
    elif name.rsplit(".", 1)[-1].lower() not in _OTHERS and _is_inside(path, home) and _is_video(path):
        yield _local_clip(base, home, path)
    else:
        passed.add(as_text(name))


def _is_inside(path: str, home: str) -> bool:
    """Whether a path, links followed, stays below `home`, a real path that ends in /."""
    return not os.path.islink(path) or os.path.realpath(path).startswith(home)


def _is_video(path: str) -> bool:
    """Whether the first bytes are a container's; nothing but a plain file is opened."""
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            return False
        with open(path, "rb") as file:
            return bool(container_of(file.read(HEAD)))
    except (OSError, DecodeError):
        return False


def _local_clip(base: str, home: str, path: str) -> Found:
    name, uri = _named(path)
    below = len(as_text(base.rstrip("/"))) + 1
    return Found(name[below:], uri, None if _is_inside(path, home) else _leaves(path))


def _named(path: str) -> tuple[str, str]:
    """A path as text and as URI: the path itself, but for names that are no UTF-8."""
    name = as_text(path)
    return name, path if name == path else Path(path).as_uri()


def _leaves(path: str) -> tuple[str, str]:
    where = f"a link to {as_text(os.path.realpath(path))}, outside the folder"
    return "link_outside", f"{where}: copy the file in, or list it in a table (--dataset table)"
