"""Parts that the readers of published data sets share: annotation files, the videos beside them, a summary."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from m3ray.datasets.folder import find_named_videos
from m3ray.datasets.media import Kind
from m3ray.errors import SchemaError
from m3ray.schema import SPLITS, Clip
from m3ray.storage.columns import MISSING_NUMBERS, parse_number
from m3ray.storage.csv_reading import read_csv_text
from m3ray.storage.filesystems import absolute_uri, one_line
from m3ray.storage.root import Root

_MOST_NAMED = 10
_RESPONSES = {"1": 1, "1.0": 1, "true": 1, "0": 0, "0.0": 0, "false": 0}


def read_csv(
    root: Root, *parts: str, columns: Iterable[str] = (), notes: list[str]
) -> Iterator[tuple[str, dict[str, str]]]:
    """Read the rows of a CSV file as text.

    Args:
        root: folder that holds the file.
        *parts: path of the file below it.
        columns: names of the columns that it must have.
        notes: list that gets a line for the user where rows or columns are skipped.
    Yields:
        Where a row stands, in words (`train_scores.csv: row 7`), and its cells by column.
    Raises:
        SchemaError: If the file cannot be read, or lacks one of `columns`.
    """
    where = root.display(*parts)
    sheet = read_csv_text(_read_bytes(root, *parts), where, spaced=True)
    names = sheet.table.column_names
    lacking = [name for name in columns if name not in names]
    if lacking:
        raise SchemaError(f"{where} lacks {', '.join(lacking)}; it has {', '.join(names)}")
    notes += [f"{parts[-1]}: {note}" for note in sheet.describe_skipped()]
    cells = zip(*(column.to_pylist() for column in sheet.table.columns), strict=True)
    for row, values in zip(sheet.rows.tolist(), cells, strict=True):
        yield f"{parts[-1]}: row {row}", dict(zip(names, values, strict=True))


def _read_bytes(root: Root, *parts: str) -> bytes:
    try:
        return root.read_bytes(*parts)
    except (OSError, ValueError) as error:
        raise SchemaError(f"{root.display(*parts)} cannot be read: {one_line(error)}") from error


def read_objects(root: Root, *parts: str) -> list[dict[str, Any]]:
    """Read a JSON file that is a list of objects.

    Args:
        root: folder that holds the file.
        *parts: path of the file below it.
    Returns:
        The objects, as they stand.
    Raises:
        SchemaError: If the file cannot be read, is not JSON, or has another shape.
    """
    where = root.display(*parts)
    try:
        value = json.loads(_read_bytes(root, *parts).decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise SchemaError(f"{where} is not JSON: {error}") from error
    if not isinstance(value, list) or not all(isinstance(entry, dict) for entry in value):
        raise SchemaError(f"{where} holds {type(value).__name__}; expected a list of objects, one a video")
    return value


def parse_cell(value: Any, what: str) -> float | None:
    """Convert a cell to a number.

    Args:
        value: cell of a CSV file, or value of a JSON object.
        what: what it is and where it stands, for the message.
    Returns:
        The number; None for an empty cell, NaN, and the words that stand for them.
    Raises:
        SchemaError: If it is something else.
    """
    if value is None or str(value).strip().lower() in MISSING_NUMBERS:
        return None
    number = parse_number(str(value)) if isinstance(value, str | int | float) and not isinstance(value, bool) else None
    if number is None:
        raise SchemaError(f"{what} is {value!r}, expected a number")
    return number


def parse_count(value: str, what: str) -> float | None:
    """Convert a cell to a number of annotations.

    Args:
        value: cell of a CSV file: a number, or a list of the annotations in brackets.
        what: what it is and where it stands, for the message.
    Returns:
        The number, or the length of the list; None for an empty cell.
    Raises:
        SchemaError: If it is neither.
    """
    listed = value.strip()
    if not (listed.startswith("[") and listed.endswith("]")):
        return parse_cell(value, what)
    return float(len(listed[1:-1].replace(",", " ").split()))


def parse_hits(value: str) -> float | None:
    """Count the viewers who recognised a clip, where a cell lists every viewer's response.

    Args:
        value: cell of a CSV file: a number of responses, or a list of them in brackets, 1 or true where it was a hit.
    Returns:
        The number of hits; None for a plain number, an empty list, and responses that are neither 1 nor 0.
    """
    listed = value.strip().lower()
    if not (listed.startswith("[") and listed.endswith("]")):
        return None
    hits = [_RESPONSES.get(part.strip("'\"")) for part in listed[1:-1].replace(",", " ").split()]
    known = [hit for hit in hits if hit is not None]
    return float(sum(known)) if known and len(known) == len(hits) else None


def is_count_column(name: str) -> bool:
    """Tell whether a column holds numbers of annotations.

    Args:
        name: name of the column.
    Returns:
        Whether it is named like one.
    """
    return name.startswith("nb_") or "annotations" in name


def parse_texts(value: Any, what: str) -> tuple[str, ...]:
    """Flatten a list of strings, or of lists of them, as some labels were published.

    Args:
        value: value of a JSON object; None where it is absent.
        what: what it is and where it stands, for the message.
    Returns:
        The strings, trimmed, each once; none for None.
    Raises:
        SchemaError: If it is a single string, whose letters would else become labels, or anything else.
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
    """Videos below a folder, to be looked up by name or by id, in either case.

    Args:
        folder: URI of the folder.
        names: lower-case file name, and stem, to URI.
    """

    folder: str
    names: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def below(cls, folder: str) -> Videos:
        """Find all videos of a folder and its sub-folders.

        Args:
            folder: path or URI of the folder; there may be none.
        Returns:
            The videos by name and by stem.
        """
        uri = absolute_uri(folder).rstrip("/")
        names: dict[str, str] = {}
        for where in sorted(find_named_videos(uri)):
            name = where.rsplit("/", 1)[-1].lower()
            names.setdefault(name, where)
            names.setdefault(name.rsplit(".", 1)[0], where)
        return cls(uri, names)

    def find(self, name: str) -> str | None:
        """Look a video up.

        Args:
            name: file name, stem or numeric id (7 finds 00007.mp4).
        Returns:
            The URI of the video; None where there is no such file.
        """
        key = name.lower()
        uri = self.names.get(key) or self.names.get(key.rsplit(".", 1)[0])
        if uri is None and key.isdigit():
            return next((self.names[z] for z in (key.zfill(width) for width in range(1, 9)) if z in self.names), None)
        return uri


