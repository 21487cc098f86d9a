"""Scores over time: every clip's sliding windows through the bundle's tiers, as if each were a clip."""

from __future__ import annotations

import logging
import time
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from m3ray.config import DecodeConfig, LimitsConfig, SlidingWindowConfig, TierConfigs, fingerprint
from m3ray.config.options import WorkOptions
from m3ray.datasets.catalogue import metadata_column
from m3ray.datasets.clip_contents import clip_stamps
from m3ray.errors import DecodeError
from m3ray.pipelines.extraction import planning
from m3ray.pipelines.extraction.decode_stage import process_decoder
from m3ray.pipelines.extraction.missing_features import WindowStage, compute_missing_windows
from m3ray.pipelines.extraction.records import WINDOW, WORK, DecodedClip, failure_of, pack_decoded_clips, unpack_work
from m3ray.pipelines.extraction.row_updates import drop_stale_rows
from m3ray.pipelines.extraction.storage_retries import make_retry
from m3ray.pipelines.extraction.version_checks import check_worker
from m3ray.pipelines.runtime.cluster import Resources
from m3ray.pipelines.runtime.worker_entry import enter_worker
from m3ray.schema import CATALOGUE_FILE, CONTENT, METADATA_TABLE
from m3ray.storage.catalogue_file import read_catalogue
from m3ray.storage.compaction import compact
from m3ray.storage.fault_codes import is_transient_reject
from m3ray.storage.rejects import REJECTS_FOLDER
from m3ray.storage.root import Root
from m3ray.storage.tier_index import read_tier_table
from m3ray.storage.versions import software_versions
from m3ray.tiers import Tier
from m3ray.video.sampling import DECODING
from m3ray.video.sliding_windows import iter_sliding_windows, sampling_rate, window_starts

logger = logging.getLogger(__name__)

_USUAL_SHOTS = 4  # of a clip whose shots are not known yet, for the line that says how far the work is


@dataclass(frozen=True)
class CuttingStage(ABC):
    """Cut clips into parts that are computed as clips are, one table each, so that memory holds one at a time.

    Args:
        decode: Sampling rate, size of a frame, and frames of a decoder window.
        limits: Per-clip resource limits.
        config: Length and step of the sliding windows, seconds, or how shots are found.
        ledger: Actor that knows whether the storage answers, as in `DecodeStage`.
        software: Versions in the job's process, where the stage is made before it travels to the workers.
    """

    decode: DecodeConfig
    limits: LimitsConfig
    config: SlidingWindowConfig
    ledger: Any = field(default=None, kw_only=True)
    software: Mapping[str, str] = field(default_factory=software_versions, kw_only=True)

    @abstractmethod
    def cut(self, clip: DecodedClip, data: bytes) -> Iterator[tuple[int, DecodedClip]]:
        """Cut a clip.

        Args:
            clip: The clip, as `WORK` has it.
            data: Bytes of its file.
        Yields:
            Each part's first frame, counted in sampled frames, and the part, whose seconds are still to be told.
        Raises:
            DecodeError: If the clip cannot be decoded to its end.
        """

    def __call__(self, batch: pa.Table) -> Iterator[pa.Table]:
        """Decode clips.

        Args:
            batch: Clips as rows of `WORK`.
        Yields:
            A row of `DECODED` for each decoded part; for a clip that cannot be decoded to its end, its failure last.
        """
        enter_worker()
        check_worker(self.software)
        for row in unpack_work(batch):
            yield from (pack_decoded_clips([part]) for part in self._decode(row))

    def _decode(self, clip: DecodedClip) -> Iterator[DecodedClip]:
        begun = time.perf_counter()
        try:
            data = make_retry(self.limits, self.ledger).read(clip.uri, self.limits.max_bytes)
            for start, part in self.cut(clip, data):
                yield as_row(replace(part, seconds=time.perf_counter() - begun), start)
                begun = time.perf_counter()
        except DecodeError as error:
            seconds = time.perf_counter() - begun
            yield as_row(replace(clip, failure=failure_of(error, error.stage), seconds=seconds), None)


