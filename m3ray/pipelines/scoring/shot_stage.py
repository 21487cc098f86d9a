"""Clips cut into their shots on Ray: each shot is a row of the dataflow as a clip is, a long one a row a window."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from m3ray.pipelines.extraction.decode_stage import process_decoder
from m3ray.pipelines.extraction.records import DecodedClip, Part
from m3ray.pipelines.scoring.over_time import CuttingStage
from m3ray.schema import CONTENT
from m3ray.storage.root import Root
from m3ray.video.shots.find import find_shots
from m3ray.video.shots.pieces import iter_shot_pieces
from m3ray.video.shots.timeline import Shots

FOUND = ("artifacts", "shots")
"""Folder of the shots that were found, below that of their features."""
FOUND_SHOTS = pa.schema(
    [
        ("clip_id", pa.string()),
        (CONTENT, pa.string()),
        ("frames", pa.list_(pa.int64())),
        ("slots", pa.list_(pa.int64())),
        ("starts", pa.list_(pa.float64())),
        ("duration", pa.float64()),
        ("shown", pa.int64()),
        ("sampled", pa.int64()),
    ]
)
_ARRAYS = ("frames", "slots", "starts")


def pack_shots(clip_id: str, content: str | None, shots: Shots) -> pa.Table:
    """Make a row of a clip's shots.

    Args:
        clip_id: Id of the clip.
        content: Content stamp of the clip; None: not known.
        shots: Its shots.
    Returns:
        A row of `FOUND_SHOTS`.
    """
    lists = {name: getattr(shots, name).tolist() for name in _ARRAYS}
    numbers = {"duration": shots.duration, "shown": shots.shown, "sampled": shots.sampled}
    return pa.Table.from_pylist([{"clip_id": clip_id, CONTENT: content, **lists, **numbers}], schema=FOUND_SHOTS)


def unpack_shots(rows: pa.Table) -> dict[str, Shots]:
    """Read the shots of clips.

    Args:
        rows: Rows of `FOUND_SHOTS`.
    Returns:
        Id of each clip to its shots.
    """
    found = {}
    for row in rows.to_pylist():
        kinds = (np.int64, np.int64, np.float64)
        arrays = {name: np.array(row[name], kind) for name, kind in zip(_ARRAYS, kinds, strict=True)}
        found[row["clip_id"]] = Shots(**arrays, duration=row["duration"], shown=row["shown"], sampled=row["sampled"])
    return found


@dataclass(frozen=True)
class ShotStage(CuttingStage):
    """Find the shots of clips, and cut them into these; memory holds two windows of frames, however long a shot is.

    Args:
        folder: Folder of the shots' features; what was found is kept in it before a clip is cut.
        known: Shots that were found before, rows of `FOUND_SHOTS`.
    """

    folder: Root
    known: pa.Table

    def cut(self, clip: DecodedClip, data: bytes) -> Iterator[tuple[int, DecodedClip]]:
        """Cut a clip into its shots, as `CuttingStage` says; a long shot comes in several windows."""
        shots, lead = self._find(clip, data), None
        decoded = process_decoder(self.decode, self.limits).windows(data)
        for piece in iter_shot_pieces(decoded, shots, self.decode.window_frames):
            frames = np.ascontiguousarray(piece.frames)
            part = Part(piece.index, piece.count) if piece.count > 1 else None
            before = lead if piece.index else None
            lead = frames[-1:].copy()
            row = replace(clip, metadata=piece.metadata, frames=frames, lead=before, part=part)
            yield int(shots.slots[piece.shot]), row

    def _find(self, clip: DecodedClip, data: bytes) -> Shots:
        """The clip's shots: those found before, or else found now, and kept."""
        row = pc.index(self.known["clip_id"], clip.clip_id).as_py()
        if row >= 0:
            return unpack_shots(self.known.slice(row, 1))[clip.clip_id]
        shots = find_shots(process_decoder(self.decode, self.limits), data, self.config)
        self.folder.write_shard(pack_shots(clip.clip_id, clip.content, shots), FOUND, {})
        return shots
