"""HOG's PCA, fitted in a short first pass over the first frames of the train split."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa
import ray
import ray.data
import torch
from safetensors import SafetensorError
from safetensors.numpy import load, save

from m3ray.config import DecodeConfig, DecoderName, LimitsConfig
from m3ray.console import say
from m3ray.datasets.splits import clips_to_fit
from m3ray.errors import M3RayError
from m3ray.pipelines.extraction.changes import changed_fit, note_fitted
from m3ray.pipelines.extraction.crash_guard import make_ledger
from m3ray.pipelines.extraction.decode_stage import DecodeStage
from m3ray.pipelines.extraction.pauses import watched
from m3ray.pipelines.extraction.records import decoded_rows, work_of
from m3ray.schema import HOG_COMPONENTS
from m3ray.storage.root import Root, damaged
from m3ray.tiers.hog import hog_of_bytes
from m3ray.tiers.hog_pca import MOST_FRAMES, HogProjection, fit_hog_projection

_FOLDER, _NAME = "artifacts", "hog_pca"
# A clip that cannot be decoded has no descriptor, but a reason.
_DESCRIPTOR = pa.schema([("clip_id", pa.string()), ("descriptor", pa.large_binary()), ("reason", pa.string())])


def hog_projection(
    root: Root,
    catalogue: pa.Table,
    decode: DecodeConfig,
    limits: LimitsConfig,
    *,
    refit: bool,
    decoder: DecoderName = "auto",
) -> HogProjection:
    """The root's projection, fitted now if it has none or `refit`.

    Raises:
        M3RayError: no clip of those that it is fitted on can be decoded; the first one's reason is named.
        StorageError: the storage answered for nothing as long as the job waits.
    """
    if not refit and has_projection(root):
        changed = changed_fit(root, _NAME, "HOG's PCA", catalogue)
        if changed:
            say(f"hog: {changed}: kept, since it still projects; --refit-hog fits it and all raw features anew")
        projection = read_projection(root, _FOLDER)
        _warn_of_few(projection, f"--refit-hog fits it on the {catalogue.num_rows} clips there are now")
        return projection
    chosen, fitted_on = clips_to_fit(catalogue, MOST_FRAMES)
    ledger = make_ledger(limits)
    stage = DecodeStage(decode, limits, first_frame_only=True, decoder=decoder, ledger=ledger)
    with watched(ledger, limits):
        projection = _fit(chosen, fitted_on, stage)
    write_projection(root, projection, _FOLDER)
    note_fitted(root, _NAME, chosen)
    say(f"hog: PCA fitted on {projection.frames} first frames of the {_words(projection.fitted_on)}")
    _warn_of_few(projection, "with more clips, --refit-hog fits it anew")
    return projection


def _warn_of_few(projection: HogProjection, way_out: str) -> None:
    lost = HOG_COMPONENTS - projection.directions
    if lost:
        say(
            f"hog: {lost} of its {HOG_COMPONENTS} numbers are 0 for every clip, as the {projection.frames} first "
            f"frames that its PCA was fitted on differ in no more than {projection.directions} directions: {way_out}"
        )


def has_projection(root: Root) -> bool:
    """Whether the root has a fitted projection; its JSON is written last."""
    return root.exists(_FOLDER, "hog_pca.json")


def read_projection(root: Root, *folder: str) -> HogProjection:
    """A stored projection."""
    try:
        tensors = load(root.read_bytes(*folder, "hog_pca.safetensors"))
    except SafetensorError as error:
        raise damaged(root.display(*folder, "hog_pca.safetensors"), error) from error
    facts = root.read_json(*folder, "hog_pca.json")
    return HogProjection(tensors["mean"], tensors["components"], facts["frames"], facts["fitted_on"])


def write_projection(root: Root, projection: HogProjection, *folder: str) -> None:
    """Tensors first: a root whose JSON is there is complete."""
    tensors = {"mean": projection.mean, "components": np.ascontiguousarray(projection.components)}
    root.write_bytes(save(tensors), *folder, "hog_pca.safetensors")
    facts = {"frames": projection.frames, "fitted_on": projection.fitted_on, "sha256": projection.sha256}
    root.write_json(facts, *folder, "hog_pca.json")


def _words(fitted_on: str) -> str:
    return "train split" if fitted_on == "train" else "whole catalogue (no clip is marked train)"


def _fit(chosen: pa.Table, fitted_on: str, decode: DecodeStage) -> HogProjection:
    say(f"hog: reading the first frames of {chosen.num_rows} clips")
    blocks = _descriptors(chosen, decode)
    found, reason = ray.get(_fit_task.remote(blocks, fitted_on))
    if found is None:
        raise M3RayError(
            f"hog: none of the {chosen.num_rows} clips of the {_words(fitted_on)} can be decoded ({reason}): mend "
            "them, or leave the raw tier out"
        )
    return found


def _descriptors(clips: pa.Table, decode: DecodeStage) -> list[ray.ObjectRef]:
    data = ray.data.from_arrow(work_of(clips)).repartition(max(1, min(256, clips.num_rows // 8)))
    data = data.map_batches(decode, batch_size=8, batch_format="pyarrow")
    data = data.map_batches(_describe, batch_size=8, batch_format="pyarrow")
    return data.to_arrow_refs()


def _describe(batch: pa.Table) -> pa.Table:
    torch.set_num_threads(1)
    clips = decoded_rows(batch)
    good = [clip for clip in clips if clip.frames is not None]
    frames = [clip.frames[0].transpose(2, 0, 1) for clip in good if clip.frames is not None]
    rows = [row.tobytes() for row in hog_of_bytes(torch.from_numpy(np.stack(frames))).numpy()] if frames else []
    described = dict(zip((clip.clip_id for clip in good), rows, strict=True))
    columns = {
        "clip_id": [clip.clip_id for clip in clips],
        "descriptor": [described.get(clip.clip_id) for clip in clips],
        "reason": [None if clip.failure is None else f"{clip.clip_id}: {clip.failure.message}" for clip in clips],
    }
    return pa.table(columns, schema=_DESCRIPTOR)


@ray.remote(num_cpus=1, memory=3 << 30)
def _fit_task(blocks: list[ray.ObjectRef], fitted_on: str) -> tuple[HogProjection | None, str | None]:
    """The fit; where there is no descriptor, why the first clip has none."""
    tables: list[pa.Table] = ray.get(blocks)  # views of the object store, not copies
    order = sorted((n, b, r) for b, t in enumerate(tables) for r, n in enumerate(t["clip_id"].to_pylist()))
    described = [(b, r) for _, b, r in order if tables[b]["descriptor"][r].is_valid]
    if not described:
        first = next(((b, r) for _, b, r in order), None)
        return None, None if first is None else tables[first[0]]["reason"][first[1]].as_py()
    return fit_hog_projection(_rows(tables, described), fitted_on), None


def _rows(tables: Sequence[pa.Table], order: Sequence[tuple[int, int]]) -> Iterator[np.ndarray]:
    """Descriptors by clip id, whatever order the blocks finished in; one in memory at a time."""
    for block, row in order:
        yield np.frombuffer(tables[block]["descriptor"][row].as_buffer(), np.float32)
