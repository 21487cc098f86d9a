"""The probe before any plan: one short task on each kind of node says what networks are going to be computed on.

The driver cannot know: its own machine has other devices than the workers, or none. What the probe finds decides
precision, and so the fingerprint of every network's tier, batch sizes, and actors a GPU.
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from shutil import which
from typing import Any

import ray
import torch
import torch.utils._triton
from ray.exceptions import RayError, RayTaskError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from m3ray.errors import DeviceError
from m3ray.pipelines.runtime.assigned_gpus import hide_gpus
from m3ray.pipelines.runtime.devices import find_gpu_problem
from m3ray.pipelines.runtime.failures import as_one_line, name_and_text
from m3ray.pipelines.runtime.node_kinds import Node, list_usable_nodes, select_one_per_kind
from m3ray.tiers.backbones.prepare import fastest_precision

logger = logging.getLogger(__name__)

_DRIVER_FILE = Path("/proc/driver/nvidia/version")
_REPORT_SECONDS, _POLL_SECONDS = 60.0, 2.0
# A kind whose GPUs are all taken is not waited for where another kind has answered.
_PATIENCE_SECONDS = 60.0
_ANY_NODE = "a GPU node"
_MAX_ATTEMPTS = 5


@dataclass(frozen=True)
class DeviceReport:
    """What one task found on its device.

    Args:
        bfloat16: whether the device has units that compute in bfloat16.
        name: name of the GPU; empty: a CPU.
        memory: bytes of the GPU's memory.
        capability: compute capability of the GPU, such as `8.9`.
        driver: version of NVIDIA's driver; empty if it does not say.
        cuda: version of CUDA that PyTorch was built for.
        has_compiler: whether torch.compile finds a C compiler and Triton.
        problem: why PyTorch cannot compute on the GPU that the task was given, with cures; empty if it can.
    """

    bfloat16: bool
    name: str = ""
    memory: int = 0
    capability: str = ""
    driver: str = ""
    cuda: str = ""
    has_compiler: bool = False
    problem: str = ""

    def __str__(self) -> str:
        if not self.name:
            return f"CPU {'with' if self.bfloat16 else 'without'} bfloat16 units"
        driver = f"driver {self.driver}, " if self.driver else ""
        return (
            f"{self.name}, {self.memory / 2**30:.1f} GiB, compute capability {self.capability}, {driver}CUDA "
            f"{self.cuda}, {'' if self.bfloat16 else 'no '}bfloat16"
        )


@dataclass(frozen=True)
class DeviceFacts:
    """What holds for all devices that networks are computed on.

    Args:
        bfloat16: whether each has units that compute in bfloat16.
        gpu_memory: bytes of the smallest GPU's memory; 0 without a GPU.
        has_compiler: whether torch.compile works on each.
        description: what was found where, in words.
    """

    bfloat16: bool
    gpu_memory: int = 0
    has_compiler: bool = False
    description: str = field(default="", compare=False)


def inspect_device(*, gpu: bool) -> DeviceReport:
    """Inspect the device of this process.

    Args:
        gpu: whether the process was promised a GPU.
    Returns:
        What it found.
    """
    if not gpu:
        return DeviceReport(fastest_precision(torch.device("cpu")) is torch.bfloat16)
    problem = find_gpu_problem()
    if problem:
        return DeviceReport(False, problem=problem)
    properties = torch.cuda.get_device_properties(0)
    return DeviceReport(
        fastest_precision(torch.device("cuda")) is torch.bfloat16,
        properties.name,
        properties.total_memory,
        f"{properties.major}.{properties.minor}",
        _read_driver_version(),
        str(torch.version.cuda),
        _find_compiler(),
    )


def _read_driver_version(path: Path = _DRIVER_FILE) -> str:
    """Version of NVIDIA's kernel module, as the kernel tells it; empty if it does not."""
    with suppress(OSError):
        match = re.search(r"Kernel Module.*?\s(\d+\.[\d.]+)", path.read_text())
        return match[1] if match else ""
    return ""


def _find_compiler() -> bool:
    """Whether torch.compile finds what it needs for a GPU: Triton, and a C compiler for Triton's launchers."""
    return torch.utils._triton.has_triton_package() and any(which(name) for name in ("cc", "gcc", "clang"))


def combine_reports(reports: Mapping[str, DeviceReport]) -> DeviceFacts:
    """Combine reports to what holds for all devices: a mixed cluster computes in a precision that all its kinds have.

    Args:
        reports: place to the report of a working device there, at least one.
    Returns:
        The facts.
    """
    return DeviceFacts(
        all(report.bfloat16 for report in reports.values()),
        min(report.memory for report in reports.values()),
        all(report.has_compiler for report in reports.values()),
        "; ".join(f"{report} on {place}" for place, report in reports.items()),
    )


def probe_gpus(*, wait: bool = True) -> DeviceFacts | None:
    """Run a task with a whole GPU on one node of each kind that has GPUs.

    While there is no such node, the task is a demand that an autoscaler sees.

    Args:
        wait: whether to wait for a GPU where there is none; a dry run starts no node.
    Returns:
        The facts; None where there is no GPU yet and nobody waits.
    Raises:
        DeviceError: If a GPU that Ray has cannot be computed on.
    """
    nodes = _list_gpu_nodes()
    if not nodes and not wait:
        return None
    reports = _run_probes(nodes)
    reject_problems(reports)
    return combine_reports(reports)


