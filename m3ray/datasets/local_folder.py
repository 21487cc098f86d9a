"""Clips below a local folder, found by their names or by their first bytes; other files are counted."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from m3ray.config.datasets import Media
from m3ray.datasets.listing import FolderClip, SkippedFiles
from m3ray.datasets.media import UNREAD_IMAGES, Kind, named_kind
from m3ray.errors import DecodeError
from m3ray.storage.filesystems import one_line, printable_path
from m3ray.video.containers import HEAD, detect_container
from m3ray.video.image_formats import detect_image

# Never opened to look: sound and pictures that share a video's container, and what lies beside videos by the million.
_OTHERS = UNREAD_IMAGES | frozenset(
    "aac ass csv doc docx gz htm html json jsonl log m4a m4b md mka mp3 npy npz "  # noqa: SIM905
    "oga opus parquet pdf pkl py srt tar tsv txt vtt wav wma xls xlsx xml yaml yml zip".split()
)


def find_named_local_videos(base: str, kind: Kind = "videos") -> Iterator[str]:
    """Find every file below a folder that is named like a video, or like an image, links followed.

    Args:
        base: path of the folder.
        kind: what to find.
    Yields:
        The URI of each file.
    """
    seen: set[str] = set()
    for folder, below, names in os.walk(base, followlinks=True):
        # A link to a folder above would else lead round and round.
        seen.add(os.path.realpath(folder))
        below[:] = [name for name in below if os.path.realpath(os.path.join(folder, name)) not in seen]
        yield from (_name_and_uri(os.path.join(folder, name))[1] for name in names if named_kind(name) == kind)


def find_local_clips(base: str, skipped: SkippedFiles, media: Media = "all") -> Iterator[FolderClip]:
    """Find the videos and images below a folder, by their names or by their first bytes.

    Links to folders are not followed, and nothing outside the folder is opened.

    Args:
        base: path of the folder.
        skipped: gets the counts of what is no clip.
        media: kinds to find; the others are counted as skipped.
    Yields:
        Each clip; one behind a link out of the folder with the reason to reject it.
    """
    home = os.path.realpath(base).rstrip("/") + "/"
    for folder, below, names in os.walk(base, onerror=lambda error: skipped.errors.append(one_line(error))):
        linked = [name for name in below if os.path.islink(os.path.join(folder, name))]
        hidden = [name for name in below if name.startswith(".")]
        skipped.others.update(["hidden folders"] * len(hidden))
        below[:] = sorted(set(below) - set(hidden))
        for name in [*names, *(name for name in linked if name not in hidden)]:
            path = os.path.join(folder, name)
            kind = _find_kind(path, home)
            if kind is None:
                _skip(path, skipped)
            elif media in ("all", kind):
                yield _folder_clip(base, home, path, kind)
            else:
                skipped.leave_out(kind, media)


def _find_kind(path: str, home: str) -> Kind | None:
    """What a file is by its name, else by its first bytes; None where it is no clip."""
    name = os.path.basename(path)
    kind = named_kind(name)
    if kind is not None or name.startswith(".") or name.rsplit(".", 1)[-1].lower() in _OTHERS or os.path.isdir(path):
        return kind
    return _look_into(path) if _is_inside(path, home) else None


def _skip(path: str, skipped: SkippedFiles) -> None:
    name = os.path.basename(path)
    if name.startswith("."):
        skipped.others["hidden"] += 1
    elif os.path.isdir(path):
        skipped.others["links to folders"] += 1
    else:
        skipped.add(printable_path(name))


def _is_inside(path: str, home: str) -> bool:
    """Whether a path, links followed, stays below `home`, a real path that ends in /."""
    return not os.path.islink(path) or os.path.realpath(path).startswith(home)


def _look_into(path: str) -> Kind | None:
    """What the first bytes are; nothing but a plain file is opened."""
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            return None
        with open(path, "rb") as file:
            head = file.read(HEAD)
        return "images" if detect_image(head) else "videos" if detect_container(head) else None
    except (OSError, DecodeError):
        return None


def _folder_clip(base: str, home: str, path: str, kind: Kind) -> FolderClip:
    name, uri = _name_and_uri(path)
    below = len(printable_path(base.rstrip("/"))) + 1
    return FolderClip(name[below:], uri, None if _is_inside(path, home) else _outside_link(path), kind)


def _name_and_uri(path: str) -> tuple[str, str]:
    """A path as text and as URI: the path itself, but for names that are no UTF-8."""
    name = printable_path(path)
    return name, path if name == path else Path(path).as_uri()


def _outside_link(path: str) -> tuple[str, str]:
    """Reason and message of the reject of a link that leads out of the folder."""
    where = f"a link to {printable_path(os.path.realpath(path))}, outside the folder"
    return "link_outside", f"{where}: copy the file in, or list it in a table (--dataset table)"
