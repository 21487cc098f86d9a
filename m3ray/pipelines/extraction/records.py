"""Records that travel between the stages of an extraction, as dataclasses and as Arrow tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
import pyarrow as pa

from m3ray.errors import DecodeError, M3RayError
from m3ray.schema import CONTENT
from m3ray.tiers import WindowFeatures
from m3ray.video.metadata import VideoMetadata
from m3ray.video.metadata_columns import METADATA_TYPE, metadata_array, metadata_from_struct

WORK = pa.schema(
    [("clip_id", pa.string()), ("uri", pa.string()), ("tiers", pa.list_(pa.string())), (CONTENT, pa.string())]
)
# Of a row that is a sliding window: the id of its clip, and its first frame, counted in sampled frames. A clip that
# could not be cut into windows has the id alone; rows that are whole clips have neither.
WINDOW = pa.schema([("source_clip_id", pa.string()), ("window_start", pa.int64())])
# Of a row that is one of a long clip's consecutive windows: which one.
PART = pa.struct([("index", pa.int32()), ("count", pa.int32()), ("attempt", pa.int32())])
# Frames are one binary value a clip with its shape beside it: Arrow counts its bytes right, so that Ray's backpressure
# holds, and the actor reads it without a copy.
DECODED = pa.schema(
    [
        *WORK,
        *WINDOW,
        ("part", PART),
        ("metadata", METADATA_TYPE),
        ("frames", pa.large_binary()),
        ("shape", pa.list_(pa.int32())),
        ("lead", pa.large_binary()),
        ("stage", pa.string()),
        ("error", pa.string()),
        ("message", pa.string()),
        ("decode_seconds", pa.float64()),
    ]
)

_DEVICE_STAGE = "device"
DEVICE_LOST = "device_lost"  # word for the clips that a banned GPU's process hands back; it never reaches `rejects/`
SECONDS = pa.map_(pa.string(), pa.float64())  # stage, or tier, to seconds


@dataclass(frozen=True)
class Failure:
    """Why a clip was rejected; the columns of a reject.

    Args:
        stage: Where it failed: `read`, `sniff`, `demux`, `decode`, `tier`, or `tier:NAME`.
        error: Machine-readable word for the reason.
        message: What was got, what was expected, and what to do.
    """

    stage: str
    error: str
    message: str


def failure_of(error: Exception, stage: str) -> Failure:
    """Failure of a clip, from the exception that it raised.

    Args:
        error: The exception.
        stage: Where it was raised, unless the exception says so itself.
    Returns:
        The failure.
    """
    if isinstance(error, DecodeError):
        return Failure(error.stage, error.reason, error.message)
    name = type(error).__name__
    return Failure(stage, name, str(error) if isinstance(error, M3RayError) else f"{name}: {error}")


def crash_failure(stage: str, crash_count: int, reason: str = "") -> Failure:
    """Failure of a clip that killed its process again and again.

    Args:
        stage: Stage that the process ran: `decode` or `tier`.
        crash_count: Number of processes that died.
        reason: What CUDA said, on a GPU that computed other clips; empty if it said nothing.
    Returns:
        The failure.
    """
    cause = reason or "a crash in native code, or memory"
    return Failure(
        stage,
        "worker_crashed",
        f"the process that computed it died {crash_count} times, the last times with this clip alone: {cause} "
        "(limits.crash-count; Ray's logs tell which)",
    )


def device_failure() -> Failure:
    """What stands in a clip's row that a process on a banned GPU hands back: no reject, it is computed elsewhere."""
    return Failure(_DEVICE_STAGE, DEVICE_LOST, "the job stopped using its GPU")


@dataclass(frozen=True)
class Part:
    """Which of a clip's consecutive windows a row is.

    Args:
        index: Position of the window in its clip, from 0.
        count: Number of windows of the clip.
        attempt: Number of times that the clip was begun anew, as its frames are not shown when its packets say; windows
            of an earlier attempt are void.
    """

    index: int
    count: int
    attempt: int = 0


