"""Preflight checks, made before the first clip: a job that cannot work stops at once, with what to do."""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace

import pyarrow as pa
import ray
from ray.exceptions import RayError, RayTaskError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from m3ray.config import ComputeConfig, DecodeConfig, LimitsConfig, Precision
from m3ray.errors import ConfigError, DecodeError
from m3ray.pipelines.extraction.version_checks import check_software
from m3ray.pipelines.extraction.worker_checks import (
    CheckResult,
    LateNodeCheck,
    WorkerCheck,
    exposure_message,
    failure_message,
    find_failures,
    run_check,
)
from m3ray.pipelines.runtime.cluster import Resources
from m3ray.pipelines.runtime.failures import as_one_line, explain_exception, name_and_text
from m3ray.pipelines.runtime.node_kinds import Node, list_usable_nodes, select_one_per_kind
from m3ray.pipelines.runtime.worker_entry import send_check, set_readable_clip
from m3ray.schema import CATALOGUE_FILE
from m3ray.storage.filesystems import is_local
from m3ray.storage.root import Root
from m3ray.storage.schemes import read_access_environment
from m3ray.storage.versions import software_versions
from m3ray.storage.write_probe import try_write
from m3ray.tiers import Tier
from m3ray.video.access import ReadProbe, sample_locations
from m3ray.video.sandbox import Decoder

logger = logging.getLogger(__name__)

_REPORT_SECONDS, _TIMEOUT_SECONDS = 5.0, 60.0
_MAX_FAILURES = 3


def check_storage(root: Root) -> None:
    """Check that objects under the root can be written and deleted.

    Args:
        root: Root of the job.
    Raises:
        ConfigError: If they cannot.
    """
    failure = try_write(root)
    if failure is not None:
        reason = explain_exception(*name_and_text(failure.error))
        raise ConfigError(f"cannot {failure.action} under {root.uri}: {reason}") from failure.error


def check_decoders(decode: DecodeConfig, limits: LimitsConfig) -> None:
    """Check that the decoding child starts.

    Args:
        decode: Settings of decoding.
        limits: Per-clip resource limits, the child's memory among them.
    Raises:
        ConfigError: If it does not start.
    """
    decoder = Decoder(decode, limits)
    try:
        next(decoder.windows(b"not a video"))
    except DecodeError as error:
        if error.reason != "not_a_video":
            raise ConfigError(
                f"the decoder does not start ({error.message}): reinstall av with `pip install --force-reinstall av`; "
                f"if limits.memory-mb ({limits.memory_mb}) is low, raise it"
            ) from error
    finally:
        decoder.close()


def check_weights(tiers: Sequence[Tier]) -> None:
    """Load every weight file once, so that a damaged one is one error and not one an actor.

    Args:
        tiers: Tiers to compute.
    Raises:
        WeightsError: If a file cannot be loaded.
    """
    for tier in tiers:
        network = getattr(tier, "network", None)
        if network is not None and not tier.untrained:
            network.check()
            logger.info(f"preflight: weights of {tier.name} load: SHA-256 {network.source.sha256}")
        elif network is not None:
            logger.warning(f"preflight: {tier.name} has UNTRAINED weights: its numbers are for trials alone")


def check_devices(resources: Resources, compute: ComputeConfig, precision: Precision = "auto") -> None:
    """Check that the cluster has the devices that the options name, and log where tiers run.

    Args:
        resources: CPUs and GPUs of the cluster.
        compute: How the work is laid over processors.
        precision: Precision that the options ask for.
    Raises:
        ConfigError: If an option needs GPUs that the cluster does not have.
    """
    actors, gpus = compute.actors, resources.gpus
    if compute.compile and not gpus:
        raise ConfigError("--compute.compile is for GPUs, and the cluster has none: leave it out")
    if compute.compile and resources.facts is not None and not resources.facts.has_compiler:
        raise ConfigError(
            "--compute.compile, and a GPU node has no C compiler or no Triton: install gcc on every GPU node "
            "(cluster.yaml's setup_commands show how), or leave it out"
        )
    if precision == "tf32" and not gpus:
        raise ConfigError("--precision tf32 is for GPUs, and the cluster has none: CPUs take float32 or bfloat16")
    if compute.raw_device == "cuda" and not gpus:
        raise ConfigError("--compute.raw-device cuda, and the cluster has no GPU: leave it out")
    most = gpus * resources.actors_per_gpu(compute)
    if resources.gpus_now == gpus and actors and gpus and actors > most:
        raise ConfigError(f"--compute.actors {actors}, but the cluster's {gpus} GPUs take {most}: ask for no more")
    expected = f" ({resources.gpus_now} now, the others as the cluster grows)" if resources.gpus_now < gpus else ""
    devices = f"{gpus} GPUs{expected}" if gpus else "no GPU: tiers run on the CPU"
    logger.info(f"preflight: {resources.cpus} CPUs, {devices}")


