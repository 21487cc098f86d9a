"""One environment a tier folder: what its shards were computed with, what this job has, and what every worker has."""

from __future__ import annotations

import json
import platform
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import torch

from m3ray.config import ComputeConfig
from m3ray.console import say
from m3ray.errors import ConfigError
from m3ray.pipelines.extraction.planning import Plan
from m3ray.pipelines.runtime.cluster import Resources
from m3ray.storage.versions import (
    KEY,
    Difference,
    Environment,
    commit,
    differences,
    distinct,
    environments_of,
    refused,
    software,
)
from m3ray.tiers import Tier

ENVIRONMENT = "environment"  # the column in which a tier actor tells the writer where its rows were computed
_TF32_FROM = (8, 0)  # compute capability: NVIDIA's Ampere


def check_versions(plan: Plan, compute: ComputeConfig, on: Resources, *, mix: bool) -> None:
    """Compares what the folders that a job adds to were computed with, with what it computes with.

    Args:
        plan: its work names the tiers that are added to.
        compute: whether the raw tier stays on the CPU.
        on: the cluster.
        mix: whether what is refused is said instead.
    Raises:
        ConfigError: numbers that do not go together would stand in one folder.
    """
    found: dict[str, list[Difference]] = {}
    unknown = []
    for tier in _added_to(plan):
        known = environments_of(plan.root, *plan.folders[tier])
        unknown += [tier] if None in known else []
        here = {**software(), "device": _device_there(tier, compute, on)}
        found["/".join(plan.folders[tier])] = _of_all(known, here, tier)
    if unknown:
        say(f"versions: earlier features of {', '.join(unknown)} do not say what they were computed with: not compared")
    _refuse({folder: refused(differing) for folder, differing in found.items()}, mix=mix)
    _warn({folder: [d for d in differing if d.effect == "warned"] for folder, differing in found.items()})


def _added_to(plan: Plan) -> list[str]:
    asked = set(pc.unique(pc.list_flatten(plan.work["tiers"])).to_pylist())
    return [tier.name for tier in plan.tiers if tier.name in asked]


def _of_all(known: Iterable[Environment | None], here: Environment, tier: str) -> list[Difference]:
    return list(dict.fromkeys(d for then in known if then is not None for d in differences(then, here, tier)))


def _device_there(tier: str, compute: ComputeConfig, on: Resources) -> str:
    on_gpu = on.gpus and not (tier == "raw" and compute.raw_device == "cpu")
    return "gpu" if on_gpu else "cpu"


def _refuse(found: Mapping[str, Sequence[Difference]], *, mix: bool) -> None:
    for folder, differing in found.items():
        if not differing:
            continue
        what = f"{folder}: computed with {words(differing)}"
        if not mix:
            raise ConfigError(
                f"{what}, which changes numbers: install those versions again (the requirements.lock of then), or "
                "compute into a new root (--out), or mix them in one folder with --mix-versions"
            )
        say(f"versions: {what}, which changes numbers: mixed, as --mix-versions asks")


def _warn(found: Mapping[str, Sequence[Difference]]) -> None:
    said: dict[str, list[str]] = {}
    for folder, differing in found.items():
        if differing:
            said.setdefault(words(differing), []).append(folder)
    for what, folders in said.items():
        say(f"versions: {', '.join(folders)}: computed with {what}: numbers may differ by rounding")


def words(differing: Iterable[Difference]) -> str:
    """Differences in a line: `PyTorch 2.13.0 then and 2.14.1 now, PyAV 17.0.0 then and 18.1.0 now`."""
    return ", ".join(map(str, differing))


def check_worker(job: Environment) -> None:
    """As `check_software`, of this process on whichever node."""
    check_software(job, software(), f"node {platform.node()}")


def check_software(job: Environment, there: Environment, node: str) -> None:
    """Compares the software of a node with that of the job.

    Args:
        job: what the driver has.
        there: what the node has.
        node: in words.
    Raises:
        ConfigError: it would compute other numbers.
    """
    found = refused(differences(job, there))
    if found:
        what = ", ".join(f"{d.rule.label} {d.now} where the job has {d.then}" for d in found)
        raise ConfigError(
            f"versions: {node} has {what}, which changes numbers: install requirements.lock on every node, as "
            "cluster.yaml does, and run the same command again"
        )


# On a tier actor: where rows were computed. On a writer: what a shard says of them.


def told_environment(tiers: Sequence[Tier], device_of: Callable[[Tier], torch.device]) -> str:
    """What this process computes with, and each tier on what, as JSON; once its networks are loaded."""
    there = {"commit": made_of} if (made_of := commit()) else {}
    parts = {tier.name: computed_on(device_of(tier), getattr(tier, "loaded", None)) for tier in tiers}
    return json.dumps({"software": {**software(), **there}, "tiers": parts})


def computed_on(device: torch.device, network: Any = None) -> dict[str, str]:
    """Kind of device, which one, and the precision that a network's convolutions really have on it.

    Args:
        device: that computes.
        network: `LoadedNetwork`; None: the tier has none, and computes in float32.
    """
    precision = str(torch.float32 if network is None else network.precision).removeprefix("torch.")
    if device.type != "cuda":
        return {"device": "cpu", "processor": _instructions(), "precision": precision}
    if precision == "float32" and torch.cuda.get_device_capability(device) >= _TF32_FROM:
        precision = "tf32" if torch.backends.cudnn.allow_tf32 else precision
    made = {"cuda": str(torch.version.cuda)}
    return {"device": "gpu", "processor": torch.cuda.get_device_name(device), "precision": precision, **made}


def _instructions() -> str:
    kind = torch.backends.cpu.get_cpu_capability()
    flags = torch.cpu.get_capabilities()
    return " ".join([kind, *(name for name in ("avx512_bf16", "amx_bf16") if flags.get(name))])


def with_environment(rows: pa.Table, told: str) -> pa.Table:
    """Computed rows, each with where it was computed."""
    return rows.append_column(ENVIRONMENT, pa.array([told] * rows.num_rows, pa.string()))


def noted_environments(rows: pa.Table, tier: str) -> dict[str, Any]:
    """What a shard's metadata says of where its rows were computed; nothing where they do not tell.

    Args:
        rows: as `with_environment`.
        tier: whose columns go into the shard, or `facts`.
    """
    if ENVIRONMENT not in rows.column_names:
        return {}
    told = [json.loads(text) for text in sorted(pc.unique(rows[ENVIRONMENT]).to_pylist())]
    return {KEY: distinct({**each["software"], **each["tiers"].get(tier, {})} for each in told)}
