"""Maps of clips on disk: a folder beside a file of scores, with a map, a row and a picture for each clip.

    explanations/maps/<clip>.parquet      the cells of the map
    explanations/clips/<clip>.parquet     one row: score, resolution, peak, or why there is no map
    explanations/overlays/<clip>.webp     the clip with the map laid over it, moving; of one frame <clip>.png

The row comes last: what has one is whole.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import pyarrow as pa

from m3ray.config.serialization import as_json, fingerprint
from m3ray.scoring.bundle_metadata import BUNDLE_FILE
from m3ray.scoring.open_bundle import AnyBundle
from m3ray.storage.parquet_tables import METADATA_KEY
from m3ray.storage.root import Root

Overlay = tuple[str, bytes]
MAPS, CLIPS, OVERLAYS = "maps", "clips", "overlays"
EXPLAINED = pa.schema(
    [
        ("clip_id", pa.string()),
        ("score", pa.float64()),
        ("method", pa.string()),
        ("evaluations", pa.int64()),
        ("segments", pa.int64()),
        ("rows", pa.int64()),
        ("columns", pa.int64()),
        ("seconds", pa.float64()),
        ("peak_t", pa.float64()),
        ("peak_y", pa.float64()),
        ("peak_x", pa.float64()),
        ("peak_effect", pa.float64()),
        ("resolution", pa.string()),
        ("adds", pa.list_(pa.string())),
        ("takes", pa.list_(pa.string())),
        ("scale", pa.float64()),
        ("picture_times", pa.list_(pa.float64())),
        ("pictures", pa.list_(pa.binary())),
        ("overlay", pa.string()),
        ("reason", pa.string()),
        ("source", pa.string()),
        ("stamp", pa.string()),
    ]
)
"""A row a clip. `peak_...` is the part with the largest effect for its size, whether it adds or takes: its middle in
seconds and in fractions of height and width, and its effect; `resolution` says in words how finely was looked, `adds`
and `takes` which parts add and take most, the strongest first; `scale` is the effect for each hundredth of the clip
that `pictures`, small WebP of a few times, show in the strongest colour; `overlay` names the picture that moves;
`reason` says why there is no map, null where there is one; `source` and `stamp` are fingerprints of the bundle with the
catalogue, and of all that the map was made of: of its settings, and after a dash of the clip's content."""
_NOT_PLAIN = re.compile(r"[^A-Za-z0-9._-]")
_MOST_CHARACTERS = 48
_READERS = 16


def name_clip_files(clip_id: str) -> str:
    """Name the files of a clip's map: readable, and no two clips' alike.

    Args:
        clip_id: Id of the clip, of any characters.
    Returns:
        The name without an ending.
    """
    readable = _NOT_PLAIN.sub("_", clip_id.replace("\\", "/").rpartition("/")[2])[-_MOST_CHARACTERS:].lstrip(".-")
    return f"{readable}-{hashlib.sha256(clip_id.encode()).hexdigest()[:10]}"


def identify_source(bundle: AnyBundle, catalogue: str) -> str:
    """Make a fingerprint of a bundle and the clips that it scores: another one where anything of the bundle differs.

    Args:
        bundle: The bundle.
        catalogue: Folder of the clips' catalogue below the root.
    Returns:
        Hexadecimal digits.
    """
    if bundle.uri is not None:  # its manifest has the hash of every file
        made = hashlib.sha256(Root(bundle.uri).read_bytes(BUNDLE_FILE)).hexdigest()
        return fingerprint(made, catalogue)
    return fingerprint(bundle.name, as_json(bundle.metadata.as_json()), catalogue)


def write_failure(folder: Root, row: Mapping[str, Any], origin: Mapping[str, Any]) -> dict[str, Any]:
    """Write why a clip has no map; what there was of an earlier map goes.

    Args:
        folder: The folder of the maps.
        row: Columns of `EXPLAINED`, the `reason` among them; those that are not given are null.
        origin: What the files say of how they were made, as in `write_explained`.
    Returns:
        The whole row.
    """
    remove_explained(folder, [str(row["clip_id"])])
    return _write_row(folder, row, origin)


