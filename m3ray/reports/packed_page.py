"""The page of a report without frames of clips: figures stay, all other pictures become a box that says so."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable

# Figures that show frames; their files are left out with the frames of the page.
_SHOWS_FRAMES = re.compile(r"figure5")
_PICTURE = re.compile(r"data:(?:image|video|audio)/[\w.+-]+(?:;base64,[A-Za-z0-9+/=\s]+|[^\"')\s]+)")
_BOX = (
    "data:image/svg+xml,%3Csvg xmlns=%22http://www.w3.org/2000/svg%22 width=%22160%22 height=%2290%22%3E%3Crect "
    "width=%22160%22 height=%2290%22 fill=%22%23ccc%22/%3E%3Ctext x=%2280%22 y=%2249%22 text-anchor=%22middle%22 "
    "font-family=%22sans-serif%22 font-size=%2213%22 fill=%22%23444%22%3Eleft out%3C/text%3E%3C/svg%3E"
).replace(" ", "%20")


def shows_frames(name: str) -> bool:
    """Tell whether a figure shows frames of clips.

    Args:
        name: name of its file.
    Returns:
        Whether it does.
    """
    return _SHOWS_FRAMES.match(name) is not None


def count_pictures(page: str, figures: Iterable[bytes]) -> int:
    """Count the pictures of a page that are no figures, and so may show clips.

    Args:
        page: HTML.
        figures: content of the figures that show no clip.
    Returns:
        Their number.
    """
    known = _encode(figures)
    return sum(not _is_figure(found[0], known) for found in _PICTURE.finditer(page))


def remove_pictures(page: str, figures: Iterable[bytes]) -> str:
    """Replace the pictures of a page that are no figures by a box that says so.

    Args:
        page: HTML.
        figures: content of the figures that show no clip.
    Returns:
        HTML.
    """
    known = _encode(figures)
    return _PICTURE.sub(lambda found: found[0] if _is_figure(found[0], known) else _BOX, page)


def _encode(figures: Iterable[bytes]) -> set[str]:
    return {base64.b64encode(data).decode() for data in figures}


def _is_figure(picture: str, known: set[str]) -> bool:
    return picture == _BOX or picture.partition("base64,")[2] in known