@dataclass(frozen=True)
class DecodedClip:
    """A clip, or a window of one, after decoding.

    Args:
        clip_id: Id of the clip, or of the window.
        uri: Path or URI of the video.
        tiers: Names of the tiers to compute.
        metadata: Metadata of the video; None if it could not be decoded.
        frames: The window, uint8 (T, H, W, 3); None if the clip failed.
        failure: Why the clip was rejected; None if it was not.
        seconds: Time that decoding took, seconds.
        content: Content stamp from when the clip was listed; None if it was not looked at.
        source_clip_id: Id of the clip that a sliding window was cut from; None of a whole clip.
        window_start: First frame of a sliding window, counted in sampled frames; None of a whole clip.
        part: Which of its consecutive windows this is, of a clip that has several; else None.
        lead: The frame before the window, uint8 (1, H, W, 3); None in the first window.
    """

    clip_id: str
    uri: str
    tiers: tuple[str, ...]
    metadata: VideoMetadata | None = None
    frames: np.ndarray | None = None
    failure: Failure | None = None
    seconds: float = 0.0
    content: str | None = None
    source_clip_id: str | None = None
    window_start: int | None = None
    part: Part | None = None
    lead: np.ndarray | None = None

    @property
    def row_id(self) -> str:
        """What tells this row from all others of an extraction."""
        return name_row(self.clip_id, self.part)


def name_row(clip_id: str, part: Part | None) -> str:
    """Name a row, so that no two windows of a clip share a name.

    Args:
        clip_id: Id of the clip.
        part: Which window of it; None if the row is all of it.
    """
    return clip_id if part is None else f"{part.attempt}.{part.index}/{clip_id}"


@dataclass(frozen=True)
class ComputedClip:
    """A clip, or a window of one, after the tiers.

    Args:
        clip_id: Id of the clip, or of the window.
        uri: Path or URI of the video.
        metadata: Metadata of the video; None if it could not be decoded.
        values: Tier to its column values; of a window that is a part of its clip they are in `windows`.
        failure: Why the clip was rejected; None if it was not.
        decode_seconds: Time that decoding took, seconds.
        tier_seconds: Tier to the time that it took, seconds.
        content: Content stamp from when the clip was listed; None if it was not looked at.
        source_clip_id: Id of the clip that a window was cut from; None of a whole clip.
        window_start: First frame of a sliding window, counted in sampled frames; None of a whole clip.
        part: Which of its consecutive windows this is, of a clip that has several; else None.
        windows: Tier to the weighted column values of a part.
    """

    clip_id: str
    uri: str
    metadata: VideoMetadata | None
    values: Mapping[str, Mapping[str, np.ndarray]] = field(default_factory=dict)
    failure: Failure | None = None
    decode_seconds: float = 0.0
    tier_seconds: Mapping[str, float] = field(default_factory=dict)
    content: str | None = None
    source_clip_id: str | None = None
    window_start: int | None = None
    part: Part | None = None
    windows: Mapping[str, WindowFeatures] = field(default_factory=dict)

    def with_failure(self, failure: Failure) -> ComputedClip:
        """The clip as rejected, without values.

        Args:
            failure: Why it is rejected.
        Returns:
            A copy.
        """
        return replace(self, values={}, windows={}, failure=failure)


def make_work_table(clips: pa.Table) -> pa.Table:
    """Make work of clips for no tier: they are decoded, and no more.

    Args:
        clips: Columns `clip_id` and `uri`.
    Returns:
        Rows of `WORK`.
    """
    count = clips.num_rows
    columns = {"tiers": pa.array([[]] * count, WORK.field("tiers").type), CONTENT: pa.nulls(count, pa.string())}
    return pa.table({"clip_id": clips["clip_id"], "uri": clips["uri"], **columns}).cast(WORK)


def unpack_work(batch: pa.Table) -> list[DecodedClip]:
    """Clips to decode, from a batch of work.

    Args:
        batch: Rows of `WORK`.
    Returns:
        A clip a row.
    """
    rows = batch.select(WORK.names).to_pylist()
    return [DecodedClip(row["clip_id"], row["uri"], tuple(row["tiers"]), content=row[CONTENT]) for row in rows]


def pack_decoded_clips(rows: Sequence[DecodedClip]) -> pa.Table:
    """Decoded clips as an Arrow table.

    Args:
        rows: The clips.
    Returns:
        Rows of `DECODED`.
    """
    failures = [row.failure for row in rows]
    columns: dict[str, Any] = {
        "clip_id": [row.clip_id for row in rows],
        "uri": [row.uri for row in rows],
        "tiers": [list(row.tiers) for row in rows],
        CONTENT: [row.content for row in rows],
        **_window_columns(rows),
        "part": _part_column(rows),
        "metadata": metadata_array([row.metadata for row in rows]),
        "frames": _binary([row.frames for row in rows]),
        "shape": [None if row.frames is None else list(row.frames.shape) for row in rows],
        "lead": _binary([row.lead for row in rows]),
        "stage": [None if f is None else f.stage for f in failures],
        "error": [None if f is None else f.error for f in failures],
        "message": [None if f is None else f.message for f in failures],
        "decode_seconds": [row.seconds for row in rows],
    }
    return pa.table(columns, schema=DECODED)


