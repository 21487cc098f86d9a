"""What a bundle sees of a clip: its tiers, its similarity to the train split, and the matrix of its columns."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from m3ray.config import TierConfigs
from m3ray.errors import FeatureError, WeightsError
from m3ray.features.captions import read_caption_model
from m3ray.features.matrix import Features
from m3ray.schema import CAPTIONS
from m3ray.scoring.bundle_metadata import select_sources
from m3ray.scoring.open_bundle import AnyBundle
from m3ray.similarity.fitted import FittedSimilarity
from m3ray.tiers import HogProjection, Tier
from m3ray.tiers.captions import CaptionModel
from m3ray.tiers.factory import TierInputs, make_tiers, select_computed
from m3ray.tiers.finetuned import tier_of_network_file
from m3ray.tiers.network import WeightSource
from m3ray.tiers.pretrained.facts import SCORERS, find_scorer
from m3ray.tiers.pretrained.weights import find_weights


def make_bundle_tiers(bundle: AnyBundle) -> tuple[TierConfigs, list[Tier]]:
    """Make the computed tiers that a bundle needs, with its own settings, weights and PCA.

    The similarity tier needs the vector tiers that it was fitted on, whether or not the model sees them.

    Args:
        bundle: The bundle.
    Returns:
        Settings of the tiers, and the tiers, which are not set up yet.
    """
    configs, fitted = bundle.metadata.configs, load_similarity(bundle)
    needed = [*bundle.tiers, *(fitted.parts if fitted else ())]
    recorded = select_sources(bundle.metadata, needed)
    sources = {tier: _find_source(tier, WeightSource(**entry)) for tier, entry in recorded.items()}
    for file, digest in bundle.networks.items():
        sources[tier_of_network_file(file)] = WeightSource(f"{bundle.uri}/{file}", digest)
    projection = None
    if "hog_pca.json" in bundle.files:
        metadata = json.loads(bundle.files["hog_pca.json"])
        projection = HogProjection.from_artifact(bundle.files["hog_pca.safetensors"], metadata)
    return configs, make_tiers(select_computed(needed), TierInputs(configs, sources, projection))


def _find_source(tier: str, recorded: WeightSource) -> WeightSource:
    """Where a tier's weights are here: those of an installed package are elsewhere on every machine."""
    if tier not in SCORERS or recorded.location is None or Path(recorded.location).is_file():
        return recorded
    here = find_weights(tier, allow_other=True)
    if here.sha256 != recorded.sha256:
        raise WeightsError(
            f"{here.location} has SHA-256 {here.sha256}, and the bundle was made with weights of {recorded.sha256}: "
            f"install the package of then ({tier} {find_scorer(tier).version})"
        )
    return here


def load_similarity(bundle: AnyBundle) -> FittedSimilarity | None:
    """Load the fitted similarity tier of a bundle.

    Args:
        bundle: The bundle.
    Returns:
        The tier; None where the bundle sees no similarity.
    """
    if "similarity.json" not in bundle.files:
        return None
    return FittedSimilarity.from_bytes(bundle.files["similarity.safetensors"], bundle.files["similarity.json"])


def load_captions(bundle: AnyBundle) -> CaptionModel | None:
    """Load the fitted captions tier of a bundle.

    Args:
        bundle: The bundle.
    Returns:
        The tier; None where the bundle sees no captions, or a user provides them as numbers.
    """
    tensors, metadata = (bundle.files.get(f"{CAPTIONS}.{ending}") for ending in ("safetensors", "json"))
    if tensors is None or metadata is None or CAPTIONS not in bundle.tiers:
        return None
    return read_caption_model(tensors, metadata, f"{bundle.uri}/{CAPTIONS}.json")


def compute_captions(bundle: AnyBundle, captions: Any, count: int) -> dict[str, np.ndarray]:
    """Compute the captions tier of new clips.

    Args:
        bundle: The bundle.
        captions: The captions of each clip: a text, several, or None where it has none; None: none are given.
        count: Number of clips, N.
    Returns:
        `captions/column` to values, (N,) or (N, width); nothing where the bundle sees no captions.
    Raises:
        FeatureError: If it sees captions, and none are given, or not those of N clips.
    """
    model = load_captions(bundle)
    if model is None:
        return {}
    if captions is None or isinstance(captions, str) or len(captions) != count:
        got = "nothing" if captions is None else "one text" if isinstance(captions, str) else f"{len(captions)} entries"
        raise FeatureError(
            f"{bundle.name} sees captions: give predict(..., tiers={{'captions': [...]}}) with {count}, each a text, a "
            f"list of texts, or None where a clip has none; got {got}. m3ray predict takes them from a table"
        )
    own = [(each,) if isinstance(each, str) else tuple(each or ()) for each in captions]
    return {f"{CAPTIONS}/{name}": values for name, values in model.transform(own).items()}


def select_features(bundle: AnyBundle, ids: Sequence[str], columns: dict[str, np.ndarray]) -> Features:
    """Select the matrix that a bundle's model sees.

    Args:
        bundle: Names the columns, F in all.
        ids: Ids of N clips.
        columns: `tier/column` to values, (N,) or (N, width); further columns are left out.
    Returns:
        The features, (N, F), float32.
    """
    parts: list[np.ndarray] = []
    for block in bundle.blocks:
        available = _split_vectors(block.tier, columns)
        parts.append(np.stack([available[name] for name in block.names], axis=1))
    return Features(tuple(ids), np.concatenate(parts, axis=1).astype(np.float32), tuple(bundle.blocks))


def _split_vectors(tier: str, columns: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Name to values, (N,), of each number of a tier; vectors become `hog_0`, `hog_1`, ..."""
    numbers: dict[str, np.ndarray] = {}
    for key, values in columns.items():
        owner, _, name = key.partition("/")
        if owner != tier:
            continue
        if values.ndim == 1:
            numbers[name] = values
        else:
            numbers |= {f"{name}_{k}": values[:, k] for k in range(values.shape[1])}
    return numbers


def compute_similarity(fitted: FittedSimilarity, columns: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Compute the similarity tier of new clips.

    Args:
        fitted: The measure, fitted on the train split.
        columns: `tier/column` to values of N clips, (N,) or (N, width), of the tiers that the measure compares.
    Returns:
        `similarity/column` to values, (N,).
    """
    vectors = {
        tier: np.stack(list(_split_vectors(tier, columns).values()), axis=1).astype(np.float64) for tier in fitted.parts
    }
    values = fitted.transform(vectors)
    return {f"similarity/{name}": values[:, k] for k, name in enumerate(fitted.columns)}
