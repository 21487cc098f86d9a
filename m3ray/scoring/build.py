"""Making a bundle of a variant that a study has trained."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import version

import numpy as np
import torch

from m3ray.config import TierConfigs, as_json
from m3ray.features.dataset import Scaling
from m3ray.features.matrix import Block, Features
from m3ray.model import StackedMLP
from m3ray.scoring.bundle import Bundle
from m3ray.scoring.bundle_metadata import BundleMetadata
from m3ray.storage.catalogue_file import read_catalogue
from m3ray.storage.root import Root
from m3ray.storage.tier_index import TierEntry, read_tier_index
from m3ray.storage.versions import Environment, read_environments, software_versions
from m3ray.study.store import read_trial_tensors
from m3ray.study.study import Study
from m3ray.study.variants import Variant
from m3ray.tiers.network import WeightSource

PACKAGES = ("ray", "pyarrow")


def list_versions() -> dict[str, str]:
    """List the versions of what numbers depend on, FFmpeg's libraries among them, and of what carries them.

    Returns:
        Name of each package or library to its version.
    """
    return {**software_versions(), **{name: version(name) for name in PACKAGES}}


def make_bundle(
    study: Study, variant: Variant, configs: TierConfigs, sources: Mapping[str, WeightSource], name: str, job: str
) -> Bundle:
    """Make the bundle of a variant that a study has trained.

    Args:
        study: Study with the variant's trained runs.
        variant: The variant.
        configs: Settings of the computed tiers.
        sources: Name of each tier that has a network to where its weights come from.
        name: Name of the bundle.
        job: Name of the job that makes it, which is recorded.
    Returns:
        The bundle, not written yet.
    """
    tensors = read_trial_tensors(study, variant)
    columns = tensors.pop("columns")
    data = study.data
    model = StackedMLP.from_state({key: torch.from_numpy(value) for key, value in tensors.items()})
    residuals = _compute_residuals(model, data.scaled[data.val][:, columns], data.scores[data.val])
    return Bundle(
        name=name,
        model=model.eval(),
        blocks=select_blocks(data.features, columns),
        scaling=Scaling(data.scaling.mean[columns], data.scaling.deviation[columns]),
        baseline=data.scaled[data.train][:, columns].mean(axis=0).astype(np.float32),
        residuals=residuals,
        metadata=_make_metadata(study, variant, configs, sources, job),
        files=_read_artefacts(study.root, variant),
    )


def select_blocks(features: Features, columns: np.ndarray) -> tuple[Block, ...]:
    """Select the blocks of the columns that a variant sees.

    Args:
        features: All features of a study, F columns.
        columns: Positions of the variant's columns, (V,), int64.
    Returns:
        The blocks with the names of those columns alone, V in all.
    """
    blocks, start = [], 0
    visible = set(columns.tolist())
    for block in features.blocks:
        names = tuple(name for k, name in enumerate(block.names) if start + k in visible)
        if names:
            blocks.append(Block(block.tier, names, block.scaled))
        start += len(block.names)
    return tuple(blocks)


@torch.inference_mode()
def _compute_residuals(model: StackedMLP, features: np.ndarray, scores: np.ndarray) -> np.ndarray:
    mean = model(torch.from_numpy(np.ascontiguousarray(features))).mean(dim=0).numpy()
    return np.sort(np.abs(mean - scores)).astype(np.float32)


def _make_metadata(
    study: Study, variant: Variant, configs: TierConfigs, sources: Mapping[str, WeightSource], job: str
) -> BundleMetadata:
    index = read_tier_index(study.root)
    tiers = {tier: index[tier] for tier in variant.tiers}
    scores = study.data.scores[study.data.train]
    return BundleMetadata(
        untrained=any(entry.untrained for entry in tiers.values()),
        tiers=tiers,
        configs=configs,
        sources={tier: as_json(source) for tier, source in sources.items()},
        variant=as_json(variant),
        seeds=list(study.seeds),
        decay=_fit_decay(study),
        trained_on={
            "train_clips": len(study.data.train),
            "val_clips": len(study.data.val),
            "mean_score": float(scores.mean()),
            "lowest_score": float(scores.min()),
            "highest_score": float(scores.max()),
        },
        versions=list_versions(),
        environments=_read_tier_environments(study.root, tiers),
        made_by=job,
    )


def _read_tier_environments(root: Root, tiers: Mapping[str, TierEntry]) -> dict[str, list[Environment | None]]:
    """The software that each computed tier's features were computed with, as their shards say."""
    own = {tier: entry.folder for tier, entry in tiers.items() if not entry.user_provided}
    return {tier: read_environments(root, "features", folder) for tier, folder in own.items() if folder}


def _fit_decay(study: Study) -> dict[str, float] | None:
    """A line from score to decay rate on the train split's clips that have one; None where fewer than 10 have."""
    catalogue = read_catalogue(study.root)
    if "alpha" not in catalogue.column_names:
        return None
    rates = dict(zip(catalogue["clip_id"].to_pylist(), catalogue["alpha"].to_pylist(), strict=True))
    rows = [row for row in study.data.train if rates.get(study.data.features.clip_ids[row]) is not None]
    if len(rows) < 10:
        return None
    alpha = np.array([rates[study.data.features.clip_ids[row]] for row in rows], np.float64)
    scores = study.data.scores[rows].astype(np.float64)
    slope, intercept = np.polyfit(scores, alpha, 1)
    correlation = float(np.corrcoef(scores, alpha)[0, 1]) if np.ptp(alpha) > 0 else 0.0
    line = {"intercept": float(intercept), "slope": float(slope), "r": correlation}
    return {**line, "mean": float(alpha.mean()), "clips": float(len(rows))}


def _read_artefacts(root: Root, variant: Variant) -> dict[str, bytes]:
    """Name to content of what the variant's tiers were fitted with."""
    files: dict[str, bytes] = {}
    if "raw" in variant.tiers:
        files |= {name: root.read_bytes("artifacts", name) for name in ("hog_pca.safetensors", "hog_pca.json")}
    if "similarity" in variant.tiers:
        folder = read_tier_index(root)["similarity"].folder
        for ending in ("safetensors", "json"):
            files[f"similarity.{ending}"] = root.read_bytes("artifacts", f"{folder}.{ending}")
    return files