def _window_columns(rows: Sequence[DecodedClip] | Sequence[ComputedClip]) -> dict[str, pa.Array]:
    return {column.name: pa.array([getattr(row, column.name) for row in rows], column.type) for column in WINDOW}


def _part_column(rows: Sequence[DecodedClip] | Sequence[ComputedClip]) -> pa.Array:
    return pa.array([None if row.part is None else asdict(row.part) for row in rows], PART)


def add_window_columns(table: pa.Table, rows: pa.Table) -> pa.Table:
    """Append which window of which clip each row is, if rows are sliding windows.

    Args:
        table: The rows as they go to disk.
        rows: The same rows with the columns of `WINDOW`.
    Returns:
        The table with the columns of `WINDOW`; `table` itself if the rows are whole clips.
    """
    if rows["source_clip_id"].null_count == rows.num_rows:
        return table
    for name in WINDOW.names:
        table = table.append_column(name, rows[name])
    return table


def _binary(clips: Sequence[np.ndarray | None]) -> pa.Array:
    """Arrays as bytes; a single one, as the decoding stage has it, without a copy."""
    if len(clips) == 1 and clips[0] is not None:
        frames = np.ascontiguousarray(clips[0])
        ends = np.array([0, frames.nbytes], np.int64)
        return pa.LargeBinaryArray.from_buffers(pa.large_binary(), 1, [None, pa.py_buffer(ends), pa.py_buffer(frames)])
    return pa.array([None if frames is None else frames.tobytes() for frames in clips], pa.large_binary())


def unpack_decoded_clips(batch: pa.Table) -> list[DecodedClip]:
    """Clips from a batch of decoded ones.

    Args:
        batch: Rows of `DECODED`.
    Returns:
        A clip a row; frames and bytes are views of the batch's memory.
    """
    scalars = batch.drop_columns(["frames", "lead"]).to_pylist()
    frames, leads = _views(batch["frames"]), _views(batch["lead"])
    return [_unpack_decoded_clip(*parts) for parts in zip(scalars, frames, leads, strict=True)]


def _views(column: pa.ChunkedArray) -> list[np.ndarray | None]:
    array = column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()
    return [np.frombuffer(value.as_buffer(), np.uint8) if value.is_valid else None for value in array]


def _unpack_decoded_clip(row: dict[str, Any], frames: np.ndarray | None, lead: np.ndarray | None) -> DecodedClip:
    failure = None if row["error"] is None else Failure(row["stage"], row["error"], row["message"])
    pixels = None if frames is None else frames.reshape(row["shape"])
    before = None if lead is None else lead.reshape([1, *row["shape"][1:]])
    metadata = metadata_from_struct(row["metadata"])
    tiers, seconds = tuple(row["tiers"]), row["decode_seconds"]
    window = {name: row[name] for name in WINDOW.names}
    part = None if row["part"] is None else Part(**row["part"])
    clip = (row["clip_id"], row["uri"], tiers)
    return DecodedClip(*clip, metadata, pixels, failure, seconds, row[CONTENT], **window, part=part, lead=before)


def _stage_seconds(row: ComputedClip) -> dict[str, float]:
    return {"decode": row.decode_seconds, **row.tier_seconds}


def pack_computed_clips(rows: Sequence[ComputedClip], packed: Mapping[str, Sequence[bytes | None]]) -> pa.Table:
    """Computed clips as an Arrow table.

    Args:
        rows: The clips.
        packed: Tier to the bytes of each clip's columns; None where the tier was not computed.
    Returns:
        A row a clip: its id, URI, content, window, metadata, failure and seconds a stage, and `tier_NAME` of each tier.
    """
    failures = [row.failure for row in rows]
    columns: dict[str, Any] = {
        "clip_id": pa.array([row.clip_id for row in rows], pa.string()),
        "uri": pa.array([row.uri for row in rows], pa.string()),
        CONTENT: pa.array([row.content for row in rows], pa.string()),
        **_window_columns(rows),
        "part": _part_column(rows),
        "metadata": metadata_array([row.metadata for row in rows]),
        "stage": pa.array([None if f is None else f.stage for f in failures], pa.string()),
        "error": pa.array([None if f is None else f.error for f in failures], pa.string()),
        "message": pa.array([None if f is None else f.message for f in failures], pa.string()),
        "seconds": pa.array([list(_stage_seconds(row).items()) for row in rows], SECONDS),
    }
    for tier, values in packed.items():
        columns[f"tier_{tier}"] = pa.array(list(values), pa.large_binary())
    return pa.table(columns)
