"""A folder of videos, searched through all its sub-folders."""

from __future__ import annotations

from pyarrow import fs as pafs

from m3ray.data.store import absolute_uri, filesystem_of
from m3ray.errors import SchemaError
from m3ray.schema import Clip

ENDINGS = frozenset("mp4 m4v mov mkv webm avi ts m2ts mts mpg mpeg vob gif 3gp".split())  # noqa: SIM905


def list_folder(root: str) -> list[Clip]:
    """Every file below `root` that is named like a video; `clip_id` is its path below `root`.

    Raises:
        SchemaError: no such folder, or nothing in it is named like a video.
    """
    uri = absolute_uri(root).rstrip("/")
    fs, base = filesystem_of(uri)
    if fs.get_file_info(base).type != pafs.FileType.Directory:
        raise SchemaError(f"no folder at {uri}: give an existing folder of videos with --root")
    infos = fs.get_file_info(pafs.FileSelector(base, recursive=True))
    paths = sorted(info.path for info in infos if info.type != pafs.FileType.Directory and is_named_video(info.path))
    if not paths:
        endings = ", ".join(sorted(ENDINGS))
        raise SchemaError(f"{uri} holds no file named like a video ({endings})")
    prefix = base.rstrip("/") + "/"
    return [Clip(clip_id=p.removeprefix(prefix), uri=f"{uri}/{p.removeprefix(prefix)}") for p in paths]


def is_named_video(path: str) -> bool:
    """Whether a file is named like a video, and not hidden."""
    name = path.rsplit("/", 1)[-1]
    return not name.startswith(".") and name.rsplit(".", 1)[-1].lower() in ENDINGS
