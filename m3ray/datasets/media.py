"""Videos and images by the names of their files."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import pyarrow as pa
import pyarrow.compute as pc

from m3ray.config.datasets import Media

Kind = Literal["videos", "images"]

ENDINGS = frozenset(
    "3g2 3gp asf avi divx f4v flv gif m1v m2p m2ts m2v m4v mkv mod "  # noqa: SIM905
    "mov mp4 mpe mpeg mpg mts mxf ogg ogm ogv qt tod ts vob webm wmv".split()
)
"""Endings of videos; a GIF is one, whatever its number of frames."""
IMAGE_ENDINGS = frozenset("apng bmp dib jfif jpe jpeg jpg mpo png webp".split())  # noqa: SIM905
"""Endings of images, which are clips of one frame."""
UNREAD_IMAGES = frozenset(
    "arw avif cr2 cr3 dng heic heif ico j2k jp2 jxl nef orf psd raf rw2 svg tif tiff".split()  # noqa: SIM905
)
"""Endings of images of kinds that are not read."""
_IMAGE_PATTERN = rf"\.(?:{'|'.join(sorted(IMAGE_ENDINGS))})$"


def named_kind(path: str) -> Kind | None:
    """Tell by its ending whether a file is a video or an image.

    Args:
        path: path or key of the file, parts separated by /.
    Returns:
        Its kind; None where it is named like neither, or is hidden.
    """
    name = path.rsplit("/", 1)[-1]
    ending = name.rsplit(".", 1)[-1].lower()
    if name.startswith("."):
        return None
    return "videos" if ending in ENDINGS else "images" if ending in IMAGE_ENDINGS else None


def count_images(uris: pa.ChunkedArray) -> int:
    """Count the clips that are named like images.

    Args:
        uris: path or URI of each clip; null or empty where a clip has none.
    Returns:
        Number of images.
    """
    named = pc.match_substring_regex(uris, _IMAGE_PATTERN, ignore_case=True)
    return int(pc.sum(named).as_py() or 0)


def describe_media(counts: Sequence[tuple[Kind, int]], media: Media) -> tuple[str, ...]:
    """Tell the user how many videos and images a folder gave, where there are images.

    Args:
        counts: each kind with the number of its clips.
        media: what was asked for.
    Returns:
        A line, or none for videos alone.
    """
    found = dict(counts)
    images, videos = found.get("images", 0), found.get("videos", 0)
    if not images:
        return ()
    what = [count_noun(videos, "videos")] * bool(videos) + [count_noun(images, "images")]
    advice = "; --media videos leaves images out" if videos and media == "all" else ""
    return (f"folder: {' and '.join(what)}: an image is a clip of one frame{advice}",)


def count_noun(count: int, kind: Kind) -> str:
    """Put a number of clips into words.

    Args:
        count: how many.
        kind: of which kind.
    Returns:
        Such as `200 images`, `1 video`.
    """
    return f"{count:,} {kind if count != 1 else kind[:-1]}"
