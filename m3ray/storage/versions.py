"""What numbers were computed with, and which differences between two such environments change them.

An environment is a flat mapping of texts: versions of software (`torch`, `libavcodec`, ...), and of what one tier was
computed on (`device`, `processor`, `precision`). Each shard of features carries those of its rows.
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

from m3ray.schema import SIMILARITY
from m3ray.storage.root import Root

Environment = Mapping[str, str]
Effect = Literal["refused", "warned", "silent"]
Scope = Literal["computed", "raw", "networks", "torchvision", "fitted"]

# In a shard's metadata and in a bundle: a list, in which null stands for an older m3ray that noted none.
KEY = "environments"
_PACKAGES = ("m3ray", "torch", "torchvision", "av", "decord", "numpy", "numba", "scikit-learn")
_LIBRARIES = ("libavcodec", "libavformat", "libswscale")
_READERS = 16


@dataclass(frozen=True)
class Rule:
    """What a difference in one part of two environments means for the numbers of a tier.

    Args:
        part: of an environment.
        label: what a reader calls it.
        scope: the tiers whose numbers come through it.
        refused: mixing is refused where the first so many numbers of its version differ; 0: never.
        warned: it is warned of where the first so many differ; 0: never.
        why: the reason.
    """

    part: str
    label: str
    scope: Scope
    refused: int
    warned: int
    why: str


# A release (the first two numbers) may bring another algorithm; a patch (the third) mends, and seldom touches numbers.
RULES = (
    Rule("libavcodec", "FFmpeg's libavcodec", "computed", 2, 3, "decodes every frame, and conceals what is damaged"),
    Rule("libavformat", "FFmpeg's libavformat", "computed", 2, 3, "reads times and edit lists: which frames are taken"),
    Rule("libswscale", "FFmpeg's libswscale", "computed", 2, 3, "turns YUV into RGB: every pixel"),
    Rule("av", "PyAV", "computed", 2, 3, "says how FFmpeg is asked for colours and times"),
    Rule("opencv", "OpenCV", "computed", 2, 3, "resizes every frame; blurs for optical flow"),
    Rule("torch", "PyTorch", "computed", 2, 3, "convolutions, Fourier transforms, reductions"),
    Rule("torchvision", "torchvision", "torchvision", 2, 3, "its networks and the transforms before them"),
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
    """A part that two environments have otherwise: what it was then, and what it is now."""

    rule: Rule
    then: str
    now: str

    @property
    def effect(self) -> Effect:
        if _differ(self.then, self.now, self.rule.refused):
            return "refused"
        return "warned" if _differ(self.then, self.now, self.rule.warned) else "silent"

    def __str__(self) -> str:
        return f"{self.rule.label} {self.then} then and {self.now} now"


def _differ(then: str, now: str, numbers: int) -> bool:
    return _leading(then, numbers) != _leading(now, numbers)


def _leading(text: str, numbers: int) -> list[str]:
    """`2.14.1+cu130` to its first numbers: how a wheel was built stands after the plus sign."""
    return re.split(r"\.", text.partition("+")[0])[:numbers]


def differences(then: Environment, now: Environment, tier: str | None = None) -> list[Difference]:
    """What changes numbers, or may within tolerance, the gravest first.

    Args:
        then: an environment.
        now: another; a part that either does not know is not compared.
        tier: whose numbers are looked at; None: those of any.
    """
    known = [rule for rule in RULES if rule.part in then and rule.part in now and concerns(rule, tier)]
    found = [Difference(rule, then[rule.part], now[rule.part]) for rule in known]
    return [d for effect in ("refused", "warned") for d in found if d.effect == effect]


def refused(found: Iterable[Difference]) -> list[Difference]:
    """Those of some differences that change numbers."""
    return [difference for difference in found if difference.effect == "refused"]


def concerns(rule: Rule, tier: str | None) -> bool:
    """Whether a tier's numbers come through what a rule is about. `facts` are no numbers of a tier."""
    return tier is None or rule.scope in _scopes(tier)


def _scopes(tier: str) -> set[Scope]:
    family = tier.partition(":")[0]
    if family in ("facts", SIMILARITY):
        return {"fitted"} if family == SIMILARITY else set()
    if family == "raw":
        return {"computed", "raw"}
    return {"computed", "networks", "torchvision"} if family == "torchvision" else {"computed", "networks"}


@cache
def _software() -> Environment:
    import av  # here: whoever just reads shards needs no decoder
    import cv2

    found = {"python": platform.python_version(), "opencv": cv2.__version__}
    for package in _PACKAGES:
        with suppress(PackageNotFoundError):  # decord has wheels for some platforms alone
            found[package] = version(package)
    return found | {name: ".".join(map(str, av.library_versions[name])) for name in _LIBRARIES}


def software() -> dict[str, str]:
    """Versions of what this process computes numbers with, FFmpeg's own libraries among them."""
    return dict(_software())


@cache
def commit() -> str | None:
    """The git commit of this code; None where it is not in a checkout (an uploaded working folder has no `.git`)."""
    asked = ["git", "-C", str(Path(__file__).parent), "rev-parse", "HEAD"]
    with suppress(OSError, subprocess.SubprocessError):
        return subprocess.run(asked, capture_output=True, text=True, check=True, timeout=10).stdout.strip()
    return None


def distinct(environments: Iterable[Environment | None]) -> list[Environment | None]:
    """Each environment once, in order."""
    found: list[Environment | None] = []
    for environment in environments:
        if environment not in found:
            found.append(environment)
    return found


def united(metadata: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What a shard says that was made of several: as the first one, with the environments of all."""
    first = dict(metadata[0]) if metadata else {}
    if not any(KEY in each for each in metadata):
        return first
    return {**first, KEY: distinct(e for each in metadata for e in each.get(KEY, [None]))}


def folder_metadata(root: Root, *folder: str) -> dict[str, Any]:
    """What the shards of a folder say, as `united`; empty where there is none."""
    names = root.names(*folder, suffix=".parquet")
    with ThreadPoolExecutor(_READERS) as pool:
        return united(list(pool.map(lambda name: root.metadata(*folder, name), names)))


def environments_of(root: Root, *folder: str) -> list[Environment | None]:
    """The environments that a folder's rows were computed in; None among them: an older m3ray noted none."""
    if not root.names(*folder, suffix=".parquet"):
        return []
    return folder_metadata(root, *folder).get(KEY, [None])
