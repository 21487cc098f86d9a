"""What the readers of published data sets share: their files, the videos beside them, and what was found."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from m3ray.datasets.folder import named_videos
from m3ray.datasets.listing import Listing as Listing
from m3ray.errors import SchemaError
from m3ray.schema import SPLITS, Clip
from m3ray.storage.columns import NO_NUMBER, number_of
from m3ray.storage.csv_text import read_csv_text
from m3ray.storage.filesystems import absolute_uri, one_line
from m3ray.storage.root import Root

_MOST_NAMED = 10


def read_csv(
    root: Root, *parts: str, columns: Iterable[str] = (), notes: list[str]
) -> Iterator[tuple[str, dict[str, str]]]:
    """The rows of a CSV file as text, each with its place in words: `train_scores.csv: row 7`.

    Args:
        root: holds the file.
        parts: of its path.
        columns: that it must have.
        notes: what is passed over goes here.
    Raises:
        SchemaError: it cannot be read, or lacks one of `columns`.
    """
    where = root.display(*parts)
    sheet = read_csv_text(_bytes(root, *parts), where, spaced=True)
    names = sheet.table.column_names
    lacking = [name for name in columns if name not in names]
    if lacking:
        raise SchemaError(f"{where} lacks {', '.join(lacking)}; it has {', '.join(names)}")
    notes += [f"{parts[-1]}: {note}" for note in sheet.said()]
    cells = zip(*(column.to_pylist() for column in sheet.table.columns), strict=True)
    for row, values in zip(sheet.rows.tolist(), cells, strict=True):
        yield f"{parts[-1]}: row {row}", dict(zip(names, values, strict=True))


def _bytes(root: Root, *parts: str) -> bytes:
    try:
        return root.read_bytes(*parts)
    except (OSError, ValueError) as error:
        raise SchemaError(f"{root.display(*parts)} cannot be read: {one_line(error)}") from error


def read_objects(root: Root, *parts: str) -> list[dict[str, Any]]:
    """A JSON file that is a list of objects.

    Raises:
        SchemaError: not JSON, or another shape.
    """
    where = root.display(*parts)
    try:
        found = json.loads(_bytes(root, *parts).decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise SchemaError(f"{where} is not JSON: {error}") from error
    if not isinstance(found, list) or not all(isinstance(entry, dict) for entry in found):
        raise SchemaError(f"{where} holds {type(found).__name__}; expected a list of objects, one a video")
    return found


def number(value: Any, what: str) -> float | None:
    """A number, or None for an empty cell, NaN, and the words that stand for them.

    Raises:
        SchemaError: text that is no number.
    """
    if value is None or str(value).strip().lower() in NO_NUMBER:
        return None
    found = number_of(str(value)) if isinstance(value, str | int | float) and not isinstance(value, bool) else None
    if found is None:
        raise SchemaError(f"{what} is {value!r}, expected a number")
    return found


def count(value: str, what: str) -> float | None:
    """How many annotations: a number, or the length of a list of them.

    Raises:
        SchemaError: neither.
    """
    listed = value.strip()
    if not (listed.startswith("[") and listed.endswith("]")):
        return number(value, what)
    return float(len(listed[1:-1].replace(",", " ").split()))


def is_count(name: str) -> bool:
    """Whether a column holds numbers of annotations."""
    return name.startswith("nb_") or "annotations" in name


def texts(value: Any, what: str) -> tuple[str, ...]:
    """A list of strings, or of lists of them (some labels came so); absent: none.

    Raises:
        SchemaError: a single string, whose letters would else become labels, or anything else.
    """
    if value is None:
        return ()
    if not isinstance(value, list):
        raise SchemaError(f"{what} is {value!r}, expected a list of strings")
    flat = [part for entry in value for part in (entry if isinstance(entry, list) else [entry])]
    if not all(isinstance(part, str) for part in flat):
        raise SchemaError(f"{what} is {value!r}, expected a list of strings")
    return tuple(dict.fromkeys(part.strip() for part in flat if part.strip()))


@dataclass
class Videos:
    """The videos below a folder, found by name or by id, in whichever case.

    Args:
        folder: where they are.
        names: lower-case name, and stem, to URI.
    """

    folder: str
    names: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def below(cls, folder: str) -> Videos:
        """All of a folder and its sub-folders; none where there is no folder."""
        uri = absolute_uri(folder).rstrip("/")
        names: dict[str, str] = {}
        for where in sorted(named_videos(uri)):
            name = where.rsplit("/", 1)[-1].lower()
            names.setdefault(name, where)
            names.setdefault(name.rsplit(".", 1)[0], where)
        return cls(uri, names)

    def find(self, name: str) -> str | None:
        """The URI of a video by file name, stem or numeric id (7 finds 00007.mp4)."""
        key = name.lower()
        found = self.names.get(key) or self.names.get(key.rsplit(".", 1)[0])
        if found is None and key.isdigit():
            return next((self.names[z] for z in (key.zfill(width) for width in range(1, 9)) if z in self.names), None)
        return found


def placed(clips: Sequence[Clip], videos: Videos, expected: str) -> tuple[list[Clip], tuple[str, ...]]:
    """The clips with the URIs of their videos, and the names of those that have none.

    Args:
        clips: `uri` is the video's file name or id.
        videos: those that are there.
        expected: the folder where a missing one is looked for when the clip is decoded.
    """
    found, missing = [], []
    for clip in clips:
        uri = videos.find(clip.uri)
        if uri is None:
            missing.append(clip.uri)
        name = clip.uri if "." in clip.uri else f"{clip.uri}.mp4"
        found.append(replace(clip, uri=uri or f"{expected}/{name}"))
    return found, tuple(missing)


def without_repeats(clips: Iterable[Clip]) -> tuple[list[Clip], int]:
    """Rows that repeat another one to the letter stand once; how many went. Others are the catalogue's to refuse."""
    kept: dict[str, Clip] = {}
    rows: list[Clip] = []
    repeats = 0
    for clip in clips:
        if kept.get(clip.clip_id) == clip:
            repeats += 1
            continue
        kept.setdefault(clip.clip_id, clip)
        rows.append(clip)
    return rows, repeats


def summary(dataset: str, clips: Sequence[Clip], missing: Sequence[str], repeats: int, score: str) -> tuple[str, ...]:
    """What a reader found, in lines: clips, splits, score, labels, repeats, videos that are not there."""
    splits = Counter(clip.split or "without split" for clip in clips)
    scores = [clip.score for clip in clips if clip.score is not None]
    order = sorted(splits.items(), key=lambda item: SPLITS.index(item[0]) if item[0] in SPLITS else len(SPLITS))
    labels = {label for clip in clips for label in clip.labels}
    span = f"{min(scores):.3f} to {max(scores):.3f}" if scores else "no score"
    lines = [
        f"{dataset}: {len(clips)} clips ({', '.join(f'{n} {name}' for name, n in order)}); score is {score}: "
        f"{len(scores)} clips, {span}; {len(labels)} labels; {repeats} repeated rows left out"
    ]
    if missing:
        named = ", ".join(missing[:_MOST_NAMED]) + (", ..." if len(missing) > _MOST_NAMED else "")
        lines.append(f"{dataset}: {len(missing)} of {len(clips)} videos are missing: {named}")
    return tuple(lines)
