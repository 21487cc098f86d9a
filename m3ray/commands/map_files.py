"""Files of `m3ray explain`: their names, what must not be written over, and how they are written."""

from __future__ import annotations

import hashlib
import os
import re
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from m3ray.errors import ConfigError

if TYPE_CHECKING:
    from m3ray.scoring.explanations.explanation import Explanation

_NOT_PLAIN = re.compile(r"[^\w.-]+")
_LONGEST_NAME = 80  # bytes: file systems take 255 in all
_SOURCE = b"source"  # metadata of the parts: a fingerprint of the clip's whole path


def prepare_folder(out: str) -> Path:
    """Make the folder of the maps, and try whether files can be written there.

    Args:
        out: path of the folder.
    Returns:
        The folder.
    Raises:
        ConfigError: If it is no folder, or nothing can be written there.
    """
    folder = Path(out)
    if "://" in out:
        raise ConfigError(f"--out {out}: expected a folder of this machine: give one, and copy the maps from there")
    if folder.exists() and not folder.is_dir():
        raise ConfigError(f"--out {out}: a file is there: expected a folder, which is made where it is missing")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return folder
    except OSError as error:
        raise _explain_unwritable(folder, error) from error


def name_maps(clip_ids: Sequence[str], folder: Path) -> list[str]:
    """Name the files of each clip, without their endings.

    Args:
        clip_ids: paths or URIs of the clips.
        folder: where the files go; maps of other clips that are there keep their names.
    Returns:
        The clips' own names without what a file system dislikes, and `-map`; no two alike.
    """
    names: list[str] = []
    taken: set[str] = set()  # in one case: some file systems do not tell A from a
    for clip_id in clip_ids:
        plain, number = _make_plain(clip_id), 1
        name = f"{plain}-map"
        while name.casefold() in taken or _read_source(folder / f"{name}.parquet") not in {None, _identify(clip_id)}:
            number += 1
            name = f"{plain}~{number}-map"
        taken.add(name.casefold())
        names.append(name)
    return names


def _make_plain(clip_id: str) -> str:
    stem = Path(clip_id.rstrip("/").rpartition("/")[2]).stem
    return _NOT_PLAIN.sub("-", stem).strip("-.").encode()[:_LONGEST_NAME].decode(errors="ignore") or "clip"


def check_targets(clip_ids: Sequence[str], names: Sequence[str], folder: Path, kind: str) -> None:
    """Check that no file is written over but maps that were written here before.

    Args:
        clip_ids: paths or URIs of the clips.
        names: names of their files, as `name_maps` gives them.
        folder: where the files go.
        kind: png, webp or mp4.
    Raises:
        ConfigError: If a file to be written is a clip, or is there and is no map.
    """
    inputs = {found: clip_id for clip_id in clip_ids if (found := _find_file(clip_id)) is not None}
    for name in names:
        is_ours = _read_source(folder / f"{name}.parquet") is not None
        for ending in dict.fromkeys((kind, "png", "parquet")):
            path = folder / f"{name}.{ending}"
            if _find_file(str(path)) in inputs:
                raise ConfigError(f"{path}: a map would be written over this clip: give another --out")
            if os.path.lexists(path) and not (is_ours and path.is_file() and not path.is_symlink()):
                raise ConfigError(f"{path}: is there, and no map of m3ray explain's: move it, or give another --out")


def write_files(explanation: Explanation, folder: Path, name: str, kind: str) -> list[str]:
    """Write a map's files.

    Args:
        explanation: the map.
        folder: where they go; it is there.
        name: their name without the ending.
        kind: png, webp or mp4.
    Returns:
        Their paths: a strip of pictures, with webp and mp4 an animation too where there is time, and the parts as
        Parquet.
    Raises:
        ConfigError: If they cannot be written.
    """
    import pyarrow.parquet as pq

    from m3ray.scoring.explanations.explanation import cells_table
    from m3ray.scoring.explanations.overlay import draw_overlay

    cells = cells_table(explanation)
    cells = cells.replace_schema_metadata({**cells.schema.metadata, _SOURCE: _identify(explanation.clip_id)})
    kinds: list[Any] = ["png"] if explanation.is_image or kind == "png" else [kind, "png"]
    pictures = {folder / f"{name}.{ending}": draw_overlay(explanation, ending) for ending in kinds}
    parts = folder / f"{name}.parquet"
    try:
        pq.write_table(cells, parts)  # first: by them the pictures are known as a map's, also if this is cut short
        for path, data in pictures.items():
            path.write_bytes(data)
    except OSError as error:
        raise _explain_unwritable(folder, error) from error
    return [*map(str, pictures), str(parts)]


def _explain_unwritable(folder: Path, error: OSError) -> ConfigError:
    why = error.strerror or str(error)
    return ConfigError(f"--out {folder}: maps cannot be written there ({why}): give a folder that can be written to")


def _identify(clip_id: str) -> bytes:
    """A fingerprint of a clip's whole path, which tells clips of one name in two folders apart."""
    whole = clip_id if "://" in clip_id else os.path.realpath(clip_id)
    return hashlib.sha256(os.fsencode(whole)).hexdigest()[:16].encode()


def _read_source(path: Path) -> bytes | None:
    """The fingerprint of the clip whose parts a file has; None: the file is not there, or no such file."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    if not path.is_file():
        return None
    try:
        found = (pq.read_schema(path).metadata or {}).get(_SOURCE)
    except (OSError, pa.ArrowInvalid):
        return None
    return bytes(found) if found is not None else None


def _find_file(path: str) -> tuple[int, int] | None:
    """What makes a file the same by any name and link; None: it is none of this machine's."""
    try:
        state = os.stat(path)
    except (OSError, ValueError):  # ValueError: a character that no path has
        return None
    return state.st_dev, state.st_ino
