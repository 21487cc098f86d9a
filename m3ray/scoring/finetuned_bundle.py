"""The bundle of an unfrozen model: the frozen one's, with fine-tuned networks in the scene and event tiers' place."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from safetensors.numpy import load

from m3ray.config import TunedConfig, as_json
from m3ray.features.dataset import Scaling
from m3ray.features.matrix import Block
from m3ray.model import StackedMLP
from m3ray.schema import SIMILARITY
from m3ray.scoring.bundle import Bundle
from m3ray.similarity.fitted import FittedSimilarity
from m3ray.storage.root import Root
from m3ray.study.study import Study
from m3ray.study.variants import Variant
from m3ray.tiers.finetuned import PREFIX as TUNED_PREFIX
from m3ray.tiers.finetuned import TUNED, network_file
from m3ray.tiers.network import WeightSource
from m3ray.training.finetuning.spec import REFIT, REFIT_ROWS, REFIT_TEXT


def unfrozen_bundle(study: Study, variant: Variant, frozen: Bundle, name: str) -> Bundle:
    """The bundle of an unfrozen variant; its networks go to the bundle's folder now, the rest when it is saved.

    Args:
        study: that has the variant's part.
        variant: the unfrozen one.
        frozen: the bundle of the full model that it began from: same tiers, artefacts and scaling.
        name: of the bundle.
    """
    root, part = study.root, study.part(variant)
    config = variant.unfrozen
    assert config is not None
    tensors, means = (load(root.read_bytes(*part, f"{n}.safetensors")) for n in ("model", "means"))
    run = {key: torch.from_numpy(np.array(value[:1])) for key, value in tensors.items() if key != "columns"}
    layers = len(run) // 2
    model = StackedMLP(run["weights.0"].shape[2], [run[f"weights.{k}"].shape[1] for k in range(layers - 1)], [0])
    model.load_state_dict(run)
    val = load(root.read_bytes(*part, "val.safetensors"))["val"][0]
    residuals = np.sort(np.abs(val - study.data.scores[study.data.val])).astype(np.float32)
    networks = {network_file(f"{TUNED_PREFIX}{tier}"): _copied(root, part, tier, name) for tier in means}
    start = _refitted(frozen, root, part)
    return replace(
        start,
        name=name,
        model=model.eval(),
        blocks=tuple(_tuned_block(block) if block.tier in means else block for block in start.blocks),
        baseline=_baseline(start, means),
        residuals=residuals,
        facts=_tuned_facts(frozen, variant, means, networks),
        networks=networks,
    )


def _refitted(frozen: Bundle, root: Root, part: tuple[str, ...]) -> Bundle:
    """The bundle with the similarity tier that was fitted anew, where it was."""
    if not root.exists(*part, REFIT_TEXT):
        return frozen
    tensors, text = root.read_bytes(*part, REFIT), root.read_bytes(*part, REFIT_TEXT)
    names = FittedSimilarity.from_bytes(tensors, text).columns
    known = load(root.read_bytes(*part, REFIT_ROWS))
    mean, deviation, baseline = (np.array(x) for x in (frozen.scaling.mean, frozen.scaling.deviation, frozen.baseline))
    blocks, start = [], 0
    for block in frozen.blocks:
        own = slice(start, start + len(block.names))
        if block.tier == SIMILARITY:
            # z-scored with the train split's statistics: its mean is 0.
            mean[own], deviation[own], baseline[own] = known["mean"], known["deviation"], 0
            block = replace(block, names=names)
        blocks.append(block)
        start = own.stop
    files = {**frozen.files, "similarity.safetensors": tensors, "similarity.json": text}
    scaling = Scaling(mean, deviation)
    return replace(frozen, blocks=tuple(blocks), scaling=scaling, baseline=baseline, files=files)


def _copied(root: Root, part: tuple[str, ...], tier: str, name: str) -> str:
    """A network's file in the bundle's folder, and its SHA-256."""
    file = network_file(f"{TUNED_PREFIX}{tier}")
    data = root.read_bytes(*part, file)
    root.write_bytes(data, "models", name, file)
    return hashlib.sha256(data).hexdigest()


def _tuned_block(block: Block) -> Block:
    names = tuple(f"tuned_{name}" for name in block.names)
    return replace(block, tier=f"{TUNED_PREFIX}{block.tier}", names=names)


def _baseline(frozen: Bundle, means: Mapping[str, np.ndarray]) -> np.ndarray:
    """The train split's mean clip as the fine-tuned networks see it."""
    parts, start = [], 0
    for block in frozen.blocks:
        own = frozen.baseline[start : start + len(block.names)]
        parts.append(means.get(block.tier, own))
        start += len(block.names)
    return np.concatenate(parts).astype(np.float32)


def _tuned_facts(
    frozen: Bundle, variant: Variant, means: Mapping[str, np.ndarray], networks: Mapping[str, str]
) -> dict[str, Any]:
    config, configs = variant.unfrozen, frozen.facts["configs"]
    assert config is not None
    start = {tier: bool(frozen.facts["tiers"][tier]["untrained"]) for tier in means}
    # As it was trained; where that was left to the device, as the root's networks compute.
    precision = configs["event"]["precision"] if config.precision == "auto" else config.precision
    tuned = TunedConfig(precision, config.size, configs["event"]["network"], any(start.values()))
    hashes = {tier: networks[network_file(f"{TUNED_PREFIX}{tier}")] for tier in means}
    made = {tier: TUNED[tier](tuned, WeightSource("in the bundle", digest)) for tier, digest in hashes.items()}
    tiers = {
        f"{TUNED_PREFIX}{tier}": {"folder": None, "untrained": tuned.untrained, "identity": own.identity()}
        for tier, own in made.items()
    }
    return {
        **frozen.facts,
        "variant": as_json(variant),
        "seeds": list(frozen.facts["seeds"][:1]),
        "tiers": {**frozen.facts["tiers"], **tiers},
        "configs": {**configs, "tuned": as_json(tuned)},
    }
