"""HOG's PCA, fitted in a short first pass over the first frames of the train split."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa
import ray
import ray.data
import torch
from safetensors.numpy import load, save

from m3ray.config import DecodeConfig, LimitsConfig
from m3ray.data.store import Root
from m3ray.pipelines.decoding import DecodeStage
from m3ray.pipelines.progress import say
from m3ray.pipelines.rows import WORK, decoded_rows
from m3ray.tiers.hog import hog_of_bytes
from m3ray.tiers.hog_pca import MOST_FRAMES, HogProjection, fit_hog_projection

_FOLDER = "artifacts"
_DESCRIPTOR = pa.schema([("clip_id", pa.string()), ("descriptor", pa.large_binary())])


def hog_projection(
    root: Root, catalogue: pa.Table, decode: DecodeConfig, limits: LimitsConfig, *, refit: bool
) -> HogProjection:
    """The root's projection, fitted now if it has none or `refit`."""
    if not refit and has_projection(root):
        return read_projection(root, _FOLDER)
    projection = _fit(catalogue, decode, limits)
    write_projection(root, projection, _FOLDER)
    say(f"hog: PCA fitted on {projection.frames} first frames of the {_words(projection.fitted_on)}")
    return projection


def has_projection(root: Root) -> bool:
    """Whether the root has a fitted projection; its JSON is written last."""
    return root.exists(_FOLDER, "hog_pca.json")


def read_projection(root: Root, *folder: str) -> HogProjection:
    """A stored projection."""
    tensors = load(root.read_bytes(*folder, "hog_pca.safetensors"))
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


def _fit(catalogue: pa.Table, decode: DecodeConfig, limits: LimitsConfig) -> HogProjection:
    train = [row for row in catalogue.select(["clip_id", "uri", "split"]).to_pylist() if row["split"] == "train"]
    fitted_on = "train" if train else "all"
    rows = train or catalogue.select(["clip_id", "uri"]).to_pylist()
    # Ordered by id, so that the fit does not depend on how the catalogue was listed.
    chosen = sorted(rows, key=lambda row: row["clip_id"])[:MOST_FRAMES]
    say(f"hog: reading the first frames of {len(chosen)} clips")
    blocks = _descriptors(chosen, decode, limits)
    return ray.get(_fit_task.remote(blocks, fitted_on))


def _descriptors(rows: Sequence[dict[str, str]], decode: DecodeConfig, limits: LimitsConfig) -> list[ray.ObjectRef]:
    work = pa.Table.from_pylist([{**row, "tiers": []} for row in rows], schema=WORK)
    data = ray.data.from_arrow(work).repartition(max(1, min(256, len(rows) // 8)))
    data = data.map_batches(DecodeStage(decode, limits, first_frame_only=True), batch_size=8, batch_format="pyarrow")
    data = data.map_batches(_describe, batch_size=8, batch_format="pyarrow")
    return data.to_arrow_refs()


def _describe(batch: pa.Table) -> pa.Table:
    torch.set_num_threads(1)
    clips = [clip for clip in decoded_rows(batch) if clip.frames is not None]
    if not clips:
        return _DESCRIPTOR.empty_table()
    frames = np.stack([clip.frames[0].transpose(2, 0, 1) for clip in clips if clip.frames is not None])
    descriptors = hog_of_bytes(torch.from_numpy(frames)).numpy()
    columns = {"clip_id": [clip.clip_id for clip in clips], "descriptor": [row.tobytes() for row in descriptors]}
    return pa.table(columns, schema=_DESCRIPTOR)


@ray.remote(num_cpus=1, memory=3 << 30)
def _fit_task(blocks: list[ray.ObjectRef], fitted_on: str) -> HogProjection:
    return fit_hog_projection(_ordered(blocks), fitted_on)


def _ordered(blocks: list[ray.ObjectRef]) -> Iterator[np.ndarray]:
    """Descriptors by clip id, whatever order the blocks finished in; one block in memory at a time."""
    tables = ray.get(blocks)  # views of the object store, not copies
    order = sorted(
        (name, b, r) for b, table in enumerate(tables) for r, name in enumerate(table["clip_id"].to_pylist())
    )
    for _, block, row in order:
        yield np.frombuffer(tables[block]["descriptor"][row].as_buffer(), np.float32)
