"""The environments that numbers are computed in, and which differences between two of them change the numbers.

An environment is a flat mapping of texts: versions of software (`torch`, `libavcodec`, ...), and what one tier was
computed on (`device`, `processor`, `precision`). Each shard of features carries the environments of its rows.
"""

from __future__ import annotations

import platform
import re
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal

from m3ray.schema import METADATA_TABLE, SIMILARITY
from m3ray.storage.root import Root

Environment = Mapping[str, str]
Effect = Literal["rejected", "warned", "silent"]
Scope = Literal["computed", "raw", "networks", "torchvision", "timm", "clip", "fitted"]

# In a shard's metadata and in a bundle: a list, in which null stands for an older m3ray, which kept none.
KEY = "environments"
_NETWORKS = ("timm", "open_clip_torch")
_PACKAGES = ("m3ray", "torch", "torchvision", "av", "decord", "numpy", "numba", "scikit-learn", *_NETWORKS)
# torchvision computes the transforms before timm's and open_clip's networks too.
_LIBRARY_SCOPES: Mapping[str, set[Scope]] = {
    "torchvision": {"torchvision"},
    "timm": {"torchvision", "timm"},
    "clip": {"torchvision", "clip"},
    "vitmem": {"timm"},
}
_LIBRARIES = ("libavcodec", "libavformat", "libswscale")
_READERS = 16


@dataclass(frozen=True)
class Rule:
    """What a difference in one part of two environments means for the numbers of a tier.

    Args:
        part: key of the part in an environment.
        label: name of the part for readers.
        scope: tiers whose numbers depend on the part.
        rejected: how many leading numbers of the version must agree, else mixing is rejected; 0 for none.
        warned: how many leading numbers of the version must agree, else mixing is warned of; 0 for none.
        why: why the part matters, or does not.
    """

    part: str
    label: str
    scope: Scope
    rejected: int
    warned: int
    why: str


# A release (the first two numbers) may bring another algorithm; a patch (the third) repairs, and seldom changes any.
RULES = (
    Rule("libavcodec", "FFmpeg's libavcodec", "computed", 2, 3, "decodes every frame, and conceals what is damaged"),
    Rule("libavformat", "FFmpeg's libavformat", "computed", 2, 3, "reads times and edit lists: which frames are taken"),
    Rule("libswscale", "FFmpeg's libswscale", "computed", 2, 3, "turns YUV into RGB: every pixel"),
    Rule("av", "PyAV", "computed", 2, 3, "says how FFmpeg is asked for colours and times"),
    Rule("opencv", "OpenCV", "computed", 2, 3, "resizes every frame; blurs for optical flow"),
    Rule("torch", "PyTorch", "computed", 2, 3, "convolutions, Fourier transforms, reductions"),
    Rule("torchvision", "torchvision", "torchvision", 2, 3, "its networks and the transforms before them"),
    Rule("timm", "timm", "timm", 2, 3, "its networks and the transforms before them"),
    Rule("open_clip_torch", "open_clip", "clip", 2, 3, "its networks and the transforms before them"),
    Rule("decord", "decord", "computed", 0, 2, "reads where it is asked for and proven to give PyAV's frames"),
    Rule("numba", "Numba", "raw", 0, 2, "compiles optical flow: sums in another order, which rounds otherwise"),
    Rule("device", "device", "computed", 0, 1, "CPU and GPU compute the same in other kernels, which round otherwise"),
    Rule("processor", "processor", "computed", 0, 0, "instruction set or model of GPU: the last digits"),
    Rule(
        "precision", "precision", "networks", 0, 0, "in the fingerprint: bfloat16 and float32 have folders of their own"
    ),
    Rule("m3ray", "m3ray", "computed", 0, 0, "code that changes numbers is in the fingerprint"),
    Rule("commit", "commit", "computed", 0, 0, "as m3ray"),
    Rule("numpy", "NumPy", "computed", 0, 0, "averages over windows, in float64"),
    Rule("scikit-learn", "scikit-learn", "fitted", 0, 0, "a fit is whole: similarity's folder is written at once"),
    Rule("python", "Python", "computed", 0, 0, "computes no feature"),
)


@dataclass(frozen=True)
class Difference:
    """A part in which two environments differ.

    Args:
        rule: what a difference in that part means.
        then: the part in the earlier environment.
        now: the part in the present environment.
    """

    rule: Rule
    then: str
    now: str

    @property
    def effect(self) -> Effect:
        """Consequence of the difference: 'rejected', 'warned' or 'silent'."""
        if _differ(self.then, self.now, self.rule.rejected):
            return "rejected"
        return "warned" if _differ(self.then, self.now, self.rule.warned) else "silent"

    def __str__(self) -> str:
        return f"{self.rule.label} {self.then} then and {self.now} now"


