"""The environment that rows were computed in: read on a tier actor, carried in a column, kept in a shard's metadata."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from m3ray.storage.versions import KEY, git_commit, software_versions, unique_environments
from m3ray.tiers import Tier

if TYPE_CHECKING:
    import torch

ENVIRONMENT = "environment"  # column in which a tier actor tells the writer the environment of its rows
_TF32_FROM = (8, 0)  # compute capability: NVIDIA's Ampere; those before have no such units


def describe_environment(tiers: Sequence[Tier], device_of: Callable[[Tier], torch.device]) -> str:
    """Describe what this process computes with, once its networks are loaded.

    Args:
        tiers: The tiers that this process computes.
        device_of: From a tier to the device that computes it.
    Returns:
        JSON with versions of `software`, and for each of `tiers` its device and precision.
    """
    revision = git_commit()
    parts = {tier.name: describe_device(device_of(tier), getattr(tier, "loaded", None)) for tier in tiers}
    return json.dumps({"software": software_versions() | ({"commit": revision} if revision else {}), "tiers": parts})


def describe_device(device: torch.device, network: Any = None) -> dict[str, str]:
    """Describe a device and the precision that a network really computes in on it.

    Args:
        device: Device that computes.
        network: A `LoadedNetwork`; None if the tier has none, and computes in float32.
    Returns:
        `device` (cpu or gpu), `processor`, `precision`, and of a GPU `cuda`.
    """
    import torch  # late: what writes rows takes their environments from here, and starts without PyTorch

    precision = str(torch.float32 if network is None else network.precision).removeprefix("torch.")
    if device.type != "cuda":
        return {"device": "cpu", "processor": _cpu_capability(), "precision": precision}
    if getattr(network, "tf32", False) and torch.cuda.get_device_capability(device) >= _TF32_FROM:
        precision = "tf32"
    gpu = {"device": "gpu", "processor": torch.cuda.get_device_name(device), "precision": precision}
    return {**gpu, "cuda": str(torch.version.cuda)}


def _cpu_capability() -> str:
    import torch

    flags = torch.cpu.get_capabilities()
    return " ".join(
        [torch.backends.cpu.get_cpu_capability(), *(name for name in ("avx512_bf16", "amx_bf16") if flags.get(name))]
    )


def add_environment(rows: pa.Table, environment: str) -> pa.Table:
    """Add the environment to computed rows.

    Args:
        rows: Rows from `records.pack_computed_clips`.
        environment: JSON from `describe_environment`.
    Returns:
        The rows with the column `environment`.
    """
    return rows.append_column(ENVIRONMENT, pa.array([environment] * rows.num_rows, pa.string()))


def join_environments(environments: Iterable[str]) -> str:
    """The environments of the windows of a clip, which different nodes may have computed, as that of one row.

    Args:
        environments: JSON from `describe_environment`, of each window.
    Returns:
        The distinct ones, a line each.
    """
    return "\n".join(sorted(set(environments)))


def environments_metadata(rows: pa.Table, tier: str) -> dict[str, Any]:
    """Environments of rows, as they stand in a shard's metadata.

    Args:
        rows: Computed rows, with or without the column that `add_environment` adds.
        tier: Name of the tier whose columns go into the shard, or `METADATA_TABLE`.
    Returns:
        `environments` to the distinct environments; empty if the rows have none.
    """
    if ENVIRONMENT not in rows.column_names:
        return {}
    lines = {line for text in pc.unique(rows[ENVIRONMENT]).to_pylist() for line in text.splitlines()}
    environments = [json.loads(line) for line in sorted(lines)]
    return {KEY: unique_environments({**each["software"], **each["tiers"].get(tier, {})} for each in environments)}
