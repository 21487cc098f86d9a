"""FIGRIM (Bylinskii et al. 2015): `allImages_release.mat` or `image_data_targets.mat`, or tables; `Targets/CATEGORY/`.

The MATLAB file has an array `allImages` of structures with `filename`, `category` and `AMT_comb`, a structure of what
viewers did: `hits`, `misses` and, where it has them, false alarms and correct rejections. That of the memory
experiments has `image_data_targets` with `amt2` (images of all categories together) and `amt1` (of one). The tables
`across_category.csv` and `within_category.csv` have `filename`, `scene category`, `hits`, `misses`, `false_alarms`,
`correct_rejections`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from m3ray.config import ReadConfig
from m3ray.datasets.image_sets import Annotations, ImageSet, build_listing, find_annotations, read_memory
from m3ray.datasets.listing import Listing
from m3ray.datasets.mat_files import read_mat_structs
from m3ray.datasets.memory_columns import find_memory_columns
from m3ray.datasets.published import read_csv
from m3ray.errors import SchemaError
from m3ray.schema import Clip
from m3ray.storage.filesystems import one_line

_MAT = "allImages_release.mat"
_TARGETS = "image_data_targets.mat"
# Variable of each MATLAB file, and where in its structures the counts are; of two, the one that most images have.
_COUNTED = {_MAT: ("allImages", ("AMT_comb",)), _TARGETS: ("image_data_targets", ("amt2", "amt1"))}
_FILLERS = ("allImages_fillers.mat", "fillerData", "Fillers")
_TABLES = ("across_category.csv", "within_category.csv")
_COUNTS = ("hits", "misses", "false_alarms", "correct_rejections")
_SCORE = "hits / (hits + misses)"
FIGRIM = ImageSet(
    "figrim",
    "FIGRIM",
    ((_MAT,), ("targetData", _MAT), (_TARGETS,), *((name,) for name in _TABLES)),
    frozenset({"targets", "fillers", "targetdata", "images", "scenes_targets"}),
    ("Targets",),
    f"{_MAT} (also in targetData/), {_TARGETS}, {' or '.join(_TABLES)}",
)


def list_figrim(source: str, read: ReadConfig) -> Listing:
    """List the target images of FIGRIM, clips of one frame each, labelled by their scene category.

    The score is the hit rate. Fillers, which nobody saw twice and which have no score, are left out.

    Args:
        source: path or URI of the data set's folder, or of the MATLAB file or one of the tables.
        read: a file that says which image is in which split (`splits`; none: they are drawn), the folder of the images
            if it is elsewhere (`videos`).
    Returns:
        The clips, and what the user is told of them.
    Raises:
        SchemaError: If there is no such file, it is of MATLAB's version 7.3, or an entry is impossible.
    """
    found, notes = find_annotations(source, FIGRIM), list[str]()
    if found.parts[-1].lower().endswith(".mat"):
        clips, score = _from_mat(found, notes)
    else:
        clips, score = _from_table(found, notes), _SCORE
    notes += _describe_left_out(found)
    return build_listing(FIGRIM, found, clips, read, score, notes)


def _describe_left_out(found: Annotations) -> list[str]:
    """What else the folder holds, and how it is read."""
    others = [name for name in (_MAT, _TARGETS, *_TABLES) if name != found.parts[-1] and found.root.exists(name)]
    notes = [f"figrim: {', '.join(others)} left out; --root FILE reads one of them"] if others else []
    if any(found.root.exists(name) for name in _FILLERS):
        notes.append("figrim: fillers left out: nobody saw them twice, so they have no score")
    return notes


def _from_mat(found: Annotations, notes: list[str]) -> tuple[list[Clip], str]:
    """The clips, and what their score is."""
    where = found.root.display(*found.parts)
    try:
        data = found.root.read_bytes(*found.parts)
    except (OSError, ValueError) as error:
        raise SchemaError(f"{where} cannot be read: {one_line(error)}") from error
    variable, experiments = _COUNTED.get(found.parts[-1], _COUNTED[_MAT])
    entries = read_mat_structs(data, where, variable, ("filename", "category", *experiments))
    told = max(experiments, key=lambda name: sum(isinstance(entry[name], dict) for entry in entries))
    counts = [_parse_counts(entry[told], told, f"{found.parts[-1]}: image {k}") for k, entry in enumerate(entries, 1)]
    unread = sorted({name for row in counts for name in row} - set(_readable(counts)))
    if unread:
        notes.append(f"figrim: of {told}, {', '.join(unread)} left out")
    places = [(entry["filename"], entry["category"], f"image {k}") for k, entry in enumerate(entries, start=1)]
    return _make_clips(places, counts, _readable(counts), found.parts[-1], notes), f"{told}'s {_SCORE}"


def _parse_counts(told: Any, name: str, where: str) -> dict[str, float | None]:
    """The plain numbers of an experiment; none of them is known where an image was not in it."""
    if name != "AMT_comb" and getattr(told, "size", None) == 0:
        return dict.fromkeys(_COUNTS)
    if not isinstance(told, dict) or not {"hits", "misses"} <= set(told):
        has = ", ".join(told) if isinstance(told, dict) else type(told).__name__
        raise SchemaError(f"{where}: {name} has {has}; expected hits and misses")
    return {field: float(value) for field, value in told.items() if isinstance(value, int | float)}


def _readable(counts: Sequence[Mapping[str, float | None]]) -> list[str]:
    """Fields that every image has and that mean what viewers did."""
    common = [name for name in (counts[0] if counts else ()) if all(name in row for row in counts)]
    return [name for name in common if name in find_memory_columns(common).values()]


def _from_table(found: Annotations, notes: list[str]) -> list[Clip]:
    columns = ("filename", "scene category", *_COUNTS[:2])
    rows = list(read_csv(found.root, *found.parts, columns=columns, notes=notes))
    places = [(row["filename"], row["scene category"], where) for where, row in rows]
    told = [name for name in _COUNTS if rows and name in rows[0][1]]
    return _make_clips(places, [row for _, row in rows], told, found.parts[-1], notes)


def _make_clips(
    places: Sequence[tuple[str, str, str]],
    rows: Sequence[Mapping[str, Any]],
    told: Sequence[str],
    what: str,
    notes: list[str],
) -> list[Clip]:
    memory, memory_notes = read_memory(rows, told, what)
    notes += memory_notes
    return [
        _make_clip(str(name).strip(), str(category).strip(), where, extra)
        for (name, category, where), extra in zip(places, memory, strict=True)
    ]


def _make_clip(name: str, category: str, where: str, memory: Mapping[str, Any]) -> Clip:
    if not name or not category:
        raise SchemaError(f"{where}: {'category' if name else 'filename'} is empty")
    path = f"{category}/{name}"
    asked, hits = memory["responses"], memory["hits"]
    score = hits / asked if asked and hits is not None else None
    return Clip(clip_id=path, uri=path, score=score, labels=(category.replace("_", " "),), extra=dict(memory))
