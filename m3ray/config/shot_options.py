"""Options of shots that are written as files."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class ShotOptions:
    """Files of the best shots."""

    export_shots: int | None = None
    """Write the N most memorable of all shots as files into shots/ of the root, without encoding them anew where a shot
    begins at a key frame; needs --over-time --sliding-windows.by shots. None: none."""
