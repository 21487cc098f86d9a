"""The captions tier of a root: fitted on its train split, kept under `artifacts/`, and applied to all of its clips."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from safetensors import SafetensorError

from m3ray.config import fingerprint
from m3ray.config.tiers import CaptionsConfig
from m3ray.datasets.captions import Captions, read_captions
from m3ray.datasets.splits import select_fit_clips
from m3ray.schema import CAPTIONS, is_captions, vector
from m3ray.storage.parquet_tables import file_damage_error
from m3ray.storage.root import Root
from m3ray.storage.tier_index import TierEntry, feature_folder, read_tier_index, update_tier_index
from m3ray.tiers.captions import CODE_VERSION, MAX_FIT_CLIPS, CaptionModel, check_words, fit_caption_model

logger = logging.getLogger(__name__)

_FOLDER = "artifacts"
_ENDINGS = ("safetensors", "json")


def check_captions_fit(clips: pa.Table, tiers: Iterable[str]) -> None:
    """Check that the tier can be fitted on the clips that are train, or may be drawn into it.

    Args:
        clips: Clips, whose splits may be null as long as they are not drawn.
        tiers: Names of the tiers that a model sees; the check is of `captions` alone.
    Raises:
        ConfigError: If the column `captions` is no text.
        StudyError: If none of those clips has a caption, or no caption a word.
    """
    if any(map(is_captions, tiers)):
        check_words(*_read_fit_captions(clips))


def _read_fit_captions(clips: pa.Table) -> tuple[list[Captions], str]:
    """Captions of the clips that are train or have no split yet, of all where there are none; and which they are."""
    others = pc.fill_null(pc.not_equal(clips["split"], "train"), False)
    may_be_train = clips.filter(pc.invert(others))
    return (read_captions(may_be_train), "train") if may_be_train.num_rows else (read_captions(clips), "all")


def count_captions(catalogue: pa.Table) -> str:
    """Count the clips that have a caption.

    Args:
        catalogue: Clips with their splits.
    Returns:
        A sentence for the user.
    """
    captions, (fit, fitted_on) = read_captions(catalogue), _read_fit_captions(catalogue)
    part = f", {sum(map(bool, fit))} of {len(fit)} in the train split" if fitted_on == "train" else ""
    return f"captions: {sum(map(bool, captions))} of {len(captions)} clips have a caption{part}"


def update_captions_tier(root: Root, catalogue: pa.Table, config: CaptionsConfig) -> None:
    """Fit the tier where the train split's captions are others than at the last fit, and compute it of all clips.

    Args:
        root: Root of the job.
        catalogue: Its clips, with their final splits.
        config: Settings of the tier.
    Raises:
        ConfigError: If the column `captions` is no text.
        StudyError: If no train clip has a caption.
    """
    sample, fitted_on = select_fit_clips(catalogue, MAX_FIT_CLIPS)
    captions = read_captions(sample)
    key = fingerprint(CODE_VERSION, config, fitted_on, [list(own) for own in captions])
    model = _read_current(root)
    if model is None or model.key != key:
        model = fit_caption_model(captions, config, fitted_on, key)
        _write_model(root, model)
        logger.info(
            f"captions: TF-IDF of {len(model.vocabulary):,} terms and SVD to {len(model.mean)} numbers, fitted on the "
            f"captions of {model.clips:,} clips of the {_describe_split(fitted_on)}"
        )
    logger.info(store_captions(root, catalogue, model))


def _describe_split(fitted_on: str) -> str:
    return "train split" if fitted_on == "train" else "whole catalogue (no clip is marked train)"


def store_captions(root: Root, catalogue: pa.Table, model: CaptionModel) -> str:
    """Compute the tier of clips, as the root's current one.

    Args:
        root: Root, or workspace, of the clips.
        catalogue: The clips; those without a caption get the train split's mean.
        model: What was fitted on the train split, of this root or of a bundle's.
    Returns:
        A sentence for the user: how many clips have a caption.
    """
    # One order for ids, captions and rows, so that the fingerprint says which clip has which caption.
    catalogue = catalogue.sort_by("clip_id")
    captions = read_captions(catalogue)
    table = _make_table(catalogue["clip_id"], model.transform(captions))
    identity = model.identity()
    folder = feature_folder(CAPTIONS, fingerprint(identity, table["clip_id"].to_pylist(), [list(c) for c in captions]))
    if not root.exists(*folder):
        root.write_shard(table, folder, {"identity": identity})
    update_tier_index(root, {CAPTIONS: TierEntry(folder[1], identity=identity)})
    missing = sum(not own for own in captions)
    return (
        f"captions: {len(captions) - missing} of {len(captions)} clips have a caption"
        f"{'; the others stand at the mean of the train split, and are scored all the same' if missing else ''}"
    )


def _make_table(ids: pa.ChunkedArray, columns: dict[str, np.ndarray]) -> pa.Table:
    arrays: dict[str, pa.Array | pa.ChunkedArray] = {"clip_id": ids.cast(pa.string())}
    for name, values in columns.items():
        flat = pa.array(values.ravel())
        is_vector = values.ndim == 2
        arrays[name] = pa.FixedSizeListArray.from_arrays(flat, type=vector(values.shape[1])) if is_vector else flat
    return pa.table(arrays)


def name_artifacts(entry: TierEntry) -> dict[str, tuple[str, str]]:
    """Name the files that the tier was fitted with.

    Args:
        entry: The tier's entry in the root's index.
    Returns:
        Name of each file in a bundle to its path parts below the root.
    """
    fit = (entry.identity or {})["fit"][:10]
    return {f"{CAPTIONS}.{ending}": (_FOLDER, f"{CAPTIONS}-{fit}.{ending}") for ending in _ENDINGS}


def read_caption_model(tensors: bytes, metadata: bytes, where: str) -> CaptionModel:
    """Read a fitted tier.

    Args:
        tensors: Content of `captions.safetensors`.
        metadata: Content of `captions.json`.
        where: Address of the files, for the message.
    Returns:
        The model.
    Raises:
        DamagedFileError: If the files are damaged.
    """
    try:
        return CaptionModel.from_artifact(tensors, json.loads(metadata))
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        raise file_damage_error(where, error) from error


def _read_current(root: Root) -> CaptionModel | None:
    """The root's current fit; None where it has none, or its files are gone."""
    entry = read_tier_index(root).get(CAPTIONS)
    if entry is None or entry.user_provided or "fit" not in (entry.identity or {}):
        return None
    tensors, metadata = name_artifacts(entry).values()
    if not root.exists(*tensors) or not root.exists(*metadata):
        return None
    return read_caption_model(root.read_bytes(*tensors), root.read_bytes(*metadata), root.display(*metadata))


def _write_model(root: Root, model: CaptionModel) -> None:
    """Write a fit, its tensors first: it is complete once its JSON is there."""
    tensors, metadata = name_artifacts(TierEntry("", identity=model.identity())).values()
    content, values = model.to_artifact()
    root.write_bytes(content, *tensors)
    root.write_json(values, *metadata)
