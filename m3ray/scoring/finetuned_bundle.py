"""The bundle of a finetuned model: the frozen one's, with its networks in the place of the scene and event tiers."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch
from safetensors.numpy import load

from m3ray.config import FinetunedConfig, as_json
from m3ray.features.dataset import Scaling
from m3ray.features.matrix import Block
from m3ray.model import StackedMLP
from m3ray.model.mixture import MLP
from m3ray.schema import SIMILARITY
from m3ray.scoring.bundle import Bundle
from m3ray.scoring.bundle_metadata import BundleMetadata
from m3ray.scoring.calibration import VAL, Calibration
from m3ray.scoring.decay import SCORE
from m3ray.scoring.diverged import drop_runs, find_finite_runs
from m3ray.similarity.fitted import FittedSimilarity
from m3ray.storage.root import Root
from m3ray.storage.tier_index import TierEntry
from m3ray.study.study import Study
from m3ray.study.variants import Variant
from m3ray.tiers.finetuned import FINETUNED, FINETUNED_PREFIX, network_file_name
from m3ray.tiers.network import WeightSource
from m3ray.training.finetuning.spec import REFIT, REFIT_ROWS, REFIT_TEXT


def build_finetuned_bundle(study: Study, variant: Variant, frozen: Bundle, name: str) -> Bundle:
    """Build the bundle of a finetuned variant; its networks are written to the bundle's folder already.

    Args:
        study: Study with the variant's trained runs.
        variant: The finetuned variant.
        frozen: Bundle of the model that finetuning started from: same tiers, artefacts and scaling.
        name: Name of the bundle.
    Returns:
        The bundle; all but its networks is still to be written.
    Raises:
        BundleError: If the run that it is made of diverged.
    """
    root, part = study.root, study.trial_folder(variant)
    config = variant.finetuning
    assert config is not None
    tensors, means = (load(root.read_bytes(*part, f"{n}.safetensors")) for n in ("model", "means"))
    run = {key: torch.from_numpy(np.array(value[:1])) for key, value in tensors.items() if key != "columns"}
    model = StackedMLP.from_state(run)
    val = load(root.read_bytes(*part, "val.safetensors"))["val"][0].astype(np.float64)
    finite = find_finite_runs(model, np.zeros((1, model.weights[0].shape[2]))) & np.isfinite(val).all()
    model = drop_runs(model, finite, name)  # its networks are those of this run: no other can take its place
    calibration = Calibration(val, study.data.scores[study.data.val].astype(np.float64), VAL)
    networks = {network_file_name(f"{FINETUNED_PREFIX}{tier}"): _copy_network(root, part, tier, name) for tier in means}
    start = _apply_refit(frozen, root, part)
    return replace(
        start,
        name=name,
        model=model.eval(),
        blocks=tuple(_rename_block(block) if block.tier in means else block for block in start.blocks),
        baseline=_mean_clip(start, means),
        residuals=calibration.residuals,
        metadata=_describe_calibration(_make_metadata(frozen, variant, means, networks), calibration, study.seeds),
        networks=networks,
        intervals=calibration.fit(),
        calibration=np.stack([calibration.scores, calibration.truth]).astype(np.float32),
        calibration_spread=None,
        decay_weights=None,  # they are those of the frozen networks' features
        mixture=None,  # as are the regressors beside the MLP
        reference=None,
    )


def _describe_calibration(metadata: BundleMetadata, calibration: Calibration, seeds: Sequence[int]) -> BundleMetadata:
    """The metadata with what the frozen model's says of its own runs and val scores replaced."""
    decay = None if metadata.decay is None else {**metadata.decay, "predicted_from": SCORE}
    trained_on = {**(metadata.trained_on or {}), **calibration.measure()}
    return replace(
        metadata,
        seeds=list(seeds)[:1],
        dropped_runs=[],
        calibrated_on=calibration.source,
        decay=decay,
        trained_on=trained_on,
        data={k: v for k, v in (metadata.data or {}).items() if k != "on_test"} or None,
        model=MLP,
        model_summary=None,
        out_of_fold=None,
        mixture=None,
    )


def _apply_refit(frozen: Bundle, root: Root, part: tuple[str, ...]) -> Bundle:
    """The frozen bundle with the similarity tier that finetuning fitted anew, if it did."""
    if not root.exists(*part, REFIT_TEXT):
        return frozen
    tensors, text = root.read_bytes(*part, REFIT), root.read_bytes(*part, REFIT_TEXT)
    names = FittedSimilarity.from_bytes(tensors, text).columns
    scales = load(root.read_bytes(*part, REFIT_ROWS))
    mean, deviation, baseline = (np.array(x) for x in (frozen.scaling.mean, frozen.scaling.deviation, frozen.baseline))
    blocks, start = [], 0
    for block in frozen.blocks:
        own = slice(start, start + len(block.names))
        if block.tier == SIMILARITY:
            # z-scored with the train split's statistics: its mean is 0.
            mean[own], deviation[own], baseline[own] = scales["mean"], scales["deviation"], 0
            blocks.append(replace(block, names=names))
        else:
            blocks.append(block)
        start = own.stop
    files = {**frozen.files, "similarity.safetensors": tensors, "similarity.json": text}
    scaling = Scaling(mean, deviation)
    return replace(frozen, blocks=tuple(blocks), scaling=scaling, baseline=baseline, files=files)


def _copy_network(root: Root, part: tuple[str, ...], tier: str, name: str) -> str:
    """Copy a network's file to the bundle's folder, and return its SHA-256."""
    file = network_file_name(f"{FINETUNED_PREFIX}{tier}")
    data = root.read_bytes(*part, file)
    root.write_bytes(data, "models", name, file)
    return hashlib.sha256(data).hexdigest()


def _rename_block(block: Block) -> Block:
    names = tuple(f"tuned_{name}" for name in block.names)
    return replace(block, tier=f"{FINETUNED_PREFIX}{block.tier}", names=names)


def _mean_clip(frozen: Bundle, means: Mapping[str, np.ndarray]) -> np.ndarray:
    """The train split's mean clip as the finetuned networks see it."""
    parts, start = [], 0
    for block in frozen.blocks:
        own = frozen.baseline[start : start + len(block.names)]
        parts.append(means.get(block.tier, own))
        start += len(block.names)
    return np.concatenate(parts).astype(np.float32)


def _make_metadata(
    frozen: Bundle, variant: Variant, means: Mapping[str, np.ndarray], networks: Mapping[str, str]
) -> BundleMetadata:
    config, metadata = variant.finetuning, frozen.metadata
    assert config is not None
    configs = metadata.configs
    # As it was trained; where that was left to the device, as the root's networks compute.
    precision = configs.event.precision if config.precision == "auto" else config.precision
    untrained = any(metadata.tiers[tier].untrained for tier in means)
    tuned = FinetunedConfig(precision, config.size, configs.event.network, untrained)
    hashes = {tier: networks[network_file_name(f"{FINETUNED_PREFIX}{tier}")] for tier in means}
    networks_as_tiers = {
        tier: FINETUNED[tier](tuned, WeightSource("in the bundle", digest)) for tier, digest in hashes.items()
    }
    entries = {
        f"{FINETUNED_PREFIX}{name}": TierEntry("", untrained, tier.identity())
        for name, tier in networks_as_tiers.items()
    }
    return replace(
        metadata,
        variant=as_json(variant),
        tiers={**metadata.tiers, **entries},
        configs=replace(configs, finetuned=tuned),
    )