def probe_cpus() -> DeviceFacts:
    """Find out on one node of each kind whether CPUs compute in bfloat16; on a cluster of one kind here.

    Returns:
        The facts.
    """
    nodes = select_one_per_kind(list_usable_nodes(ray.nodes()))
    own = ray.get_runtime_context().get_node_id()
    if [node.id for node in nodes] == [own]:
        reports = {"this machine": inspect_device(gpu=False)}
    else:
        reports = _collect_reports(_start_probes(nodes, gpu=False), _PATIENCE_SECONDS) or {
            "the driver's machine": inspect_device(gpu=False)
        }
    return combine_reports(reports)


def _list_gpu_nodes() -> list[Node]:
    entries = [entry for entry in ray.nodes() if entry["Resources"].get("GPU")]
    return select_one_per_kind(list_usable_nodes(entries))


Probes = dict[ray.ObjectRef, str]  # task to the node that it runs on, in words


# One call a process: one that goes on would keep its CUDA context, hundreds of MB of the GPU.
@ray.remote(num_cpus=0, max_retries=3, max_calls=1)
def _probe_task(gpu: bool) -> tuple[str, DeviceReport]:
    if not gpu:
        hide_gpus()
    return ray.util.get_node_ip_address(), inspect_device(gpu=gpu)


def _start_probes(nodes: Sequence[Node], *, gpu: bool) -> Probes:
    """A task on each node; where GPUs are asked for and no node has one, a single one that goes where one comes."""
    gpus = 1 if gpu else 0
    if not nodes:
        return {_probe_task.options(num_gpus=gpus).remote(gpu): _ANY_NODE}
    places = {node: NodeAffinitySchedulingStrategy(node.id, soft=False) for node in nodes}
    return {
        _probe_task.options(num_gpus=gpus, scheduling_strategy=place).remote(gpu): str(node)
        for node, place in places.items()
    }


def _run_probes(nodes: Sequence[Node]) -> dict[str, DeviceReport]:
    """Reports by node; probes anew, without a node of its own, where every probed node went meanwhile."""
    reports = _collect_reports(_start_probes(nodes, gpu=True), None)
    for attempt in range(_MAX_ATTEMPTS):
        if reports:
            return reports
        logger.warning("probe: every GPU node that was asked went, or its process died: asking again")
        time.sleep(_POLL_SECONDS * attempt)
        reports = _collect_reports(_start_probes([], gpu=True), None)
    if not reports:
        raise DeviceError(
            f"probe: the process that tries a GPU died {_MAX_ATTEMPTS + 1} times, though it only adds up ones: see "
            "Ray's logs and dmesg on the GPU nodes, or compute on CPUs with --compute.device cpu"
        )
    return reports


def _collect_reports(probes: Mapping[ray.ObjectRef, str], limit: float | None) -> dict[str, DeviceReport]:
    """Collect the reports of the nodes that live; without a limit wait until at least one has answered."""
    reports: dict[str, DeviceReport] = {}
    pending, start, said = list(probes), time.monotonic(), 0.0
    while pending:
        ready, pending = ray.wait(pending, num_returns=len(pending), timeout=_POLL_SECONDS)
        for ref in ready:
            reports.update(_fetch_report(ref, probes[ref]))
        waited, missing = time.monotonic() - start, ", ".join(probes[ref] for ref in pending)
        if pending and waited > (_PATIENCE_SECONDS if limit is None else limit) and (reports or limit is not None):
            logger.info(f"probe: {missing} not asked, its devices are taken: it must be of the kinds that were")
            _cancel(pending)
            break
        if pending and waited > 2 * _POLL_SECONDS and (not said or waited - said > _REPORT_SECONDS):
            said = waited
            logger.info(f"probe: {waited:.0f} s: waiting for {_describe_wait(missing)}")
    return reports


def _describe_wait(missing: str) -> str:
    if ray.available_resources().get("GPU", 0) >= 1:
        return f"the process that tries the GPU on {missing} to start"
    there = sum(entry["Resources"].get("GPU", 0) for entry in ray.nodes() if entry["Alive"])
    if there:
        return f"a free GPU on {missing}: all are taken, by other jobs (`ray status` shows them)"
    return f"{missing}: the cluster has none yet, and its autoscaler sees the demand (`ray status` shows it)"


def _fetch_report(ref: ray.ObjectRef, place: str) -> dict[str, DeviceReport]:
    try:
        address, report = ray.get(ref)
    except RayTaskError as error:
        reason = as_one_line(": ".join(name_and_text(error)))
        raise DeviceError(f"probe: m3ray does not run on {place} ({reason}): install the same m3ray there") from error
    except RayError as error:  # the node went
        logger.warning(f"probe: {place} did not answer ({as_one_line(str(error))})")
        return {}
    return {address if place == _ANY_NODE else place: report}


def _cancel(refs: Iterable[Any]) -> None:
    for ref in refs:
        with suppress(Exception):  # it may have ended meanwhile
            ray.cancel(ref, force=True)


def reject_problems(reports: Mapping[str, DeviceReport]) -> None:
    """Check that every GPU can be computed on.

    Args:
        reports: place to the report of its device.
    Raises:
        DeviceError: If one cannot; the first is named. Nothing was computed yet.
    """
    for place, report in reports.items():
        if report.problem:
            raise DeviceError(f"probe: Ray has a GPU on {place}, {report.problem}")