@dataclass(frozen=True)
class SlidingWindowStage(CuttingStage):
    """Cut clips into their sliding windows."""

    def cut(self, clip: DecodedClip, data: bytes) -> Iterator[tuple[int, DecodedClip]]:
        """Cut a clip into its windows, as `CuttingStage` says."""
        decoded = process_decoder(self.decode, self.limits).windows(data)
        for window in iter_sliding_windows(decoded, self.decode.fps, self.config):
            frames = np.ascontiguousarray(window.frames)
            yield window.start, replace(clip, metadata=window.metadata, frames=frames)


def as_row(clip: DecodedClip, start: int | None) -> DecodedClip:
    """Give a clip's window an id of its own.

    Args:
        clip: The window, under its clip's id.
        start: First frame of the window, counted in sampled frames; None: what became of the clip as a whole.
    Returns:
        The row.
    """
    return replace(clip, clip_id=row_id(clip.clip_id, start), source_clip_id=clip.clip_id, window_start=start)


def row_id(clip_id: str, start: int | None) -> str:
    """Name a row of the windows' workspace, so that no two rows share a name whatever characters ids have.

    Args:
        clip_id: Id of the clip.
        start: First frame of the window, counted in sampled frames; None: the clip as a whole.
    Returns:
        An id that stands for the row alone; which window it is stands in the columns of `WINDOW`.
    """
    return f"{'' if start is None else start}@{clip_id}"


def compute_windows(
    workspace: Root,
    tiers: list[Tier],
    configs: TierConfigs,
    options: WorkOptions,
    config: SlidingWindowConfig,
    resources: Resources,
) -> Root:
    """Compute the sliding windows' features that are missing.

    Args:
        workspace: Has the clips' catalogue, with what decoding learned of each clip.
        tiers: Tiers that the bundle sees.
        configs: Settings of the tiers.
        options: Processors, per-clip limits, and what the job tolerates.
        config: Length and step of the sliding windows, seconds.
        resources: CPUs and GPUs of the cluster.
    Returns:
        A folder of the workspace with the windows' features, and a catalogue of the windows of these clips: `clip_id`
        (the row's own), `source_clip_id`, `window_start`.
    """
    # The name is that of earlier roots, whose windows are not computed again.
    folder = workspace.subroot(f"moments-{fingerprint(config, configs.decode, DECODING)}")
    clips = read_clips(workspace, partial(_count_windows, configs.decode.fps, config))
    logger.info(f"over time: {pc.sum(clips['windows'])} windows of {config.window:g} s of {clips.num_rows} clips")

    def make_stage(ledger: Any) -> CuttingStage:
        return SlidingWindowStage(configs.decode, options.limits, config, ledger=ledger)

    compute_parts(folder, clips, tiers, configs, options, resources, make_stage)
    return folder


def _count_windows(fps: float, config: SlidingWindowConfig, clip: Mapping[str, Any]) -> int:
    """How many sliding windows a clip has."""
    rate = sampling_rate(clip["native_fps"], fps, each_once=clip["sampled"] == clip["frames"])
    return len(window_starts(clip["sampled"], rate, config))


