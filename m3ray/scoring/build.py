"""From a trained variant to a bundle."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

import numpy as np
import torch

from m3ray.config import TierConfigs, as_json
from m3ray.datasets.catalogue import read_catalogue
from m3ray.features.dataset import Scaling
from m3ray.features.matrix import Block, Features
from m3ray.model import StackedMLP
from m3ray.scoring.bundle import Bundle
from m3ray.storage.root import Root
from m3ray.storage.tier_index import current_tiers
from m3ray.storage.versions import KEY as ENVIRONMENTS
from m3ray.storage.versions import Environment, environments_of, software
from m3ray.storage.versions import commit as commit
from m3ray.study.store import part_tensors
from m3ray.study.study import Study
from m3ray.study.variants import Variant

PACKAGES = ("ray", "pyarrow")


def versions() -> dict[str, str]:
    """Of what numbers depend on, FFmpeg's libraries among them, and of what carries them."""
    return {**software(), **{name: version(name) for name in PACKAGES}}


def make_bundle(
    study: Study, variant: Variant, configs: TierConfigs, sources: dict[str, Any], name: str, job: str
) -> Bundle:
    """The bundle of a variant that the study has trained, with the job that made it noted."""
    tensors = part_tensors(study, variant)
    columns = tensors.pop("columns")
    data = study.data
    weights = [tensors[f"weights.{k}"] for k in range(len(tensors) // 2)]
    model = StackedMLP(weights[0].shape[2], [w.shape[1] for w in weights[:-1]], study.seeds)
    model.load_state_dict({key: torch.from_numpy(value) for key, value in tensors.items()})
    residuals = _residuals(model, data.scaled[data.val][:, columns], data.scores[data.val])
    return Bundle(
        name=name,
        model=model.eval(),
        blocks=seen_blocks(data.features, columns),
        scaling=Scaling(data.scaling.mean[columns], data.scaling.deviation[columns]),
        baseline=data.scaled[data.train][:, columns].mean(axis=0).astype(np.float32),
        residuals=residuals,
        facts={**_facts(study, variant, configs, sources), "made_by": job},
        files=_files(study.root, variant),
    )


def seen_blocks(features: Features, columns: np.ndarray) -> tuple[Block, ...]:
    """The blocks of the columns that a variant sees."""
    found, start = [], 0
    seen = set(columns.tolist())
    for block in features.blocks:
        names = tuple(name for k, name in enumerate(block.names) if start + k in seen)
        if names:
            found.append(Block(block.tier, names, block.scaled))
        start += len(block.names)
    return tuple(found)


@torch.inference_mode()
def _residuals(model: StackedMLP, features: np.ndarray, scores: np.ndarray) -> np.ndarray:
    mean = model(torch.from_numpy(np.ascontiguousarray(features))).mean(dim=0).numpy()
    return np.sort(np.abs(mean - scores)).astype(np.float32)


def _facts(study: Study, variant: Variant, configs: TierConfigs, sources: dict[str, Any]) -> dict[str, Any]:
    current = current_tiers(study.root)
    tiers = {tier: current[tier] for tier in variant.tiers}
    scores = study.data.scores[study.data.train]
    return {
        "variant": as_json(variant),
        "seeds": list(study.seeds),
        "tiers": tiers,
        "configs": as_json(configs),
        "sources": {tier: as_json(source) for tier, source in sources.items()},
        "decay": _decay(study),
        "untrained": any(entry["untrained"] for entry in tiers.values()),
        "trained_on": {
            "train_clips": len(study.data.train),
            "val_clips": len(study.data.val),
            "mean_score": float(scores.mean()),
            "lowest_score": float(scores.min()),
            "highest_score": float(scores.max()),
        },
        "versions": versions(),
        ENVIRONMENTS: _environments(study.root, tiers),
    }


def _environments(root: Root, tiers: Mapping[str, Mapping[str, Any]]) -> dict[str, list[Environment | None]]:
    """What the features of each computed tier were computed with, as their shards say."""
    own = {tier: entry["folder"] for tier, entry in tiers.items() if not entry.get("brought")}
    return {tier: environments_of(root, "features", folder) for tier, folder in own.items() if folder}


def _decay(study: Study) -> dict[str, float] | None:
    """A line from score to decay rate on the train split's clips that have one; None where fewer than 10 have."""
    catalogue = read_catalogue(study.root)
    if "alpha" not in catalogue.column_names:
        return None
    known = dict(zip(catalogue["clip_id"].to_pylist(), catalogue["alpha"].to_pylist(), strict=True))
    rows = [row for row in study.data.train if known.get(study.data.features.clip_ids[row]) is not None]
    if len(rows) < 10:
        return None
    alpha = np.array([known[study.data.features.clip_ids[row]] for row in rows], np.float64)
    scores = study.data.scores[rows].astype(np.float64)
    slope, intercept = np.polyfit(scores, alpha, 1)
    correlation = float(np.corrcoef(scores, alpha)[0, 1]) if np.ptp(alpha) > 0 else 0.0
    found = {"intercept": float(intercept), "slope": float(slope), "r": correlation}
    return {**found, "mean": float(alpha.mean()), "clips": float(len(rows))}


def _files(root: Root, variant: Variant) -> dict[str, bytes]:
    """The artefacts that the variant's tiers were fitted with."""
    files: dict[str, bytes] = {}
    if "raw" in variant.tiers:
        files |= {name: root.read_bytes("artifacts", name) for name in ("hog_pca.safetensors", "hog_pca.json")}
    if "similarity" in variant.tiers:
        folder = current_tiers(root)["similarity"]["folder"]
        for ending in ("safetensors", "json"):
            files[f"similarity.{ending}"] = root.read_bytes("artifacts", f"{folder}.{ending}")
    return files
