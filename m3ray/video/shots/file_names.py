"""Names of files that shots are written into: safe on every file system, and the same for the same shot."""

from __future__ import annotations

import hashlib
import re

_UNSAFE = re.compile(r"[^\w-]+", re.ASCII)
_LONGEST = 60  # characters of a clip's name: file systems take 255 bytes in all


def name_shot(clip_id: str, shot: int, start: float, end: float, suffix: str) -> str:
    """Name the file of a shot, by its clip, its number and its times.

    Args:
        clip_id: id of the clip, or its path.
        shot: number of the shot, from 0.
        start: when it begins, seconds.
        end: when it ends, seconds.
        suffix: ending of the name, with the dot.
    Returns:
        A name of letters, digits, `-`, `_` and `.`; six digits of the whole id's hash tell clips apart whose names
        are alike, such as `a.mp4` and `a.mov`.
    """
    stem = re.split(r"[/\\]", clip_id)[-1].rpartition(".")
    plain = _UNSAFE.sub("_", stem[0] or stem[2]).strip("_")[:_LONGEST] or "clip"
    mark = hashlib.sha256(clip_id.encode("utf-8", "surrogatepass")).hexdigest()[:6]
    return f"{plain}-{mark}-shot{shot:03d}-{start:.2f}-{end:.2f}s{suffix}"
