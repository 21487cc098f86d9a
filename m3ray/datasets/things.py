"""Memorability of THINGS (Kramer et al. 2023): `THINGS_Memorability_Scores.csv`, images in `object_images/CONCEPT/`.

Of its columns, `image_name`, `file_path` (`images/CONCEPT/NAME.jpg`) and `cr` (corrected recognition: hit rate less
false alarm rate) are read.
"""

from __future__ import annotations

from m3ray.config import ReadConfig
from m3ray.datasets.image_sets import ImageSet, build_listing, find_annotations
from m3ray.datasets.listing import Listing
from m3ray.datasets.published import parse_cell, read_csv
from m3ray.errors import SchemaError
from m3ray.schema import Clip

_FILE = "THINGS_Memorability_Scores.csv"
_SCORE = "cr"
THINGS = ImageSet(
    "things",
    "THINGS, with its memorability scores in it,",
    ((_FILE,), ("Memorability", _FILE)),
    frozenset({"object_images", "images", "memorability"}),
    ("object_images",),
    _FILE,
)


def list_things(source: str, read: ReadConfig) -> Listing:
    """List the clips of THINGS, images of one frame each, labelled by their concept.

    The published score is the hit rate less the false alarm rate, the column `corrected`; as a score it is at least 0.

    Args:
        source: path or URI of the data set's folder, or of the CSV file of scores.
        read: a file that says which image is in which split (`splits`; none: they are drawn), the folder of the images
            if it is elsewhere (`videos`).
    Returns:
        The clips, and what the user is told of them.
    Raises:
        SchemaError: If there is no such file, or a row is impossible; the message names file and row.
    """
    found, notes = find_annotations(source, THINGS), list[str]()
    rows = read_csv(found.root, *found.parts, columns=("file_path", _SCORE), notes=notes)
    clips = [_parse_clip(where, row) for where, row in rows]
    below = sum(clip.extra["corrected"] is not None and clip.extra["corrected"] < 0 for clip in clips)
    if below:
        notes.append(
            f"things: {below} images have a negative {_SCORE}: their score is 0, and corrected has it as given"
        )
    return build_listing(THINGS, found, clips, read, _SCORE, notes)


def _parse_clip(where: str, row: dict[str, str]) -> Clip:
    parts = row["file_path"].strip().replace("\\", "/").strip("/").split("/")
    if len(parts) < 2 or not all(parts):
        raise SchemaError(f"{where}: file_path is {row['file_path']!r}, expected one such as images/CONCEPT/NAME.jpg")
    corrected = parse_cell(row[_SCORE], f"{where}: {_SCORE}")
    if corrected is not None and not -1 <= corrected <= 1:
        raise SchemaError(f"{where}: {_SCORE} {corrected:g} lies outside [-1, 1]; divide percentages by 100")
    path = "/".join(parts[-2:])
    return Clip(
        clip_id=path,
        uri=path,
        score=None if corrected is None else max(0.0, corrected),
        labels=(parts[-2].replace("_", " "),),
        extra={"concept": parts[-2], "corrected": corrected},
    )
