"""PCA of the HOG descriptors, fitted in a short first pass over the first frames of the train split."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import ray
import ray.data
import torch
from safetensors import SafetensorError

from m3ray.config import DecodeConfig, DecoderName, LimitsConfig
from m3ray.datasets.splits import select_fit_clips
from m3ray.errors import M3RayError
from m3ray.pipelines.extraction.crash_guard import start_ledger
from m3ray.pipelines.extraction.decode_stage import DecodeStage
from m3ray.pipelines.extraction.fit_clips import describe_changed_fit, note_fit_clips
from m3ray.pipelines.extraction.records import make_work_table, unpack_decoded_clips
from m3ray.pipelines.extraction.storage_pauses import report_pauses
from m3ray.pipelines.runtime.assigned_gpus import hide_gpus
from m3ray.schema import HOG_COMPONENTS
from m3ray.storage.parquet_tables import file_damage_error
from m3ray.storage.root import Root
from m3ray.tiers.hog import hog_of_bytes
from m3ray.tiers.hog_pca import MAX_FRAMES, HogProjection, fit_hog_projection

logger = logging.getLogger(__name__)

_FOLDER, _NAME = "artifacts", "hog_pca"
# A clip that cannot be decoded has no descriptor, but a reason.
_DESCRIPTOR = pa.schema([("clip_id", pa.string()), ("descriptor", pa.large_binary()), ("reason", pa.string())])


def load_or_fit_projection(
    root: Root,
    catalogue: pa.Table,
    decode: DecodeConfig,
    limits: LimitsConfig,
    *,
    refit: bool,
    decoder: DecoderName = "auto",
) -> HogProjection:
    """Read the root's projection, or fit and store it.

    Args:
        root: Root of the job.
        catalogue: Clips of the root.
        decode: Settings of decoding.
        limits: Per-clip resource limits.
        refit: Whether it is fitted anew though the root has one.
        decoder: Decoder that reads the videos.
    Returns:
        The projection.
    Raises:
        M3RayError: If no clip of those that it is fitted on can be decoded; the first one's reason is named.
        StorageError: If the storage answered no request as long as the job waits.
    """
    if not refit and has_projection(root):
        changed = describe_changed_fit(root, _NAME, "HOG's PCA", catalogue)
        if changed:
            logger.info(f"hog: {changed}: kept, since it still projects; --refit-hog fits it and all raw features anew")
        projection = read_projection(root, _FOLDER)
        _warn_of_rank_deficit(projection, f"--refit-hog fits it on the {catalogue.num_rows} clips there are now")
        return projection
    sample, fitted_on = select_fit_clips(catalogue, MAX_FRAMES)
    ledger = start_ledger(limits)
    stage = DecodeStage(decode, limits, first_frame_only=True, decoder=decoder, ledger=ledger)
    with report_pauses(ledger, limits):
        projection = _fit_projection(sample, fitted_on, stage)
    write_projection(root, projection, _FOLDER)
    note_fit_clips(root, _NAME, sample)
    logger.info(f"hog: PCA fitted on {projection.frames} first frames of the {_describe_split(projection.fitted_on)}")
    _warn_of_rank_deficit(projection, "with more clips, --refit-hog fits it anew")
    return projection


def _warn_of_rank_deficit(projection: HogProjection, advice: str) -> None:
    deficit = HOG_COMPONENTS - projection.directions
    if deficit:
        logger.info(
            f"hog: {deficit} of its {HOG_COMPONENTS} numbers are 0 for every clip, as the {projection.frames} first "
            f"frames that its PCA was fitted on differ in no more than {projection.directions} directions: {advice}"
        )


def has_projection(root: Root) -> bool:
    """Whether the root has a complete projection: its JSON is written last.

    Args:
        root: Root of the job.
    """
    return root.exists(_FOLDER, "hog_pca.json")


def read_projection(root: Root, *folder: str) -> HogProjection:
    """Read a stored projection.

    Args:
        root: Root, or bundle, that holds it.
        *folder: Path of its folder below the root.
    Returns:
        The projection.
    Raises:
        DamagedFileError: If its file is damaged.
    """
    tensors, metadata = root.read_bytes(*folder, "hog_pca.safetensors"), root.read_json(*folder, "hog_pca.json")
    try:
        return HogProjection.from_artifact(tensors, metadata)
    except SafetensorError as error:
        raise file_damage_error(root.display(*folder, "hog_pca.safetensors"), error) from error


def write_projection(root: Root, projection: HogProjection, *folder: str) -> None:
    """Write a projection, its tensors first: it is complete once its JSON is there.

    Args:
        root: Root, or bundle, that gets it.
        projection: The projection.
        *folder: Path of its folder below the root.
    """
    tensors, metadata = projection.to_artifact()
    root.write_bytes(tensors, *folder, "hog_pca.safetensors")
    root.write_json(metadata, *folder, "hog_pca.json")


def _describe_split(fitted_on: str) -> str:
    return "train split" if fitted_on == "train" else "whole catalogue (no clip is marked train)"


def _fit_projection(sample: pa.Table, fitted_on: str, decode: DecodeStage) -> HogProjection:
    logger.info(f"hog: reading the first frames of {sample.num_rows} clips")
    blocks = _compute_descriptors(sample, decode)
    projection, reason = ray.get(_fit_task.remote(blocks, fitted_on))
    if projection is None:
        raise M3RayError(
            f"hog: none of the {sample.num_rows} clips of the {_describe_split(fitted_on)} can be decoded ({reason}): "
            "mend them, or leave the raw tier out"
        )
    return projection


def _compute_descriptors(clips: pa.Table, decode: DecodeStage) -> list[ray.ObjectRef]:
    data = ray.data.from_arrow(make_work_table(clips)).repartition(max(1, min(256, clips.num_rows // 8)))
    data = data.map_batches(decode, batch_size=8, batch_format="pyarrow")
    data = data.map_batches(_describe_batch, batch_size=8, batch_format="pyarrow")
    return data.to_arrow_refs()


def _describe_batch(batch: pa.Table) -> pa.Table:
    hide_gpus()
    torch.set_num_threads(1)
    clips = unpack_decoded_clips(batch)
    frames = {clip.clip_id: clip.frames[0].transpose(2, 0, 1) for clip in clips if clip.frames is not None}
    rows: Any = hog_of_bytes(torch.from_numpy(np.stack(list(frames.values())))).numpy() if frames else []
    descriptors = {clip_id: row.tobytes() for clip_id, row in zip(frames, rows, strict=True)}
    columns = {
        "clip_id": [clip.clip_id for clip in clips],
        "descriptor": [descriptors.get(clip.clip_id) for clip in clips],
        "reason": [None if clip.failure is None else f"{clip.clip_id}: {clip.failure.message}" for clip in clips],
    }
    return pa.table(columns, schema=_DESCRIPTOR)


@ray.remote(num_cpus=1, memory=3 << 30)
def _fit_task(blocks: list[ray.ObjectRef], fitted_on: str) -> tuple[HogProjection | None, str | None]:
    """Fit the projection; if there is no descriptor, None and why the first clip has none."""
    tables: list[pa.Table] = ray.get(blocks)  # views of the object store, not copies
    order = sorted((n, b, r) for b, t in enumerate(tables) for r, n in enumerate(t["clip_id"].to_pylist()))
    valid = [(b, r) for _, b, r in order if tables[b]["descriptor"][r].is_valid]
    if not valid:
        first = next(((b, r) for _, b, r in order), None)
        return None, None if first is None else tables[first[0]]["reason"][first[1]].as_py()
    return fit_hog_projection(_iterate_descriptors(tables, valid), fitted_on), None


def _iterate_descriptors(tables: Sequence[pa.Table], order: Sequence[tuple[int, int]]) -> Iterator[np.ndarray]:
    """Iterate over descriptors by clip id, whatever order the blocks finished in; one is in memory at a time."""
    for block, row in order:
        yield np.frombuffer(tables[block]["descriptor"][row].as_buffer(), np.float32)
