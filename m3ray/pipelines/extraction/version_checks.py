"""Checks that a feature folder and the workers of a job have the same versions of what decides the numbers."""

from __future__ import annotations

import logging
import platform
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import pyarrow.compute as pc

from m3ray.config import ComputeConfig
from m3ray.errors import ConfigError
from m3ray.pipelines.extraction.planning import Plan
from m3ray.storage.versions import (
    Difference,
    Environment,
    differences,
    filter_rejected,
    read_environments,
    software_versions,
)

if TYPE_CHECKING:
    from m3ray.pipelines.runtime.cluster import Resources

logger = logging.getLogger(__name__)


def check_versions(plan: Plan, compute: ComputeConfig, resources: Resources, *, mix: bool) -> None:
    """Compare the environments of the folders that a job adds to with the environment of the job.

    Args:
        plan: Plan of the extraction; its work names the tiers that are added to.
        compute: How the work is laid over processors; `raw_device` of it is used.
        resources: CPUs and GPUs of the cluster.
        mix: Whether differences that change numbers are allowed, and only logged.
    Raises:
        ConfigError: If numbers that do not go together would stand in one folder.
    """
    by_folder: dict[str, list[Difference]] = {}
    unknown = []
    for tier in _tiers_added_to(plan):
        environments = read_environments(plan.root, *plan.folders[tier])
        unknown += [tier] if None in environments else []
        now = {**software_versions(), "device": _device_kind(tier, compute, resources)}
        by_folder["/".join(plan.folders[tier])] = _all_differences(environments, now, tier)
    if unknown:
        logger.info(
            f"versions: earlier features of {', '.join(unknown)} do not say what they were computed with: not compared"
        )
    _reject_mixing({folder: filter_rejected(differing) for folder, differing in by_folder.items()}, mix=mix)
    rounding = {f: [d for d in differing if d.effect == "warned"] for f, differing in by_folder.items()}
    _warn_of_rounding(rounding)


def _tiers_added_to(plan: Plan) -> list[str]:
    names = set(pc.unique(pc.list_flatten(plan.work["tiers"])).to_pylist())
    return [tier.name for tier in plan.tiers if tier.name in names]


def _all_differences(earlier: Iterable[Environment | None], now: Environment, tier: str) -> list[Difference]:
    return list(dict.fromkeys(d for then in earlier if then is not None for d in differences(then, now, tier)))


def _device_kind(tier: str, compute: ComputeConfig, resources: Resources) -> str:
    on_gpu = resources.gpus and not (tier == "raw" and compute.raw_device == "cpu")
    return "gpu" if on_gpu else "cpu"


def _reject_mixing(by_folder: Mapping[str, Sequence[Difference]], *, mix: bool) -> None:
    for folder, differing in by_folder.items():
        if not differing:
            continue
        mismatch = f"{folder}: computed with {describe_differences(differing)}"
        if not mix:
            raise ConfigError(
                f"{mismatch}, which changes numbers: install those versions again (the requirements.lock of then), or "
                "compute into a new root (--out), or mix them in one folder with --mix-versions"
            )
        logger.info(f"versions: {mismatch}, which changes numbers: mixed, as --mix-versions asks")


def _warn_of_rounding(by_folder: Mapping[str, Sequence[Difference]]) -> None:
    by_difference: dict[str, list[str]] = {}
    for folder, differing in by_folder.items():
        if differing:
            by_difference.setdefault(describe_differences(differing), []).append(folder)
    for what, folders in by_difference.items():
        logger.info(f"versions: {', '.join(folders)}: computed with {what}: numbers may differ by rounding")


def describe_differences(differing: Iterable[Difference]) -> str:
    """Describe differences in one line: `PyTorch 2.13.0 then and 2.14.1 now, PyAV 17.0.0 then and 18.1.0 now`.

    Args:
        differing: Differences between two environments.
    Returns:
        The differences, separated by commas.
    """
    return ", ".join(map(str, differing))


def check_worker(job: Environment) -> None:
    """Compare the software of this process with that of the job.

    Args:
        job: Versions that the driver has.
    Raises:
        ConfigError: If this process would compute other numbers.
    """
    check_software(job, software_versions(), f"node {platform.node()}")


def check_software(job: Environment, worker: Environment, node: str) -> None:
    """Compare the software of a node's workers with that of the job.

    Args:
        job: Versions that the driver has.
        worker: Versions that the node's workers have; parts that they lack are not compared.
        node: Name of the node, for the message.
    Raises:
        ConfigError: If the node would compute other numbers.
    """
    differing = filter_rejected(differences(job, worker))
    if differing:
        what = ", ".join(f"{d.rule.label} {d.now} where the job has {d.then}" for d in differing)
        raise ConfigError(
            f"versions: {node} has {what}, which changes numbers: install requirements.lock on every node, as "
            "cluster.yaml does, and run the same command again"
        )
