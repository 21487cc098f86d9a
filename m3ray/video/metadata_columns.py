"""Metadata of clips in Arrow tables: one struct a clip between the stages, one column a field in a root.

Apart from the class itself, as the decoding child, whose memory is limited, does without Arrow.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from m3ray.schema import VIDEO_METADATA
from m3ray.video.metadata import VideoMetadata

METADATA_TYPE = pa.struct([column for column in VIDEO_METADATA if column.name != "clip_id"])


def metadata_array(clips: Sequence[VideoMetadata | None]) -> pa.StructArray:
    """Convert metadata to an Arrow column.

    Args:
        clips: metadata of one clip each; None where a clip could not be decoded.
    Returns:
        Structs of `METADATA_TYPE`, null for None, one a clip.
    """
    return pa.array([None if clip is None else clip.as_dict() for clip in clips], METADATA_TYPE)


def metadata_from_struct(value: Mapping[str, Any] | None) -> VideoMetadata | None:
    """Convert one value of such a column back.

    Args:
        value: a struct of `METADATA_TYPE` as a Python dictionary; None where the column is null.
    Returns:
        The metadata, or None for None.
    """
    return None if value is None else VideoMetadata(**value)


def metadata_table(clip_ids: pa.ChunkedArray, clips: pa.ChunkedArray) -> pa.Table:
    """Lay metadata out as the table that a root keeps: one column a field.

    Args:
        clip_ids: id of each clip, strings.
        clips: structs of `METADATA_TYPE`, none of them null, as many.
    Returns:
        A table with the schema `m3ray.schema.VIDEO_METADATA`.
    """
    return pa.table([clip_ids, *clips.combine_chunks().flatten()], schema=VIDEO_METADATA)
