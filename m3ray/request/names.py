"""What may be named on a command line, known without importing torch: tiers, measures, weights, models."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from m3ray.errors import ConfigError, WeightsError
from m3ray.similarity import MEASURES
from m3ray.storage.weights_file import read_weights_file

# Held equal to m3ray.tiers.factory by a test: importing that takes seconds.
OWN_TIERS = ("raw", "scene", "event")
TORCHVISION = "torchvision:"
_WITH_WEIGHTS = ("scene", "event")
_WEIGHT_WORDS = ("published", "untrained", "auto")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,79}")
_REGISTERED = re.compile(r'^@register_model\((?:name=)?(?:"(\w+)")?\)\n(?:[^d\n].*\n|\n)*?def (\w+)', re.MULTILINE)


def is_computed(tier: str) -> bool:
    """Whether a tier is computed from videos."""
    return tier in OWN_TIERS or tier.startswith((TORCHVISION, "tuned:"))


def check_tiers(names: Sequence[str], also: Sequence[str] = ()) -> None:
    """Raises ConfigError for a tier that nobody computes and nobody brought."""
    unknown = [name for name in names if name not in (*OWN_TIERS, *also) and not name.startswith(TORCHVISION)]
    if unknown:
        raise ConfigError(
            f"unknown tier {', '.join(unknown)}: choose from {', '.join(dict.fromkeys((*OWN_TIERS, *also)))}, "
            "torchvision:NAME"
        )
    for name in names:
        if name.startswith(TORCHVISION):
            _check_model(name.removeprefix(TORCHVISION))


def check_measure(name: str | None) -> None:
    """Raises ConfigError for a similarity measure that there is none of."""
    if name is not None and name not in MEASURES:
        raise ConfigError(f"unknown measure {name!r}: choose from {', '.join(MEASURES)}")


def check_name(name: str, taken: Iterable[str] = ()) -> None:
    """Raises ConfigError for a --name that is no plain name of a folder, or is kept for something else."""
    if not _NAME.fullmatch(name):
        raise ConfigError(f"--name {name!r}: expected letters, digits, . _ and -, as it becomes a folder")
    if name in taken:
        raise ConfigError(f"--name {name!r} is kept for the study's own tables: choose another")


def check_vectors(tiers: Sequence[str], unfrozen: str) -> None:
    """Raises ConfigError where networks are to be trained and the model sees none."""
    if unfrozen != "none" and not set(_WITH_WEIGHTS) & set(tiers):
        raise ConfigError(f"--unfrozen {unfrozen}: the model sees {', '.join(tiers)}: no scene and no event to train")


def check_weights_file(choice: str, tiers: Sequence[str]) -> None:
    """Raises where `--weights` names neither a choice nor a readable file that has weights for `tiers`."""
    wanted = [tier for tier in tiers if tier in _WITH_WEIGHTS or tier.startswith(TORCHVISION)]
    if choice in _WEIGHT_WORDS or not wanted:
        return
    file, listed = read_weights_file(choice)
    missing = [tier for tier in wanted if tier not in listed]
    if missing:
        raise ConfigError(f"--weights {file} names no weights for {', '.join(missing)}; it has {', '.join(listed)}")
    for tier in wanted:
        entry = listed[tier]
        location = entry if isinstance(entry, str) else entry.get("path") if isinstance(entry, dict) else None
        if location and "://" not in location and not (file.parent / Path(location).expanduser()).is_file():
            raise WeightsError(
                f"--weights {file}: no weight file for {tier} at {file.parent / Path(location).expanduser()}"
            )


def _check_model(model: str) -> None:
    known = torchvision_models()
    if known and model not in known:
        near = difflib.get_close_matches(model, known, 4) or ["resnet50", "vit_b_16", "r3d_18", "mvit_v2_s"]
        raise ConfigError(
            f"torchvision:{model} is none of torchvision's {len(known)} classification and video models: "
            f"did you mean {', '.join(near)}?"
        )


@cache
def torchvision_models() -> frozenset[str]:
    """The names of its classification and video models, read off its source; none where that cannot be found."""
    spec = find_spec("torchvision")
    folders = [Path(place) / "models" for place in (spec.submodule_search_locations or ())] if spec else []
    files = [file for folder in folders for file in (*folder.glob("*.py"), *folder.glob("video/*.py"))]
    found = (_REGISTERED.findall(file.read_text(encoding="utf-8")) for file in files)
    return frozenset(given or function for names in found for given, function in names)
