"""Whether a worker may read the videos and write the root, asked of one node of each kind before the first clip.

The driver's rights are not the workers': another role, other keys, another network, another disk.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial

import ray

from m3ray.errors import StorageError
from m3ray.pipelines.runtime.node_kinds import Node, working_nodes
from m3ray.storage.faults import is_passing
from m3ray.storage.filesystems import is_local
from m3ray.storage.root import Root
from m3ray.storage.versions import software
from m3ray.video.access import Look, Refusal, look, within, write_refusal
from m3ray.video.isolation import why_not_isolated

ANSWER_SECONDS = 40.0  # for all of a node's requests together
_LATE = "TimedOut"
_APART = "missing_file"  # what is elsewhere the same path is nothing here


@dataclass(frozen=True)
class Finding:
    """What a node may do.

    Args:
        looks: at each place.
        written: what kept it from writing and deleting; None: nothing.
        shared: whether it sees what the driver wrote, of a root on a disk.
        exposed: why its decoding child can reach the network; empty: it cannot.
        software: versions of what decides numbers there.
    """

    looks: tuple[Look, ...]
    written: Refusal | None = None
    shared: bool = True
    exposed: str = ""
    software: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class WorkerCheck:
    """What is tried on a node.

    Args:
        root: URI of the job's root.
        marker: name of a file below `runs/` that the driver wrote, where the root is on a disk.
        places: a few clips of each.
    """

    root: str
    marker: str | None
    places: tuple[tuple[str, ...], ...]

    def finding(self) -> Finding:
        """Tries all of it here."""
        shared = self._is_shared()
        return Finding(
            looks=self.looks(),
            written=self._written() if shared else None,  # else a folder of that name would come to be here
            shared=shared,
            exposed=why_not_isolated(),
            software=software(),
        )

    def looks(self) -> tuple[Look, ...]:
        """Reads from each place."""
        calls = [partial(look, uris) for uris in self.places]
        return tuple(within(ANSWER_SECONDS, calls, self._late_look))

    def _late_look(self, place: int) -> Look:
        return Look(refusal=Refusal("read", self.places[place][0], _LATE, _seconds()))

    def _written(self) -> Refusal | None:
        where = f"{self.root}/runs"
        late = Refusal("write", where, _LATE, _seconds())
        (refusal,) = within(ANSWER_SECONDS, [partial(write_refusal, self.root)], lambda _: late)
        return refusal

    def _is_shared(self) -> bool:
        return self.marker is None or Root(self.root).exists("runs", self.marker)


def _seconds() -> str:
    return f"no answer within {ANSWER_SECONDS:.0f} s"


@dataclass(frozen=True)
class Later:
    """The check of a node whose kind was not there when the job began.

    Args:
        check: as it was made of the others.
        seen: for each place, whether the driver read from it.
        kinds: that were asked then.
        job: no other's.
    """

    check: WorkerCheck
    seen: tuple[bool, ...]
    kinds: frozenset[str]
    job: str

    def at_first_use(self) -> None:
        """Makes the check if this node is of another kind.

        Raises:
            StorageError: it may not do what the job needs. Nothing is rejected.
        """
        node = this_node()
        if node is None or node.kind in self.kinds:
            return
        finding = self.check.finding()
        lasting = [told for told in refusals(finding, self.check, self.seen) if not is_passing(told[0].fault)]
        if lasting:
            raise StorageError(refused(node, lasting))
        if finding.exposed:
            print(exposed(node, finding.exposed), flush=True)  # Ray shows it on the driver


def this_node() -> Node | None:
    """The node of this process; None where it takes no work."""
    own = ray.get_runtime_context().get_node_id()
    return next((node for node in working_nodes(ray.nodes()) if node.id == own), None)


def refusals(finding: Finding, check: WorkerCheck, seen: Sequence[bool]) -> list[tuple[Refusal, bool]]:
    """What a node may not do, and whether the driver may.

    Args:
        finding: of the node.
        check: that was made.
        seen: for each place, whether the driver read from it.
    """
    found = []
    for uris, there, by_driver in zip(check.places, finding.looks, seen, strict=True):
        if there.refusal is not None:
            found.append((there.refusal, by_driver))
        elif not there.read and by_driver and is_local(uris[0]):
            found.append((Refusal("read", uris[0], _APART), True))
    if not finding.shared:
        found.append((Refusal("write", check.root, _APART), True))
    if finding.written is not None:
        found.append((finding.written, True))  # the job has written its record
    return found


def refused(node: Node, found: Sequence[tuple[Refusal, bool]]) -> str:
    """A line: which node, what it may not do, whether the driver may, what to do."""
    parts = [_part(refusal, by_driver) for refusal, by_driver in found]
    return f"preflight: the workers of {node} {'; '.join(parts)}"


def _part(refusal: Refusal, by_driver: bool) -> str:
    if refusal.code == _APART:
        what = "videos" if refusal.action == "read" else "root (--out)"
        return (
            f"cannot {refusal.action} {refusal.uri}: it is on the driver's machine and not on theirs: put the {what} "
            "where all nodes see it, s3:// or a mount that all have"
        )
    whose = "the workers'" if by_driver else "the workers' and the driver's"
    able = ", though the driver can" if by_driver else ", nor can the driver"
    return f"{refusal.words()}{able}: {refusal.way_out(whose)}"


def exposed(node: Node, why: str) -> str:
    """A line: a node's decoding child can reach the network."""
    return (
        f"preflight: on {node} the decoding child can reach the network: unshare is refused there ({why}); it has no "
        "keys and opens nothing that a video refers to, but a hole in a decoder would lead to the network"
    )


@ray.remote(num_cpus=0)
def finding_of(check: WorkerCheck, environment: dict[str, str]) -> Finding:
    """A check, made in a worker process.

    Args:
        check: what is tried.
        environment: the job's access to storage.
    """
    os.environ.update(environment)
    return check.finding()