def compute_parts(
    folder: Root,
    clips: pa.Table,
    tiers: list[Tier],
    configs: TierConfigs,
    options: WorkOptions,
    resources: Resources,
    make_stage: Callable[[Any], Any],
) -> None:
    """Compute the features of clips' windows, or shots, that are missing, and write the catalogue of them.

    Args:
        folder: Folder of these windows.
        clips: As `read_clips` gives them; a clip whose number of windows is not known is computed.
        tiers: Tiers that the bundle sees.
        configs: Settings of the tiers.
        options: Processors, per-clip limits, and what the job tolerates.
        resources: CPUs and GPUs of the cluster.
        make_stage: From the crash ledger to the stage that cuts clips into windows.
    """
    plan = planning.plan(folder, pa.table({"clip_id": [], "uri": []}), tiers, configs, retry=False)
    _drop_stale_windows(folder, plan, clips)
    done = _count_done(folder, plan, clips)
    rows = clips.to_pylist()
    lacking = [row["windows"] is None or done[row["clip_id"]] < row["windows"] for row in rows]
    missing = clips.filter(pa.array(lacking, pa.bool_()))
    _forget_failures(folder, missing["clip_id"])
    work = [{**row, "tiers": [tier.name for tier in tiers]} for row in missing.to_pylist()]
    plan = replace(plan, work=pa.Table.from_pylist(work, schema=WORK))
    known = [row for row in rows if row["windows"] is not None]
    left = sum(row["windows"] - done[row["clip_id"]] for row in known) + _USUAL_SHOTS * (len(rows) - len(known))
    compute_missing_windows(plan, configs, options, resources, WindowStage(make_stage, left))
    # The folder may hold windows of other clips too, of an earlier request.
    windows = _read_windows(folder, plan)
    folder.write_table(windows.filter(pc.is_in(windows["source_clip_id"], clips["clip_id"])), CATALOGUE_FILE)


def read_clips(workspace: Root, count_windows: Callable[[Mapping[str, Any]], int | None]) -> pa.Table:
    """Read the decoded clips of a workspace.

    Args:
        workspace: Has the clips' catalogue, with what decoding learned of each clip.
        count_windows: From a clip, with `clip_id`, its content stamp, `frames`, `sampled` and `native_fps`, to the
            number of its windows; None: not known yet.
    Returns:
        `clip_id`, `uri`, the content stamp, `windows`.
    """
    catalogue = read_catalogue(workspace)
    columns = {"clip_id": catalogue["clip_id"], "uri": catalogue["uri"], CONTENT: clip_stamps(workspace, catalogue)}
    metadata = {name: metadata_column(catalogue, name) for name in ("frames", "sampled", "native_fps")}
    clips = [
        {**{name: row[name] for name in columns}, "windows": count_windows(row)}
        for row in pa.table({**columns, **metadata}).to_pylist()
        if row["sampled"]
    ]
    kinds = {"clip_id": pa.string(), "uri": pa.string(), CONTENT: pa.large_string(), "windows": pa.int64()}
    return pa.Table.from_pylist(clips, schema=pa.schema(kinds))


def _read_windows(folder: Root, plan: planning.Plan) -> pa.Table:
    """The windows that a folder holds metadata of: `clip_id, source_clip_id, window_start`, sorted by `clip_id`."""
    rows = folder.read_shards(*plan.folders[METADATA_TABLE])
    return name_windows(pa.table({"clip_id": pa.array([], pa.string())}) if rows is None else rows)


def name_windows(rows: pa.Table) -> pa.Table:
    """Tell which window of which clip each row is.

    Args:
        rows: `clip_id`, and the columns of `WINDOW`; these are null, or absent, where an older m3ray wrote the rows: it
            named a window `start@clip_id`, and a clip that could not be decoded by the clip's own id.
    Returns:
        `clip_id`, `source_clip_id`, `window_start`, as many rows; the last two are null for a clip as a whole.
    """
    ids = rows["clip_id"].cast(pa.string()).combine_chunks()
    parts = pc.extract_regex(ids, r"(?s)^(?P<start>\d{1,15})@(?P<clip>.*)$")
    clips, starts = pc.struct_field(parts, "clip"), pc.struct_field(parts, "start").cast(pa.int64())
    if set(WINDOW.names) <= set(rows.column_names):
        source, start = rows["source_clip_id"].combine_chunks(), rows["window_start"].combine_chunks()
        clips = pc.coalesce(source, clips)
        starts = pc.if_else(pc.is_valid(source), start, starts)
    return pa.table({"clip_id": ids, "source_clip_id": clips, "window_start": starts})