def locate_videos(clips: Sequence[Clip], videos: Videos, expected: str) -> tuple[list[Clip], tuple[str, ...]]:
    """Give clips the URIs of their videos.

    Args:
        clips: clips whose `uri` is the file name or id of the video.
        videos: videos that exist.
        expected: URI of the folder where a missing one is looked for when the clip is decoded.
    Returns:
        The clips with full URIs, and the names of the videos that are missing.
    """
    located, missing = [], []
    for clip in clips:
        uri = videos.find(clip.uri)
        if uri is None:
            missing.append(clip.uri)
        name = clip.uri if "." in clip.uri else f"{clip.uri}.mp4"
        located.append(replace(clip, uri=uri or f"{expected}/{name}"))
    return located, tuple(missing)


def drop_repeats(clips: Iterable[Clip]) -> tuple[list[Clip], int]:
    """Drop rows that repeat another one to the letter; others with its id are left for `check_clips` to reject.

    Args:
        clips: clips as they were published.
    Returns:
        The clips, and how many were dropped.
    """
    first: dict[str, Clip] = {}
    rows: list[Clip] = []
    repeats = 0
    for clip in clips:
        if first.get(clip.clip_id) == clip:
            repeats += 1
            continue
        first.setdefault(clip.clip_id, clip)
        rows.append(clip)
    return rows, repeats


def summarise_clips(
    dataset: str, clips: Sequence[Clip], missing: Sequence[str], repeats: int, score: str, kind: Kind = "videos"
) -> tuple[str, ...]:
    """Summarise the clips of a data set in lines for the user.

    Args:
        dataset: name of the data set.
        clips: clips that were listed.
        missing: names of videos or images that do not exist.
        repeats: number of repeated rows that were dropped.
        score: name of the column that the scores were taken from.
        kind: what the clips are.
    Returns:
        A line of counts, and one more where videos or images are missing.
    """
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
        lines.append(f"{dataset}: {len(missing)} of {len(clips)} {kind} are missing: {named}")
    return tuple(lines)