def _differ(then: str, now: str, numbers: int) -> bool:
    return _first_numbers(then, numbers) != _first_numbers(now, numbers)


def _first_numbers(text: str, numbers: int) -> list[str]:
    """Leading numbers of a version such as `2.14.1+cu130`, where the build of the wheel follows the plus sign."""
    return re.split(r"\.", text.partition("+")[0])[:numbers]


def differences(then: Environment, now: Environment, tier: str | None = None) -> list[Difference]:
    """Differences between two environments that change numbers, or may change them within tolerance.

    Args:
        then: the earlier environment.
        now: the present environment; parts that either lacks are not compared.
        tier: name of the tier whose numbers matter; None for those of any.
    Returns:
        The differences, those that are rejected before those that are warned of.
    """
    rules = [rule for rule in RULES if rule.part in then and rule.part in now and is_relevant(rule, tier)]
    every = [Difference(rule, then[rule.part], now[rule.part]) for rule in rules]
    return [d for effect in ("rejected", "warned") for d in every if d.effect == effect]


def filter_rejected(differing: Iterable[Difference]) -> list[Difference]:
    """Select the differences that change numbers.

    Args:
        differing: differences between environments.
    Returns:
        Those that are rejected.
    """
    return [difference for difference in differing if difference.effect == "rejected"]


def is_relevant(rule: Rule, tier: str | None) -> bool:
    """Tell whether a tier's numbers depend on the part that a rule is about.

    Args:
        rule: rule of the part.
        tier: name of the tier, or of the table of video metadata, whose numbers no rule is about; None for any tier.
    Returns:
        Whether they do.
    """
    return tier is None or rule.scope in _scopes(tier)


def _scopes(tier: str) -> set[Scope]:
    family = tier.partition(":")[0]
    if family in (METADATA_TABLE, SIMILARITY):
        return {"fitted"} if family == SIMILARITY else set()
    if family == "raw":
        return {"computed", "raw"}
    return {"computed", "networks", *_LIBRARY_SCOPES.get(family, set())}


@cache
def _software() -> Environment:
    import av  # imported here, since reading shards needs no decoder
    import cv2

    versions = {"python": platform.python_version(), "opencv": cv2.__version__}
    for package in _PACKAGES:
        with suppress(PackageNotFoundError):  # decord has wheels for some platforms alone
            versions[package] = version(package)
    return versions | {name: ".".join(map(str, av.library_versions[name])) for name in _LIBRARIES}


def software_versions() -> dict[str, str]:
    """Versions of the software that this process computes numbers with, FFmpeg's own libraries among them."""
    return dict(_software())


@cache
def git_commit() -> str | None:
    """Git commit of this code; None if it is in no checkout, as an uploaded working folder has no `.git`."""
    command = ["git", "-C", str(Path(__file__).parent), "rev-parse", "HEAD"]
    with suppress(OSError, subprocess.SubprocessError):
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()
    return None


def unique_environments(environments: Iterable[Environment | None]) -> list[Environment | None]:
    """Drop repeated environments.

    Args:
        environments: environments, None standing for an unknown one.
    Returns:
        Each of them once, in the order of first appearance.
    """
    unique: list[Environment | None] = []
    for environment in environments:
        if environment not in unique:
            unique.append(environment)
    return unique


def merge_metadata(metadata: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Merge the metadata of shards that are merged into one.

    Args:
        metadata: metadata of each shard.
    Returns:
        That of the first shard, with the environments of all.
    """
    first = dict(metadata[0]) if metadata else {}
    if not any(KEY in each for each in metadata):
        return first
    return {**first, KEY: unique_environments(e for each in metadata for e in each.get(KEY, [None]))}


def read_folder_metadata(root: Root, *folder: str) -> dict[str, Any]:
    """Read the merged metadata of a folder's shards.

    Args:
        root: root that holds the folder.
        *folder: parts of its path.
    Returns:
        Metadata as `merge_metadata` returns it; empty where there is no shard.
    """
    names = root.list_names(*folder, suffix=".parquet")
    with ThreadPoolExecutor(_READERS) as pool:
        return merge_metadata(list(pool.map(lambda name: root.read_metadata(*folder, name), names)))


def read_environments(root: Root, *folder: str) -> list[Environment | None]:
    """Read which environments a folder's rows were computed in.

    Args:
        root: root that holds the folder.
        *folder: parts of its path.
    Returns:
        Each environment once, with None for rows of an older m3ray, which kept none; empty where there is no shard.
    """
    if not root.list_names(*folder, suffix=".parquet"):
        return []
    return read_folder_metadata(root, *folder).get(KEY, [None])
