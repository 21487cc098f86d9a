"""What a user gives to be scored, as single clips: paths, folders, patterns, bytes, frames, and sequences of them."""

from __future__ import annotations

import glob
import math
import os
import warnings
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from m3ray.errors import ConfigError, DecodeError, SchemaError, ShapeError

# What `Scorer.predict` takes: a path or URI of a video, an image or a folder, a pattern such as `videos/*.mp4`, the
# bytes of a file, frames, (T, H, W, 3) or (H, W, 3), uint8 or in [0, 1]; or a sequence or generator of those.
Scorable: TypeAlias = "str | os.PathLike[str] | bytes | np.ndarray | Iterable[Any]"

_PATTERN = frozenset("*?[")
_PICTURE, _CLIP = 3, 4  # dimensions
_EXPECTED = "a path, a pattern, a folder, bytes, an array of frames, or a sequence of those"


@dataclass(frozen=True)
class ClipInput:
    """A clip to score.

    Args:
        clip_id: Its path or URI; `[k]` for the k-th of what was given, where that has no name.
        data: Path or URI, the file's bytes, or frames, uint8, (T, H, W, 3).
        failure: Why it is no clip; None: it may be one.
    """

    clip_id: str
    data: str | bytes | np.ndarray
    failure: DecodeError | None = None


def iter_clips(given: Scorable, *, expand: bool = True) -> Iterator[ClipInput]:
    """Take what a user gives apart into clips, one after the other.

    Args:
        given: What is to be scored.
        expand: Whether folders and patterns stand for the files in them; else each text is one clip's name.
    Yields:
        The clips in the order given, those of a folder or a pattern sorted by name.
    Raises:
        ConfigError: If something is neither of what can be scored.
        ShapeError: If an array has no shape, type or range of frames.
    """
    given = _as_plain(given)
    items = [given] if isinstance(given, str | bytes | np.ndarray) else _check_iterable(given)
    for index, item in enumerate(items):
        yield from _iter_item(_as_plain(item), index, expand=expand)


def _as_plain(item: Any) -> Any:
    """Texts, bytes, arrays and lists for what stands for them in other libraries; anything else as it is."""
    if isinstance(item, os.PathLike):
        return os.fsdecode(item)
    if isinstance(item, bytearray | memoryview):
        return bytes(item)
    if hasattr(item, "iloc"):  # pandas; a table of several columns is told by `_check_iterable`
        return item if hasattr(item, "columns") else list(item)
    if hasattr(item, "to_pylist"):  # Arrow
        return item if hasattr(item, "columns") else item.to_pylist()
    return _as_array(item)


def _as_array(item: Any) -> Any:
    """NumPy's arrays for tensors and images, and a list for an array of paths; anything else as it is."""
    if hasattr(item, "detach"):  # a tensor
        return item.detach().cpu().numpy()
    if hasattr(item, "convert") and hasattr(item, "getbands"):  # an image of Pillow's
        from m3ray.video.images import read_upright  # imports Pillow, which is there where its images are

        return read_upright(item)
    is_list = isinstance(item, np.ndarray) and item.dtype.kind in "OUST"
    return item.tolist() if is_list else item


def _check_iterable(given: Any) -> Iterable[Any]:
    if isinstance(given, Mapping) or hasattr(given, "columns") or not isinstance(given, Iterable):
        column = ": give its column of paths" if hasattr(given, "columns") else ""
        raise ConfigError(f"cannot score {_describe(given)}: expected {_EXPECTED}{column}")
    return given


def _describe(item: Any) -> str:
    return f"{type(item).__name__} {item!r:.60}" if isinstance(item, int | float | None) else type(item).__name__


