"""The tables on disk: what their columns are called and hold. Every reader and writer takes them from here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

CATALOGUE_FILE = "catalogue.parquet"


SPLITS = ("train", "val", "test")
RAW_FEATURES = ("brightness", "contrast", "blurriness", "mean_optical_flow", "hog", "size_bytes")
HOG_COMPONENTS = 10
SIMILARITY = "similarity"  # the measure that M3-S uses; `similarity:NAME` is any other one


def vector(width: int) -> pa.DataType:
    """A vector column that pandas, Polars, DuckDB and plain pyarrow all read.

    The values are written as not null: Parquet's fixed_size_list keeps its width through the Arrow schema alone.
    """
    return pa.list_(pa.float32(), width)


CATALOGUE = pa.schema(
    [
        ("clip_id", pa.string()),
        ("uri", pa.string()),
        ("split", pa.string()),
        ("score", pa.float64()),
        ("labels", pa.list_(pa.string())),
    ]
)

LISTING = "list"  # the stage of rejects that were never read
# Reasons in `rejects/` that say nothing of the clip: the next job tries again by itself.
STORAGE_FAILED = "storage_failed"
TRANSIENT = (STORAGE_FAILED,)

# Beside the numbers of a clip: what they were computed from, as `m3ray.storage.contents` writes it. No feature.
CONTENT = "content"

REJECTS = pa.schema(
    [
        ("clip_id", pa.string()),
        ("uri", pa.string()),
        ("stage", pa.string()),
        ("error", pa.string()),
        ("message", pa.string()),
        (CONTENT, pa.string()),
    ]
)

# The key in a catalogue column's own metadata under which stands which of FACTS it is, whatever its name.
LEARNED_KEY = b"m3ray.learned"

FACTS = pa.schema(
    [
        ("clip_id", pa.string()),
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("native_fps", pa.float64()),
        ("duration", pa.float64()),
        ("frames", pa.int32()),
        ("sampled", pa.int32()),
        ("video_bytes", pa.int64()),
        ("container", pa.string()),
        ("decoder", pa.string()),
    ]
)

RAW = pa.schema(
    [
        ("clip_id", pa.string()),
        ("brightness", pa.float32()),
        ("contrast", pa.float32()),
        ("blurriness", pa.float32()),
        ("mean_optical_flow", pa.float32()),
        ("hog", vector(HOG_COMPONENTS)),
        # Beyond 2^24 a float32 no longer holds every byte count.
        ("size_bytes", pa.float64()),
    ]
)


def feature_names(schema: pa.Schema) -> list[str]:
    """The columns of a tier's shards that are numbers: neither the clip's id, nor what they were computed from.

    A user's tier may have numbers that are called `content`; ours is text.
    """
    return [column.name for column in schema if column.name != "clip_id" and not _is_content(column)]


def _is_content(column: pa.Field) -> bool:
    return column.name == CONTENT and pa.types.is_string(column.type)


def vector_schema(column: str, width: int) -> pa.Schema:
    """The schema of a tier that is one vector a clip."""
    return pa.schema([("clip_id", pa.string()), (column, vector(width))])


@dataclass(frozen=True)
class Clip:
    """One video, one row of the catalogue.

    Args:
        clip_id: unique and stable under re-listing.
        uri: path or URI of the video; empty where only brought features exist.
        split: `train`, `val` or `test`; None until drawn.
        score: memorability in [0, 1]; None if unknown.
        labels: action labels, possibly none.
        extra: the user's further columns, kept as they came.
    """

    clip_id: str
    uri: str
    split: str | None = None
    score: float | None = None
    labels: tuple[str, ...] = ()
    extra: Mapping[str, Any] = field(default_factory=dict)


def catalogue_table(clips: Sequence[Clip]) -> pa.Table:
    """The catalogue of `clips`, the user's further columns after ours."""
    columns: dict[str, Any] = {
        "clip_id": [c.clip_id for c in clips],
        "uri": [c.uri for c in clips],
        "split": [c.split for c in clips],
        "score": [c.score for c in clips],
        "labels": [list(c.labels) for c in clips],
    }
    table = pa.table(columns, schema=CATALOGUE)
    extra = dict.fromkeys(name for c in clips for name in c.extra if name not in columns)
    for name in extra:
        table = table.append_column(name, pa.array([c.extra.get(name) for c in clips], from_pandas=True))
    return table
