"""Checks of names on a command line, without importing torch: tiers, measures, weights, models."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from m3ray.errors import ConfigError, WeightsError
from m3ray.schema import CAPTIONS
from m3ray.similarity import MEASURES
from m3ray.storage.weights_file import read_weights_file
from m3ray.tiers.pretrained.facts import SCORERS

# Held equal to m3ray.tiers.factory by a test: importing that takes seconds.
OWN_TIERS = ("raw", "scene", "event")
TORCHVISION = "torchvision:"
# Prefix of a library's models to its package and to the command that installs it.
LIBRARIES = {
    "timm:": ("timm", "pip install 'm3ray[timm]'"),
    "clip:": ("open_clip", "pip install 'm3ray[clip]'"),
}
_PREFIXES = (TORCHVISION, *LIBRARIES)
_WITH_WEIGHTS = ("scene", "event")
_WEIGHT_WORDS = ("published", "untrained", "auto")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,79}")
_REGISTERED = re.compile(r'^@register_model\((?:name=)?(?:"(\w+)")?\)\n(?:[^d\n].*\n|\n)*?def (\w+)', re.MULTILINE)

_TIMM_REGISTERED = re.compile(r"^@register_model\n(?:@.*\n)*def (\w+)", re.MULTILINE)


def is_computed(tier: str) -> bool:
    """Tell whether a tier is computed from videos.

    Args:
        tier: Name of the tier.
    Returns:
        Whether it is.
    """
    return tier in (*OWN_TIERS, *SCORERS) or tier.startswith((*_PREFIXES, "tuned:"))


def check_tiers(names: Sequence[str], also: Sequence[str] = ()) -> None:
    """Check the names of tiers.

    Args:
        names: Names on the command line.
        also: Names of further tiers: user-provided ones, and for a model similarity.
    Raises:
        ConfigError: If a tier is neither computed nor among those, or what computes it is not installed.
    """
    known = (*OWN_TIERS, CAPTIONS, *SCORERS, *also)
    unknown = [name for name in names if name not in known and not name.startswith(_PREFIXES)]
    if unknown:
        raise ConfigError(
            f"unknown tier {', '.join(unknown)}: choose from {', '.join(dict.fromkeys(known))}, torchvision:NAME, "
            "timm:NAME, clip:NAME"
        )
    for name in names:
        if name.startswith(TORCHVISION):
            _check_model(name.removeprefix(TORCHVISION))
        _check_installed(name)
        _check_architecture(name)


def _check_installed(tier: str) -> None:
    """Raise ConfigError, with the command that installs it, where a tier's package is missing."""
    for prefix, (package, command) in LIBRARIES.items():
        if tier.startswith(prefix) and find_spec(package) is None:
            raise ConfigError(f"{tier} needs {package}: {command}")
    scorer = SCORERS.get(tier)
    packages = () if scorer is None else (scorer.package, scorer.needs)
    if scorer is not None and any(package is not None and find_spec(package) is None for package in packages):
        raise ConfigError(f"{scorer.title} is not installed: {scorer.install_command} ({scorer.licence})")


def _check_architecture(tier: str) -> None:
    """Raise ConfigError, with near names, where a library has no such model; its weights' name is checked later."""
    prefix, _, model = tier.partition(":")
    models = {"timm": list_timm_models, "clip": list_clip_models}.get(prefix, frozenset)()
    architecture = model.partition(".")[0]
    if models and architecture not in models:
        library = LIBRARIES[f"{prefix}:"][0]
        near = difflib.get_close_matches(architecture, models, 4) or sorted(models)[:4]
        raise ConfigError(f"{tier} is none of {library}'s {len(models)} models: did you mean {', '.join(near)}?")


def check_measure(name: str | None) -> None:
    """Check the name of a similarity measure.

    Args:
        name: The name; None: the preset's measure.
    Raises:
        ConfigError: If there is no such measure.
    """
    if name is not None and name not in MEASURES:
        raise ConfigError(f"unknown measure {name!r}: choose from {', '.join(MEASURES)}")


def check_name(name: str, reserved: Iterable[str] = ()) -> None:
    """Check a `--name`, which becomes the name of a folder.

    Args:
        name: The name.
        reserved: Names that stand for something else.
    Raises:
        ConfigError: If it is no plain name of a folder, or is reserved.
    """
    if not _NAME.fullmatch(name):
        raise ConfigError(f"--name {name!r}: expected letters, digits, . _ and -, as it becomes a folder")
    if name in reserved:
        raise ConfigError(f"--name {name!r} is kept for the study's own tables: choose another")


def check_vectors(tiers: Sequence[str], unfrozen: str) -> None:
    """Check that a model sees a network that can be finetuned.

    Args:
        tiers: Names of the tiers that the model sees.
        unfrozen: Value of `--unfrozen`; `none` trains no network.
    Raises:
        ConfigError: If networks are to be trained, and it sees neither scene nor event.
    """
    if unfrozen != "none" and not set(_WITH_WEIGHTS) & set(tiers):
        raise ConfigError(f"--unfrozen {unfrozen}: the model sees {', '.join(tiers)}: no scene and no event to train")


def check_weights_file(choice: str, tiers: Sequence[str]) -> None:
    """Check a `--weights` that names a file.

    Args:
        choice: Value of `--weights`: a word, or a JSON file.
        tiers: Names of the tiers that are computed.
    Raises:
        ConfigError: If the file cannot be read, or lacks weights of a tier.
        WeightsError: If a file of weights that it names does not exist.
    """
    wanted = [tier for tier in tiers if tier in _WITH_WEIGHTS or tier.startswith(_PREFIXES)]
    if choice in _WEIGHT_WORDS or not (wanted or set(tiers) & set(SCORERS)):
        return
    file, listed = read_weights_file(choice)
    wanted += [tier for tier in tiers if tier in SCORERS and tier in listed]
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
    models = list_torchvision_models()
    if models and model not in models:
        near = difflib.get_close_matches(model, models, 4) or ["resnet50", "vit_b_16", "r3d_18", "mvit_v2_s"]
        raise ConfigError(
            f"torchvision:{model} is none of torchvision's {len(models)} classification and video models: "
            f"did you mean {', '.join(near)}?"
        )


@cache
def list_timm_models() -> frozenset[str]:
    """List timm's models, read off its source code.

    Returns:
        Their names, without those of weights; empty where it is not installed.
    """
    files = [file for folder in _folders_of("timm") for file in (folder / "models").glob("*.py")]
    return frozenset(name for file in files for name in _TIMM_REGISTERED.findall(file.read_text(encoding="utf-8")))


@cache
def list_clip_models() -> frozenset[str]:
    """List open_clip's models, by the files of their settings.

    Returns:
        Their names, without those of weights; empty where it is not installed.
    """
    files = [file for folder in _folders_of("open_clip") for file in (folder / "model_configs").glob("*.json")]
    return frozenset(file.stem for file in files)


def _folders_of(package: str) -> list[Path]:
    spec = find_spec(package)
    return [] if spec is None else [Path(folder) for folder in spec.submodule_search_locations or ()]


@cache
def list_torchvision_models() -> frozenset[str]:
    """List torchvision's classification and video models, read off its source code.

    Returns:
        Their names; empty where the source code is missing.
    """
    folders = [package / "models" for package in _folders_of("torchvision")]
    files = [file for folder in folders for file in (*folder.glob("*.py"), *folder.glob("video/*.py"))]
    registrations = (_REGISTERED.findall(file.read_text(encoding="utf-8")) for file in files)
    return frozenset(name or function for pairs in registrations for name, function in pairs)