def write_explained(
    folder: Root, row: Mapping[str, Any], cells: pa.Table, overlay: Overlay, origin: Mapping[str, Any]
) -> dict[str, Any]:
    """Write a clip's map, its picture and then its row.

    Args:
        folder: The folder of the maps.
        row: Columns of `EXPLAINED`; those that are not given are null.
        cells: The cells of the map.
        overlay: Kind of the picture, `webp` or `png`, and its bytes.
        origin: What the files say of how they were made: `bundle`, `catalogue` and the like, as the scores' file.
    Returns:
        The whole row.
    """
    name = name_clip_files(str(row["clip_id"]))
    with suppress(FileNotFoundError):  # so that no earlier map's row stands beside these cells if this is cut short
        folder.delete(CLIPS, f"{name}.parquet")
    metadata = {**(cells.schema.metadata or {}), METADATA_KEY: json.dumps(as_json(dict(origin)), sort_keys=True)}
    folder.write_table(cells.replace_schema_metadata(metadata), MAPS, f"{name}.parquet")
    kind, data = overlay
    folder.write_bytes(data, OVERLAYS, f"{name}.{kind}")
    return _write_row(folder, {**row, "overlay": f"{name}.{kind}"}, origin)


def _write_row(folder: Root, row: Mapping[str, Any], origin: Mapping[str, Any]) -> dict[str, Any]:
    whole = {name: row.get(name) for name in EXPLAINED.names}
    table = pa.Table.from_pylist([whole], schema=EXPLAINED)
    metadata = {METADATA_KEY: json.dumps(as_json(dict(origin)), sort_keys=True)}
    name = f"{name_clip_files(str(row['clip_id']))}.parquet"
    folder.write_table(table.replace_schema_metadata(metadata), CLIPS, name)
    return whole


def read_explained(folder: Root, clips: Sequence[str] | None = None, *, pictures: bool = False) -> pa.Table:
    """Read the rows of clips with maps, or with the reason why they have none.

    Args:
        folder: The folder of the maps, which may not exist.
        clips: Ids of the clips that are asked for; None: all.
        pictures: Whether the pictures are read too.
    Returns:
        Columns of `EXPLAINED`, by `clip_id`.
    """
    schema = pa.schema([column for column in EXPLAINED if pictures or column.name != "pictures"])
    names = folder.list_names(CLIPS, suffix=".parquet")
    if clips is not None:
        names = sorted(set(names) & {f"{name_clip_files(clip)}.parquet" for clip in clips})
    with ThreadPoolExecutor(_READERS) as pool:  # on S3 each is a round trip
        tables = list(pool.map(lambda name: folder.read_table(CLIPS, name, columns=schema.names), names))
    rows = [table.replace_schema_metadata(None).cast(schema) for table in tables]
    return pa.concat_tables(rows).sort_by("clip_id") if rows else schema.empty_table()


def read_origin(folder: Root) -> dict[str, Any]:
    """Read what the rows say of how they were made.

    Args:
        folder: The folder of the maps, which may not exist.
    Returns:
        `bundle`, `catalogue` and the like; empty where there is no row.
    """
    names = folder.list_names(CLIPS, suffix=".parquet")
    return folder.read_metadata(CLIPS, names[0]) if names else {}


def read_map(folder: Root, clip_id: str) -> pa.Table:
    """Read the cells of a clip's map.

    Args:
        folder: The folder of the maps.
        clip_id: Id of the clip, whose row has no `reason`.
    Returns:
        `clip_id, t, y, x, duration, height, width, effect, spread, noise, level`, a row a cell.
    """
    return folder.read_table(MAPS, f"{name_clip_files(clip_id)}.parquet")


def read_overlay(folder: Root, overlay: str) -> bytes:
    """Read the picture of a clip's map.

    Args:
        folder: The folder of the maps.
        overlay: Its name, as the clip's row has it.
    Returns:
        The file's bytes.
    """
    return folder.read_bytes(OVERLAYS, overlay)


def remove_explained(folder: Root, clips: Sequence[str]) -> None:
    """Remove the maps of clips, the row first: half a map is none.

    Args:
        folder: The folder of the maps.
        clips: Ids of the clips; those without a map are left out.
    """
    for name in map(name_clip_files, clips):
        overlays = [(OVERLAYS, f"{name}.{kind}") for kind in ("webp", "png")]
        for path in ((CLIPS, f"{name}.parquet"), (MAPS, f"{name}.parquet"), *overlays):
            with suppress(FileNotFoundError):
                folder.delete(*path)
