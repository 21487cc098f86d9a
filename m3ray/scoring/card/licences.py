"""Where the weights behind a bundle's tiers come from, and under which terms, as far as that is known."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from m3ray.config.presets import PUBLISHED
from m3ray.tiers.pretrained.facts import SCORERS

# Licences that models are given out under: the Citation File Format knows these names and, in lower case,
# Hugging Face's hub does.
_SPDX = (
    "Apache-2.0",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "CC-BY-4.0",
    "CC-BY-NC-4.0",
    "CC-BY-NC-ND-4.0",
    "CC-BY-NC-SA-4.0",
    "CC-BY-ND-4.0",
    "CC-BY-SA-4.0",
    "CC0-1.0",
    "MIT",
)
UNKNOWN = "not recorded: ask whoever gave out the file"
_HRNET = "code BSD-3-Clause; trained on ADE20K, whose images are for noncommercial research and education"
_CSN = "code Apache-2.0; pretrained on IG-65M and finetuned on Kinetics-400; the weights name no licence of their own"
_LIBRARIES = {
    "torchvision:": "code BSD-3-Clause; the weights' terms follow their training data (often ImageNet: noncommercial)",
    "timm:": "code Apache-2.0; each model's weights have terms of their own, on its page at Hugging Face",
    "clip:": "code MIT; each model's weights have terms of their own, on its page at Hugging Face",
}
_PUBLISHED = {url: _HRNET if name == "scene" else _CSN for name, url in PUBLISHED.items()}


@dataclass(frozen=True)
class Weights:
    """The weights of a tier.

    Args:
        tier: name of the tier.
        origin: address or file name that they come from, without folders of a machine.
        sha256: their SHA-256, hexadecimal; None: there is none, or it is unknown.
        licence: terms of use, in a few words; empty: they need none.
        is_noncommercial: whether these terms are known to allow noncommercial use alone.
        is_local_file: whether they were a file of the machine that made the bundle.
    """

    tier: str
    origin: str
    sha256: str | None
    licence: str
    is_noncommercial: bool = False
    is_local_file: bool = False


def describe_weights(tier: str, source: Mapping[str, Any]) -> Weights:
    """Describe the weights of a tier.

    Args:
        tier: name of the tier.
        source: its `WeightSource`, as JSON values.
    Returns:
        Origin and terms.
    """
    location, sha256 = source.get("location"), source.get("sha256")
    if tier in SCORERS:
        facts = SCORERS[tier]
        origin = facts.url or f"package {facts.package}"
        return Weights(tier, origin, sha256, facts.licence, "noncommercial" in facts.licence)
    if location is None:
        return Weights(tier, f"**UNTRAINED**: random numbers of seed {source.get('seed', 0)}", None, "")
    origin = location if "://" in location else PurePosixPath(str(location).replace("\\", "/")).name
    library = next((text for prefix, text in _LIBRARIES.items() if tier.startswith(prefix)), UNKNOWN)
    return Weights(tier, origin, sha256, _PUBLISHED.get(location, library), is_local_file="://" not in location)


def find_spdx(licence: str) -> str | None:
    """Find the SPDX identifier of a licence.

    Args:
        licence: what a person calls it, such as `cc-by-4.0` or `MIT License`.
    Returns:
        The identifier; None for one that is none of those which models are mostly given out under.
    """
    name = licence.strip().lower().removesuffix(" license").removesuffix(" licence")
    return next((spdx for spdx in _SPDX if spdx.lower() == name), None)