def _drop_stale_windows(folder: Root, plan: planning.Plan, clips: pa.Table) -> None:
    """Drop the windows of clips whose content is another one by now."""
    windows = _read_windows(folder, plan)
    owners = pc.index_in(windows["source_clip_id"], value_set=clips["clip_id"])
    contents = clips[CONTENT].take(owners)
    stamps = pa.table({"clip_id": windows["clip_id"], CONTENT: contents}).filter(pc.is_valid(owners))
    for where in plan.folders.values():
        # A killed job may have left a tier's row without its metadata: nothing tells what it was computed from.
        ids = folder.read_ids(*where)
        compact(folder, *where, without=ids.filter(pc.invert(pc.is_in(ids, value_set=windows["clip_id"]))))
        drop_stale_rows(folder, where, stamps)


def _count_done(folder: Root, plan: planning.Plan, clips: pa.Table) -> Mapping[str, int]:
    """How many windows of each clip stand in every tier or among the rejects."""
    windows = _read_windows(folder, plan)
    for tier in plan.tiers:
        windows = windows.filter(pc.is_in(windows["clip_id"], value_set=folder.read_ids(*plan.folders[tier.name])))
    windows = pa.concat_tables([windows, _read_rejected_windows(folder, clips)])
    windows = windows.filter(pc.is_valid(windows["window_start"]))
    windows = windows.filter(pc.is_in(windows["source_clip_id"], value_set=clips["clip_id"]))
    unique = windows.select(WINDOW.names).group_by(WINDOW.names).aggregate([])
    return Counter(unique["source_clip_id"].to_pylist())


def _read_rejected_windows(folder: Root, clips: pa.Table) -> pa.Table:
    """The windows that were rejected for good, as `name_windows` tells them."""
    rejects = folder.read_shards(*REJECTS_FOLDER)
    if rejects is None:
        return name_windows(pa.table({"clip_id": pa.array([], pa.string())}))
    rejects = rejects.filter(pc.invert(is_transient_reject(rejects)))
    windows = name_windows(rejects)
    # An older m3ray rejected a clip that is called `12@beach.mp4` by its id alone, as it did window 12 of `beach.mp4`:
    # their files tell them apart.
    owners = pc.index_in(windows["source_clip_id"], value_set=clips["clip_id"])
    same_file = pc.equal(clips["uri"].take(owners), rejects["uri"])
    if "source_clip_id" in rejects.column_names:
        same_file = pc.or_kleene(same_file, pc.is_valid(rejects["source_clip_id"]))
    return windows.filter(same_file)


def _forget_failures(folder: Root, clips: pa.ChunkedArray) -> None:
    """Drop the rejects of clips as a whole, which are now tried again."""
    if len(clips):
        ids = pa.chunked_array([[row_id(clip, None) for clip in clips.to_pylist()]], pa.string())
        compact(folder, *REJECTS_FOLDER, without=ids)


def make_curves(folder: Root, fps: float, scores: pd.DataFrame) -> pd.DataFrame:
    """Gather the scores of sliding windows into a curve a clip.

    Args:
        folder: The windows' folder, as `compute_windows` leaves it.
        fps: Frames a second that were sampled, at most.
        scores: `clip_id` (the row's own), `score` of each window.
    Returns:
        A row a clip: `clip_id`, `times` (the windows' middles, seconds), `curve` (their scores).
    """
    windows = read_catalogue(folder).to_pandas().set_index("clip_id").loc[scores["clip_id"]]
    metadata = read_tier_table(folder, METADATA_TABLE).to_pandas().set_index("clip_id").loc[scores["clip_id"]]
    rate = np.minimum(metadata["native_fps"].to_numpy(), fps)
    seconds = (windows["window_start"].to_numpy() + metadata["sampled"].to_numpy() / 2) / rate
    clips = windows["source_clip_id"].to_numpy()
    frame = pd.DataFrame({"clip_id": clips, "score": scores["score"].to_numpy(), "seconds": seconds})
    groups = frame.sort_values("seconds").groupby("clip_id")
    return groups.agg(times=("seconds", list), curve=("score", list)).reset_index()
