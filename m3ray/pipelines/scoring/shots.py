"""Scores by shots: every clip's shots through the bundle's tiers, and the table of their scores."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from m3ray.config import DecodeConfig, SlidingWindowConfig, TierConfigs, fingerprint
from m3ray.config.options import PredictOptions, WorkOptions
from m3ray.pipelines.extraction.row_updates import drop_stale_rows
from m3ray.pipelines.runtime.cluster import Resources
from m3ray.pipelines.scoring.over_time import CuttingStage, compute_parts, read_clips
from m3ray.pipelines.scoring.shot_stage import FOUND, FOUND_SHOTS, ShotStage, unpack_shots
from m3ray.schema import CONTENT
from m3ray.scoring.export_shots import choose_best, export_best
from m3ray.scoring.shots import KEYS
from m3ray.storage.catalogue_file import read_catalogue
from m3ray.storage.compaction import compact
from m3ray.storage.parquet_tables import METADATA_KEY
from m3ray.storage.root import Root
from m3ray.tiers import Tier
from m3ray.video.sampling import DECODING
from m3ray.video.sandbox import Decoder

logger = logging.getLogger(__name__)

# Raised when cuts are found in another way.
_CODE_VERSION = 1
# Of the settings those that change shots: length and step of windows do not.
_SETTINGS = ("by", "detector", "threshold", "shortest")
_EXPORTED = pa.schema(
    [
        ("rank", pa.int64()),
        ("clip_id", pa.string()),
        ("shot", pa.int64()),
        ("start", pa.float64()),
        ("end", pa.float64()),
        ("score", pa.float64()),
        ("file", pa.string()),
        ("how", pa.string()),
        ("sound", pa.bool_()),
        ("reason", pa.string()),
    ]
)


def compute_shots(
    workspace: Root,
    tiers: list[Tier],
    configs: TierConfigs,
    options: WorkOptions,
    config: SlidingWindowConfig,
    resources: Resources,
) -> Root:
    """Find the clips' shots, and compute their features that are missing.

    Args:
        workspace: Has the clips' catalogue, with what decoding learned of each clip.
        tiers: Tiers that the bundle sees.
        configs: Settings of the tiers.
        options: Processors, per-clip limits, and what the job tolerates.
        config: How shots are found.
        resources: CPUs and GPUs of the cluster.
    Returns:
        A folder of the workspace with the shots, their features, and a catalogue of them as that of windows.
    """
    mark = replace(SlidingWindowConfig(), **{name: getattr(config, name) for name in _SETTINGS})
    folder = workspace.subroot(f"shots-{fingerprint(mark, configs.decode, DECODING, _CODE_VERSION)}")
    known = _read_known(folder, read_clips(workspace, lambda _: None))
    counts = {row["clip_id"]: len(row["frames"]) for row in known.to_pylist()}
    clips = read_clips(workspace, partial(_count_shots, counts))
    logger.info(f"over time: shots of {clips.num_rows} clips, those of {len(counts)} were found before")

    def make_stage(ledger: Any) -> CuttingStage:
        return ShotStage(configs.decode, options.limits, config, folder, known, ledger=ledger)

    compute_parts(folder, clips, tiers, configs, options, resources, make_stage)
    if folder.list_names(*FOUND):
        compact(folder, *FOUND)
    return folder


def _count_shots(counts: Mapping[str, int], clip: Mapping[str, Any]) -> int | None:
    return counts.get(clip["clip_id"])


def _read_known(folder: Root, clips: pa.Table) -> pa.Table:
    """The shots that were found before, of clips whose content is still the same."""
    if folder.list_names(*FOUND):
        drop_stale_rows(folder, FOUND, clips.select(["clip_id", CONTENT]))
    rows = folder.read_shards(*FOUND)
    if rows is None:
        return FOUND_SHOTS.empty_table()
    return rows.filter(pc.is_in(rows["clip_id"], value_set=clips["clip_id"])).select(FOUND_SHOTS.names)


def make_shots(folder: Root, scores: pd.DataFrame) -> pd.DataFrame:
    """Make the table of shots.

    Args:
        folder: The shots' folder, as `compute_shots` leaves it.
        scores: A row a shot, as `Bundle.score` gives it, under the row's own id.
    Returns:
        A row a shot, sorted: `clip_id`, `shot` (from 0), `start`, `end` (seconds), and what the bundle gives.
    """
    rows = read_catalogue(folder).to_pandas().set_index("clip_id").loc[scores["clip_id"]]
    found = unpack_shots(_read_found(folder))
    records = []
    for clip, slot in zip(rows["source_clip_id"], rows["window_start"], strict=True):
        shots = found[clip]
        shot = int(shots.slots.searchsorted(int(slot)))
        records.append((clip, shot, float(shots.starts[shot]), float(shots.ends[shot])))
    table = pd.DataFrame(records, columns=list(KEYS))
    given = scores.drop(columns="clip_id").reset_index(drop=True)
    return pd.concat([table, given], axis=1).sort_values(["clip_id", "shot"], ignore_index=True)


def make_shot_curves(shots: pd.DataFrame) -> pd.DataFrame:
    """Gather the scores of shots into a curve a clip.

    Args:
        shots: As `make_shots` gives them.
    Returns:
        A row a clip: `clip_id`, `times` (the shots' middles, seconds), `curve` (their scores).
    """
    middles = shots.assign(times=(shots["start"] + shots["end"]) / 2)
    groups = middles.groupby("clip_id", sort=True)
    return groups.agg(times=("times", list), curve=("score", list)).reset_index()


def export_shots(
    folder: Root, decode: DecodeConfig, options: PredictOptions, shots: pd.DataFrame, found: Root, catalogue: pa.Table
) -> None:
    """Write the most memorable of all shots as files, and a table of what became of each.

    Args:
        folder: Where they are written; a file that is there stays.
        decode: Settings of the decoder.
        options: Options of the job.
        shots: As `make_shots` gives them.
        found: The shots' folder, as `compute_shots` leaves it.
        catalogue: The clips, with `clip_id` and `uri`.
    """
    rows = [{str(name): value for name, value in row.items()} for row in shots.to_dict("records")]
    uris = dict(zip(catalogue["clip_id"].to_pylist(), catalogue["uri"].to_pylist(), strict=True))
    layouts = unpack_shots(_read_found(found))
    sources = {clip: (uris[clip], layout) for clip, layout in layouts.items() if clip in uris}
    decoder = Decoder(decode, options.limits)
    try:
        best = choose_best(rows, sources, options.export_shots or 0)
        done = export_best(decoder, best, set(folder.list_names()), partial(_write_file, folder))
    finally:
        decoder.close()
    for row in done:
        become = row["file"] if row["reason"] is None else f"not written: {row['reason']}"
        logger.info(f"export: {row['rank']}. {row['clip_id']} {row['start']:.2f}-{row['end']:.2f} s: {become}")
    folder.write_table(pa.Table.from_pylist(done, schema=_EXPORTED), "exported.parquet")


def _write_file(folder: Root, name: str, data: bytes) -> str:
    if folder.exists(name):
        raise FileExistsError(name)
    folder.write_bytes(data, name)
    return name


def _read_found(folder: Root) -> pa.Table:
    known = folder.read_shards(*FOUND)
    return FOUND_SHOTS.empty_table() if known is None else known


def write_shots(root: Root, path: tuple[str, ...], shots: pd.DataFrame, origin: Mapping[str, Any]) -> None:
    """Write the table of shots.

    Args:
        root: Root of the job.
        path: Path parts of the file.
        shots: As `make_shots` gives them.
        origin: What made the scores, as `describe_origin` gives it.
    """
    table = pa.Table.from_pandas(shots, preserve_index=False)
    root.write_table(table.replace_schema_metadata({METADATA_KEY: json.dumps(origin)}), *path)
    logger.info(f"predict: {len(shots)} shots of {shots['clip_id'].nunique()} clips: {root.display(*path)}")
