"""Checks of what a worker may do: read the videos, write the root; made on one node of each kind.

The driver's rights are not the workers': another role, other keys, another network, another disk.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial

import ray

from m3ray.errors import StorageError
from m3ray.pipelines.runtime.node_kinds import Node, list_usable_nodes
from m3ray.storage.faults import is_transient
from m3ray.storage.filesystems import is_local
from m3ray.storage.root import Root
from m3ray.storage.versions import software_versions
from m3ray.video.access import AccessFailure, ReadProbe, probe_read, probe_write, run_with_timeout
from m3ray.video.isolation import find_isolation_obstacle

ANSWER_SECONDS = 40.0  # for all of a node's requests together
_TIMED_OUT = "TimedOut"
_NOT_SHARED = "missing_file"  # the same path leads to nothing on another machine


@dataclass(frozen=True)
class CheckResult:
    """What a node may do.

    Args:
        reads: Outcome of reading a clip, for each location.
        write_failure: What kept the node from writing and deleting an object; None if nothing did.
        is_shared: Whether the node sees what the driver wrote under a root on a disk.
        isolation_obstacle: Why the node's decoding child can reach the network; empty if it cannot.
        software: Versions of what decides numbers on the node.
    """

    reads: tuple[ReadProbe, ...]
    write_failure: AccessFailure | None = None
    is_shared: bool = True
    isolation_obstacle: str = ""
    software: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class WorkerCheck:
    """What is checked on a node.

    Args:
        root: URI of the job's root.
        marker: Path below the root of a file that the driver wrote, if the root is on a disk; else None.
        locations: A few clip URIs of each location (bucket and prefix, or mount).
    """

    root: str
    marker: tuple[str, ...] | None
    locations: tuple[tuple[str, ...], ...]

    def run(self) -> CheckResult:
        """Run the whole check in this process."""
        is_shared = self._is_shared()
        return CheckResult(
            reads=self.probe_reads(),
            # Where the disk is not shared, a write would create a folder of the root's name.
            write_failure=self._probe_write() if is_shared else None,
            is_shared=is_shared,
            isolation_obstacle=find_isolation_obstacle(),
            software=software_versions(),
        )

    def probe_reads(self) -> tuple[ReadProbe, ...]:
        """Read a clip from each location."""
        calls = [partial(probe_read, uris) for uris in self.locations]
        return tuple(run_with_timeout(ANSWER_SECONDS, calls, self._late_read))

    def _late_read(self, location: int) -> ReadProbe:
        return ReadProbe(failure=AccessFailure("read", self.locations[location][0], _TIMED_OUT, _timeout_message()))

    def _probe_write(self) -> AccessFailure | None:
        late = AccessFailure("write", f"{self.root}/runs", _TIMED_OUT, _timeout_message())
        (failure,) = run_with_timeout(ANSWER_SECONDS, [partial(probe_write, self.root)], lambda _: late)
        return failure

    def _is_shared(self) -> bool:
        return self.marker is None or Root(self.root).exists(*self.marker)


def _timeout_message() -> str:
    return f"no answer within {ANSWER_SECONDS:.0f} s"


@dataclass(frozen=True)
class LateNodeCheck:
    """The check of a node whose kind was not there when the job began.

    Args:
        check: What is checked, as on the other nodes.
        driver_reads: Whether the driver read a clip, for each location.
        kinds: Kinds of nodes that were checked when the job began.
        job: Random id of the job: the check is made once a process and job.
    """

    check: WorkerCheck
    driver_reads: tuple[bool, ...]
    kinds: frozenset[str]
    job: str

    def run(self) -> None:
        """Run the check if this node is of another kind.

        Raises:
            StorageError: If this node may not do what the job needs. Nothing is rejected.
        """
        node = find_this_node()
        if node is None or node.kind in self.kinds:
            return
        result = self.check.run()
        failures = find_failures(result, self.check, self.driver_reads)
        permanent = [each for each in failures if not is_transient(each.failure.fault)]
        if permanent:
            raise StorageError(failure_message(node, permanent))
        if result.isolation_obstacle:
            # Ray shows what a worker prints on the driver.
            print(exposure_message(node, result.isolation_obstacle), flush=True)


def find_this_node() -> Node | None:
    """The node of this process; None if it takes no work."""
    own = ray.get_runtime_context().get_node_id()
    return next((node for node in list_usable_nodes(ray.nodes()) if node.id == own), None)


@dataclass(frozen=True)
class WorkerFailure:
    """Something that a node's workers may not do.

    Args:
        failure: What was tried, and what the storage answered.
        driver_can: Whether the driver may do it.
    """

    failure: AccessFailure
    driver_can: bool


def find_failures(result: CheckResult, check: WorkerCheck, driver_reads: Sequence[bool]) -> list[WorkerFailure]:
    """Find what a node may not do.

    Args:
        result: Result of the node's check.
        check: What was checked.
        driver_reads: Whether the driver read a clip, for each location.
    Returns:
        The failures: of reading first, then of writing.
    """
    failures = []
    for uris, read, driver_can in zip(check.locations, result.reads, driver_reads, strict=True):
        if read.failure is not None:
            failures.append(WorkerFailure(read.failure, driver_can))
        elif not read.read and driver_can and is_local(uris[0]):
            failures.append(WorkerFailure(AccessFailure("read", uris[0], _NOT_SHARED), True))
    if not result.is_shared:
        failures.append(WorkerFailure(AccessFailure("write", check.root, _NOT_SHARED), True))
    if result.write_failure is not None:
        failures.append(WorkerFailure(result.write_failure, True))  # the driver has written the job's record
    return failures


def failure_message(node: Node, failures: Sequence[WorkerFailure]) -> str:
    """Message about a node: what its workers may not do, whether the driver may, and what to do.

    Args:
        node: The node.
        failures: What its workers may not do.
    Returns:
        One line.
    """
    return f"preflight: the workers of {node} {'; '.join(map(_failure_clause, failures))}"


def _failure_clause(worker_failure: WorkerFailure) -> str:
    failure = worker_failure.failure
    if failure.code == _NOT_SHARED:
        label = "videos" if failure.action == "read" else "root (--out)"
        return (
            f"cannot {failure.action} {failure.uri}: it is on the driver's machine and not on theirs: put the {label} "
            "where all nodes see it, s3:// or a mount that all have"
        )
    whose = "the workers'" if worker_failure.driver_can else "the workers' and the driver's"
    contrast = ", though the driver can" if worker_failure.driver_can else ", nor can the driver"
    return f"{failure.describe()}{contrast}: {failure.advice(whose)}"


def exposure_message(node: Node, obstacle: str) -> str:
    """Message about a node whose decoding child can reach the network.

    Args:
        node: The node.
        obstacle: Why the child cannot be isolated.
    Returns:
        One line.
    """
    return (
        f"preflight: on {node} the decoding child can reach the network: unshare is refused there ({obstacle}); it has "
        "no keys and opens nothing that a video refers to, but a hole in a decoder would lead to the network"
    )


@ray.remote(num_cpus=0)
def run_check(check: WorkerCheck, environment: dict[str, str]) -> CheckResult:
    """Run a check in a worker process.

    Args:
        check: What is checked.
        environment: Environment variables of the job's access to storage.
    Returns:
        The result.
    """
    os.environ.update(environment)
    return check.run()