def _iter_item(item: Any, index: int, *, expand: bool) -> Iterator[ClipInput]:
    if isinstance(item, str):
        yield from _iter_path(item) if expand else [ClipInput(item, item)]
    elif isinstance(item, bytes):
        yield ClipInput(f"[{index}]", item)
    elif isinstance(item, np.ndarray):
        yield ClipInput(f"[{index}]", as_frames(item))
    elif _is_gap(item):
        yield _failed(f"[{index}]", "missing_file", f"no path was given ({item})")
    else:
        raise ConfigError(f"cannot score {_describe(item)}, number {index} of what was given: expected {_EXPECTED}")


def _is_gap(item: Any) -> bool:
    """Whether a column of paths has nothing here: None, NaN, or pandas' NA, which is compared by name."""
    return item is None or type(item).__name__ == "NAType" or (isinstance(item, float) and math.isnan(item))


def _iter_path(path: str) -> Iterator[ClipInput]:
    """The clips that a path stands for: itself, the files of a folder, those that fit a pattern."""
    if "://" in path:
        yield from _iter_folder(path) if path.endswith("/") else [ClipInput(path, path)]
    elif os.path.isdir(path):
        yield from _iter_folder(path)
    elif _PATTERN & set(path) and "\0" not in path and not os.path.exists(path):
        files = sorted(name for name in glob.iglob(path, recursive=True) if not os.path.isdir(name))
        yield from (ClipInput(name, name) for name in files)
        if not files:
            yield _failed(path, "missing_file", "no file fits this pattern")
    else:
        yield ClipInput(path, path)


def _iter_folder(path: str) -> Iterator[ClipInput]:
    from m3ray.datasets.folder import read_folder  # imported where it is needed: most clips come by their paths

    try:
        listing = read_folder(path)
    except SchemaError as error:
        yield _failed(path, "empty_folder", str(error))
        return
    rejected = {} if listing.rejected is None else {row["clip_id"]: row for row in listing.rejected.to_pylist()}
    for note in listing.notes:
        if "passed over" in note:  # photographs of a kind that is not read, say: nobody would miss their rows
            warnings.warn(f"{path}: {note}", stacklevel=2)
    home = path.rstrip("/") + "/"
    for name, uri in zip(*(listing.table[column].to_pylist() for column in ("clip_id", "uri")), strict=True):
        row = rejected.get(name)
        yield _failed(home + name, row["error"], row["message"]) if row else ClipInput(home + name, uri)


def _failed(clip_id: str, reason: str, message: str) -> ClipInput:
    return ClipInput(clip_id, clip_id, DecodeError(reason, message, "read"))


def as_frames(array: np.ndarray) -> np.ndarray:
    """Check an array of frames.

    Args:
        array: RGB, (T, H, W, 3), or one frame, (H, W, 3); uint8, or floating point in [0, 1].
    Returns:
        uint8, (T, H, W, 3).
    Raises:
        ShapeError: If shape, type or range is another one.
    """
    expected = "expected frames, (T, H, W, 3) or (H, W, 3), RGB, uint8 or floating point in [0, 1]"
    if array.ndim not in (_PICTURE, _CLIP) or array.shape[-1] != 3 or not array.size:
        hint = ""
        if array.ndim in (_PICTURE, _CLIP) and array.size and array.shape[-3] == 3:
            hint = ": put the channels last"
        elif array.ndim == _CLIP + 1:
            hint = ": give a list of clips"
        raise ShapeError(f"an array {array.shape} of {array.dtype}: {expected}{hint}")
    frames = array if array.ndim == _CLIP else array[None]
    if frames.dtype == np.uint8:
        return frames
    if frames.dtype.kind != "f":
        raise ShapeError(f"an array {array.shape} of {array.dtype}: {expected}")
    low, high = float(frames.min()), float(frames.max())
    if not (low >= 0 and high <= 1):  # not a number fails too
        hint = ": divide it by 255" if low >= 0 and high > 1 else ""
        raise ShapeError(f"an array {array.shape} of {array.dtype} from {low:g} to {high:g}: {expected}{hint}")
    return np.rint(frames * frames.dtype.type(255)).astype(np.uint8)
