"""The tiers and weights of a model card."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from m3ray.config import as_json
from m3ray.schema import SIMILARITY
from m3ray.scoring.bundle import Bundle
from m3ray.scoring.bundle_metadata import select_sources
from m3ray.scoring.card.licences import UNKNOWN, Weights, describe_weights
from m3ray.scoring.card.markdown import make_table
from m3ray.tiers.finetuned import FINETUNED_PREFIX, tier_of_network_file
from m3ray.tiers.pretrained.facts import SCORERS

_WHAT = {
    "raw": "brightness, contrast, blurriness, optical flow, histogram of oriented gradients, bytes of the video stream",
    "scene": "HRNetV2-W48, what place the first frame shows",
    "event": "CSN-152, what happens in the whole clip",
    "similarity": "how unlike the train clips a clip is",
    "captions": "words of the clip's captions (TF-IDF and SVD, fitted on the train split)",
}
_TUNED = {f"{FINETUNED_PREFIX}{name}": f"{_WHAT[name]}; trained further for this model" for name in ("scene", "event")}
# Settings of a tier in `TierConfigs`, where they are not under its own name.
_OF_SIMILARITY = ("measure", "sources", "components")
_LIBRARY_SETTINGS = {"torchvision": "vision", "timm": "image", "clip": "image"}


def make_tier_table(bundle: Bundle) -> str:
    """Make the table of the tiers that a bundle sees.

    Args:
        bundle: the bundle.
    Returns:
        A row a tier: what it is, its number of features, its settings.
    """
    provided = bundle.metadata.user_provided
    rows = []
    for block in bundle.blocks:
        tier = block.tier
        own = "a file of the maker's, to be given with `--tier " + tier + "=FILE`" if tier in provided else _name(tier)
        settings = "" if tier in provided else _describe_settings(bundle, tier)
        rows.append((f"`{tier}`", own, f"{len(block.names):,}", settings))
    return make_table(("tier", "what it is", "features", "settings"), rows)


def _name(tier: str) -> str:
    if tier in SCORERS:
        return f"{SCORERS[tier].title}, a network trained to predict memorability"
    library, colon, network = tier.partition(":")
    known = {**_WHAT, **_TUNED}
    return known.get(tier) or (f"{network} of {library}" if colon else tier)


def _describe_settings(bundle: Bundle, tier: str) -> str:
    configs: Mapping[str, Any] = as_json(bundle.metadata.configs)
    name = "image" if tier in SCORERS else tier.partition(":")[0]
    values = configs.get(_LIBRARY_SETTINGS.get(name, name)) or {}
    return _list_settings({k: v for k, v in values.items() if name != SIMILARITY or k in _OF_SIMILARITY})


def _list_settings(values: Mapping[str, Any]) -> str:
    shown = {name: ", ".join(map(str, v)) if isinstance(v, list | tuple) else v for name, v in values.items()}
    return "; ".join(f"{name.replace('_', ' ')} {value}" for name, value in shown.items() if value is not None)


def describe_decoding(bundle: Bundle) -> str:
    """Say how clips are sampled.

    Args:
        bundle: the bundle.
    Returns:
        A sentence.
    """
    decode = bundle.metadata.configs.decode
    return (
        f"Clips are sampled at {decode.fps:g} frames a second at most and resized to {decode.size} x {decode.size}; no "
        "sound is heard."
    )


def list_weights(bundle: Bundle) -> list[Weights]:
    """List the weights behind a bundle's tiers.

    Args:
        bundle: the bundle.
    Returns:
        One entry a network: those that it scores with, and those that its similarity tier compares.
    """
    sources = select_sources(bundle.metadata, bundle.tiers)
    weights = [describe_weights(tier, source) for tier, source in sources.items()]
    tuned = [
        Weights(tier_of_network_file(file), "in the bundle", digest, "those of the weights that it began with")
        for file, digest in bundle.networks.items()
    ]
    return weights + tuned


def make_weights_table(weights: list[Weights]) -> str:
    """Make the table of weights.

    Args:
        weights: what `list_weights` gave.
    Returns:
        A row a network; a sentence where there is none.
    """
    if not weights:
        return "No tier needs the weights of a network."
    rows = [
        (f"`{w.tier}`", w.origin, f"`{w.sha256}`" if w.sha256 else "none", w.licence or "none needed") for w in weights
    ]
    return make_table(("tier", "weights", "SHA-256", "terms, as far as known"), rows)


def explain_terms(weights: list[Weights]) -> str:
    """Say what the weights' terms mean for whoever uses the bundle.

    Args:
        weights: what `list_weights` gave.
    Returns:
        Sentences; empty where nothing is to be said.
    """
    bound = [f"`{w.tier}`" for w in weights if w.is_noncommercial]
    unknown = [f"`{w.tier}`" for w in weights if w.licence == UNKNOWN]
    parts = [f"**Noncommercial use only**, by the terms of {', '.join(bound)}."] if bound else []
    parts += [f"Ask for the terms of {', '.join(unknown)} before you use this commercially."] if unknown else []
    return " ".join(parts)
