"""Where what explains scores stands: beside the file of the scores, under the same ending."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

from m3ray.storage.root import Root

EXPLANATIONS = "explanations"
SHOTS = "shots.parquet"
EXPORTED = "shots"
NEIGHBOURS = "neighbours.parquet"
_STEM = "predictions"
_AT_ONCE = 16


def place_beside(predictions: Sequence[str], name: str) -> tuple[str, ...]:
    """Find where something that belongs to a file of scores stands.

    Scores of one root may be of several data sets and bundles, each in a file of its own; what is said of a clip's
    score belongs to one of these.

    Args:
        predictions: Path parts of the file of scores below the root, as `choose_predictions_path` gives them.
        name: Name of the file or folder beside `predictions.parquet`: `shots.parquet`, `explanations`.
    Returns:
        Path parts below the root: beside `predict/predictions-resmem.parquet` stands `predict/shots-resmem.parquet`.
    """
    *folder, file = predictions
    ending = file.removesuffix(".parquet").removeprefix(_STEM)
    stem, dot, suffix = name.partition(".")
    return (*folder, f"{stem}{ending}{dot}{suffix}")


def remove_beside(root: Root, predictions: Sequence[str], name: str) -> None:
    """Remove a file that belongs to earlier scores.

    Args:
        root: Root of the scores.
        predictions: Path parts of their file.
        name: Name of the file beside `predictions.parquet`; nothing happens where there is none.
    """
    with suppress(FileNotFoundError):
        root.delete(*place_beside(predictions, name))


def move_beside(root: Root, before: Sequence[str], now: Sequence[str]) -> None:
    """Move what belongs to a file of scores to another one, and what stood there goes.

    Files of shots stay: they are films that somebody asked for, and no page shows them as those of these scores.

    Args:
        root: Root of the scores.
        before: Path parts of their file before.
        now: Path parts of their file now.
    """
    for name in (NEIGHBOURS, SHOTS):
        source = place_beside(before, name)
        if root.exists(*source):
            root.write_bytes(root.read_bytes(*source), *place_beside(now, name))
        else:
            remove_beside(root, now, name)
        remove_beside(root, before, name)
    source, target = place_beside(before, EXPLANATIONS), place_beside(now, EXPLANATIONS)
    root.delete_folder(*target)
    paths = [(kind, name) for kind in root.list_names(*source) for name in root.list_names(*source, kind)]
    with ThreadPoolExecutor(_AT_ONCE) as pool:  # on S3 each is two round trips
        list(pool.map(lambda path: root.write_bytes(root.read_bytes(*source, *path), *target, *path), paths))
    root.delete_folder(*source)
