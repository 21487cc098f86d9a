"""The rows that travel between the stages of extraction, as explicit Arrow tables."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pyarrow as pa

from m3ray.errors import DecodeError, M3RayError
from m3ray.schema import CONTENT
from m3ray.video.sampling import Facts

# Frames are one binary value a clip with its shape beside it: Arrow counts its bytes right, so Ray's
# backpressure holds, and the actor reads it without a copy.
WORK = pa.schema(
    [("clip_id", pa.string()), ("uri", pa.string()), ("tiers", pa.list_(pa.string())), (CONTENT, pa.string())]
)
DECODED = pa.schema(
    [
        *WORK,
        ("facts", pa.string()),
        ("frames", pa.large_binary()),
        ("shape", pa.list_(pa.int32())),
        ("video", pa.large_binary()),
        ("stage", pa.string()),
        ("error", pa.string()),
        ("message", pa.string()),
        ("decode_seconds", pa.float64()),
    ]
)


@dataclass(frozen=True)
class Failure:
    """Why a clip was rejected."""

    stage: str
    error: str
    message: str


def failure_of(error: Exception, stage: str) -> Failure:
    """The reject row of an exception."""
    if isinstance(error, DecodeError):
        return Failure(error.stage, error.reason, error.message)
    name = type(error).__name__
    return Failure(stage, name, str(error) if isinstance(error, M3RayError) else f"{name}: {error}")


def crashed(stage: str, strikes: int) -> Failure:
    """The reject row of a clip that killed the process it was computed in, again and again."""
    return Failure(
        stage,
        "worker_crashed",
        f"the process that had it in hand died {strikes} times, the last times with this clip alone: a crash in native "
        "code, or memory (limits.strikes; Ray's logs tell which)",
    )


@dataclass(frozen=True)
class Decoded:
    """One clip after decoding.

    Args:
        frames: the only window, uint8 (T, H, W, 3); None where the clip failed, or is longer than a window: then
            the tier actor decodes it itself.
        content: its stamp when it was listed.
        video: the bytes of such a clip, uint8 (N,), so that it is fetched once; None: the tier actor reads it.
    """

    clip_id: str
    uri: str
    tiers: tuple[str, ...]
    facts: Facts | None = None
    frames: np.ndarray | None = None
    failure: Failure | None = None
    seconds: float = 0.0
    content: str | None = None
    video: np.ndarray | None = None


@dataclass(frozen=True)
class Computed:
    """One clip after the tiers: column values of each tier, or why it failed."""

    clip_id: str
    uri: str
    facts: Facts | None
    values: Mapping[str, Mapping[str, np.ndarray]] = field(default_factory=dict)
    failure: Failure | None = None
    decode_seconds: float = 0.0
    tier_seconds: Mapping[str, float] = field(default_factory=dict)
    content: str | None = None

    def failed(self, failure: Failure) -> Computed:
        return replace(self, values={}, failure=failure)


def work_of(clips: pa.Table) -> pa.Table:
    """Clips as work for no tier: to be decoded, and no more.

    Args:
        clips: `clip_id`, `uri`.
    """
    count = clips.num_rows
    columns = {"tiers": pa.array([[]] * count, WORK.field("tiers").type), CONTENT: pa.nulls(count, pa.string())}
    return pa.table({"clip_id": clips["clip_id"], "uri": clips["uri"], **columns}).cast(WORK)


def work_rows(batch: pa.Table) -> list[Decoded]:
    """The clips of a batch of work."""
    rows = batch.select(WORK.names).to_pylist()
    return [Decoded(row["clip_id"], row["uri"], tuple(row["tiers"]), content=row[CONTENT]) for row in rows]


def decoded_table(rows: Sequence[Decoded]) -> pa.Table:
    """Clips after decoding, as an Arrow table."""
    failures = [row.failure for row in rows]
    columns: dict[str, Any] = {
        "clip_id": [row.clip_id for row in rows],
        "uri": [row.uri for row in rows],
        "tiers": [list(row.tiers) for row in rows],
        CONTENT: [row.content for row in rows],
        "facts": [None if row.facts is None else json.dumps(row.facts.as_dict()) for row in rows],
        "frames": _binary([row.frames for row in rows]),
        "shape": [None if row.frames is None else list(row.frames.shape) for row in rows],
        "video": _binary([row.video for row in rows]),
        "stage": [None if f is None else f.stage for f in failures],
        "error": [None if f is None else f.error for f in failures],
        "message": [None if f is None else f.message for f in failures],
        "decode_seconds": [row.seconds for row in rows],
    }
    return pa.table(columns, schema=DECODED)


def _binary(clips: Sequence[np.ndarray | None]) -> pa.Array:
    """Arrays as bytes; that of one clip, as the decoding stage gives them, without a copy."""
    if len(clips) == 1 and clips[0] is not None:
        frames = np.ascontiguousarray(clips[0])
        ends = np.array([0, frames.nbytes], np.int64)
        return pa.LargeBinaryArray.from_buffers(pa.large_binary(), 1, [None, pa.py_buffer(ends), pa.py_buffer(frames)])
    return pa.array([None if frames is None else frames.tobytes() for frames in clips], pa.large_binary())


def decoded_rows(batch: pa.Table) -> list[Decoded]:
    """The clips of a batch of decoded ones; their frames and bytes are views of the batch's memory."""
    light = batch.drop_columns(["frames", "video"]).to_pylist()
    frames, videos = _views(batch["frames"]), _views(batch["video"])
    return [_decoded(*parts) for parts in zip(light, frames, videos, strict=True)]


def _views(column: pa.ChunkedArray) -> list[np.ndarray | None]:
    array = column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()
    return [np.frombuffer(value.as_buffer(), np.uint8) if value.is_valid else None for value in array]


def _decoded(row: dict[str, Any], frames: np.ndarray | None, video: np.ndarray | None) -> Decoded:
    failure = None if row["error"] is None else Failure(row["stage"], row["error"], row["message"])
    pixels = None if frames is None else frames.reshape(row["shape"])
    facts = None if row["facts"] is None else Facts(**json.loads(row["facts"]))
    tiers, seconds = tuple(row["tiers"]), row["decode_seconds"]
    return Decoded(row["clip_id"], row["uri"], tiers, facts, pixels, failure, seconds, row[CONTENT], video)


def computed_table(rows: Sequence[Computed], packed: Mapping[str, Sequence[bytes | None]]) -> pa.Table:
    """Clips after the tiers; `packed` holds each tier's columns as bytes, None where it was not asked for."""
    failures = [row.failure for row in rows]
    columns: dict[str, Any] = {
        "clip_id": pa.array([row.clip_id for row in rows], pa.string()),
        "uri": pa.array([row.uri for row in rows], pa.string()),
        CONTENT: pa.array([row.content for row in rows], pa.string()),
        "facts": pa.array([None if r.facts is None else json.dumps(r.facts.as_dict()) for r in rows], pa.string()),
        "stage": pa.array([None if f is None else f.stage for f in failures], pa.string()),
        "error": pa.array([None if f is None else f.error for f in failures], pa.string()),
        "message": pa.array([None if f is None else f.message for f in failures], pa.string()),
        "seconds": pa.array([json.dumps({"decode": r.decode_seconds, **r.tier_seconds}) for r in rows], pa.string()),
    }
    for tier, values in packed.items():
        columns[f"tier_{tier}"] = pa.array(list(values), pa.large_binary())
    return pa.table(columns)