def check_workers(root: Root, uris: pa.ChunkedArray) -> dict[Node, CheckResult]:
    """Check on one node of each kind that workers can read clips and write and delete an object under the root.

    Nodes of a kind that comes later are checked at their first clip.

    Args:
        root: Root of the job.
        uris: URIs of the clips that the workers are going to read, null and empty ones left out; if there are none,
            nothing is checked.
    Returns:
        Each node that was checked to its result.
    Raises:
        ConfigError: If a node may not do what the job needs, or has other software.
    """
    locations = sample_locations(uris)
    if not locations:
        return {}
    with _marker_file(root) as marker:
        check = WorkerCheck(root.uri, marker, locations)
        tasks = _start_checks(check)
        driver = check.probe_reads()  # while the workers do the same
        results = _collect_results(tasks, check)
    driver_reads = tuple(bool(read.read) for read in driver)
    _raise_failures(results, check, driver_reads)
    for node, result in results.items():
        check_software(software_versions(), result.software, f"the workers of {node}")
    _report_driver_failures(driver, results)
    for node, result in results.items():
        if result.isolation_obstacle:
            logger.info(exposure_message(node, result.isolation_obstacle))
    # The marker is gone by then; the catalogue stays.
    later = replace(check, marker=None if marker is None else (CATALOGUE_FILE,))
    send_check(LateNodeCheck(later, driver_reads, frozenset(node.kind for node in results), uuid.uuid4().hex))
    reads = (read for result in results.values() for read in result.reads)
    set_readable_clip(next((read.read for read in reads if read.read), ""))
    return results


@contextmanager
def _marker_file(root: Root) -> Iterator[tuple[str, ...] | None]:
    """A file of the driver's under a root on a disk, which other machines see if it is the same disk."""
    if not is_local(root.uri):
        yield None
        return
    path = ("runs", f"write-test-{uuid.uuid4().hex}")
    root.write_bytes(b"m3ray", *path)
    try:
        yield path
    finally:
        with suppress(OSError):
            root.delete(*path)


def _start_checks(check: WorkerCheck) -> dict[ray.ObjectRef, Node]:
    environment = read_access_environment()
    tasks = {}
    for node in select_one_per_kind(list_usable_nodes(ray.nodes())):
        affinity = NodeAffinitySchedulingStrategy(node.id, soft=False)
        tasks[run_check.options(scheduling_strategy=affinity).remote(check, environment)] = node
    return tasks


def _collect_results(tasks: Mapping[ray.ObjectRef, Node], check: WorkerCheck) -> dict[Node, CheckResult]:
    """Collect the results; a node that is lost, or whose worker starts too late, is checked at its first clip."""
    results: dict[Node, CheckResult] = {}
    pending, start = list(tasks), time.monotonic()
    while pending:
        ready, pending = ray.wait(pending, num_returns=len(pending), timeout=_REPORT_SECONDS)
        results |= {tasks[ref]: result for ref in ready if (result := _fetch_result(ref, tasks[ref])) is not None}
        seconds, nodes = time.monotonic() - start, ", ".join(str(tasks[ref]) for ref in pending)
        if pending and seconds > _TIMEOUT_SECONDS:
            logger.info(f"preflight: {nodes} did not answer in {seconds:.0f} s: asked again at its first clip")
            break
        if pending:
            logger.info(
                f"preflight: {seconds:.0f} s: waiting for workers on {nodes} to read a clip of "
                f"{len(check.locations)} places and to write under {check.root}; goes on after {_TIMEOUT_SECONDS:.0f} s"
            )
    return results


def _fetch_result(ref: ray.ObjectRef, node: Node) -> CheckResult | None:
    """The result of a node's check; None if the node is lost. Raises ConfigError if m3ray does not run there."""
    try:
        return ray.get(ref)
    except RayTaskError as error:
        reason = as_one_line(": ".join(name_and_text(error)))
        raise ConfigError(
            f"preflight: m3ray does not run on {node} ({reason}): install the same m3ray on every node"
        ) from error
    except RayError as error:  # the node went, or its worker died
        logger.warning(f"preflight: {node} did not answer ({as_one_line(str(error))}): it is asked at its first clip")
        return None


def _raise_failures(results: Mapping[Node, CheckResult], check: WorkerCheck, driver_reads: Sequence[bool]) -> None:
    """Raise ConfigError for the first kind of node that may not do what the job needs, and count the others."""
    by_node = {node: find_failures(result, check, driver_reads) for node, result in results.items()}
    failing = {node: failures for node, failures in by_node.items() if failures}
    if failing:
        node, failures = next(iter(failing.items()))
        others = f"; {len(failing) - 1} more kinds of nodes likewise" if len(failing) > 1 else ""
        raise ConfigError(failure_message(node, failures[:_MAX_FAILURES]) + others)


def _report_driver_failures(driver: Sequence[ReadProbe], results: Mapping[Node, CheckResult]) -> None:
    """Log where the workers read and the driver cannot: the job goes on, as the driver reads no clip."""
    for location, read in enumerate(driver):
        workers_can = any(result.reads[location].read for result in results.values())
        if workers_can and read.failure is not None:
            advice = read.failure.advice("the driver's")
            logger.info(
                f"preflight: the driver {read.failure.describe()}, though the workers can: the job goes on, but "
                f"changed clips are not noticed and the report shows no frames of them: {advice}"
            )
