"""MemCat (Goetschalckx and Wagemans 2019): `memcat_image_data.csv`, images in `MemCat/CATEGORY/SUBCATEGORY/`.

The columns: `image_file`, `category`, `subcategory`, `current_height`, `current_width`, `source`, `searched_label`,
`resize_factor`, `H` (hits), `FA` (false alarms), `n_resp` (viewers), `memorability_wo_fa_correction` (H / n_resp) and
`memorability_w_fa_correction` ((H - FA) / n_resp).
"""

from __future__ import annotations

from m3ray.config import ReadConfig
from m3ray.datasets.image_sets import ImageSet, build_listing, find_annotations, parse_image_score, read_memory
from m3ray.datasets.listing import Listing
from m3ray.datasets.published import read_csv
from m3ray.errors import SchemaError
from m3ray.schema import Clip

_FILE = "memcat_image_data.csv"
_SCORE = "memorability_wo_fa_correction"
_NAMES = ("image_file", "category", "subcategory")
_MEMORY = ("H", "FA", "n_resp", _SCORE, "memorability_w_fa_correction")
_KEPT = ("category", "subcategory", "source", "searched_label")
MEMCAT = ImageSet(
    "memcat",
    "MemCat",
    ((_FILE,), ("MemCat_data", _FILE), ("data", _FILE)),
    frozenset({"memcat_data", "memcat_images", "memcat", "images", "data"}),
    ("MemCat_images", "MemCat"),
    f"{_FILE}, nor MemCat_data/{_FILE}",
)


def list_memcat(source: str, read: ReadConfig) -> Listing:
    """List the clips of MemCat, images of one frame each, labelled by category and subcategory.

    The score is the hit rate; the rate that is corrected for false alarms is `corrected`.

    Args:
        source: path or URI of the data set's folder, or of its CSV file.
        read: a file that says which image is in which split (`splits`; none: they are drawn), the folder of the images
            if it is elsewhere (`videos`).
    Returns:
        The clips, and what the user is told of them.
    Raises:
        SchemaError: If there is no such file, or a row is impossible; the message names file and row.
    """
    found, notes = find_annotations(source, MEMCAT), list[str]()
    rows = list(read_csv(found.root, *found.parts, columns=(*_NAMES, _SCORE), notes=notes))
    told = [name for name in _MEMORY if rows and name in rows[0][1]]
    memory, memory_notes = read_memory([row for _, row in rows], told, found.parts[-1])
    clips = [_parse_clip(where, row, extra) for (where, row), extra in zip(rows, memory, strict=True)]
    return build_listing(MEMCAT, found, clips, read, _SCORE, (*notes, *memory_notes))


def _parse_clip(where: str, row: dict[str, str], memory: dict[str, object]) -> Clip:
    image, category, subcategory = (row[name].strip() for name in _NAMES)
    empty = next((name for name in _NAMES if not row[name].strip()), None)
    if empty is not None:
        raise SchemaError(f"{where}: {empty} is empty")
    path = f"{category}/{subcategory}/{image}"
    return Clip(
        clip_id=path,
        uri=path,
        score=parse_image_score(row[_SCORE], where),
        labels=(category, subcategory),
        extra={**{name: row[name] for name in _KEPT if name in row}, **memory},
    )
