"""What is checked before the first clip, so that a job stops at once with the fix, not after hours with nothing."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress

import pyarrow as pa
import ray
from ray.exceptions import RayError, RayTaskError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from m3ray.config import ComputeConfig, DecodeConfig, LimitsConfig
from m3ray.console import say
from m3ray.errors import ConfigError, DecodeError
from m3ray.pipelines.extraction.versions import check_software
from m3ray.pipelines.extraction.worker_checks import Finding, Later, WorkerCheck, exposed, finding_of, refusals, refused
from m3ray.pipelines.runtime.cluster import Resources
from m3ray.pipelines.runtime.failures import in_one_line, raised, words
from m3ray.pipelines.runtime.node_kinds import Node, one_of_each_kind, working_nodes
from m3ray.pipelines.runtime.worker_entry import note_readable, send_check
from m3ray.storage.filesystems import is_local
from m3ray.storage.root import Root
from m3ray.storage.schemes import access_environment
from m3ray.storage.versions import software
from m3ray.tiers import Tier
from m3ray.video.access import Look, places_of
from m3ray.video.sandbox import Decoder

_SAID_SECONDS, _MOST_SECONDS = 5.0, 60.0
_MOST_TOLD = 3


def check_storage(root: Root) -> None:
    """Raises ConfigError where nothing can be written under the root."""
    name = f"write-test-{uuid.uuid4().hex}"
    try:
        root.write_bytes(b"m3ray", "runs", name)
        root.delete("runs", name)
    except OSError as error:
        raise ConfigError(f"cannot write under {root.uri}: {words(*raised(error))}") from error


def check_decoders(decode: DecodeConfig, limits: LimitsConfig) -> None:
    """Raises ConfigError where the decoding child does not start."""
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
    """Loads every weight file once, here, so that a bad one is one error and not one an actor."""
    for tier in tiers:
        network = getattr(tier, "network", None)
        if network is not None and not tier.untrained:
            network.check()
            say(f"preflight: weights of {tier.name} load: SHA-256 {network.source.sha256}")
        elif network is not None:
            say(f"preflight: {tier.name} has UNTRAINED weights: its numbers are for trials alone")


def check_devices(on: Resources, compute: ComputeConfig) -> None:
    """Says where tiers run; raises where more is asked of GPUs than the cluster has."""
    actors = compute.actors
    if compute.compile and not on.gpus:
        raise ConfigError("--compute.compile is for GPUs, and the cluster has none: leave it out")
    if compute.raw_device == "cuda" and not on.gpus:
        raise ConfigError("--compute.raw-device cuda, and the cluster has no GPU: leave it out")
    if on.gpus_now == on.gpus and actors and on.gpus and actors > on.gpus:
        raise ConfigError(f"--compute.actors {actors}, but the cluster has {on.gpus} GPUs: ask for at most that many")
    to_come = f" ({on.gpus_now} now, the others as the cluster grows)" if on.gpus_now < on.gpus else ""
    where = f"{on.gpus} GPUs{to_come}" if on.gpus else "no GPU: tiers run on the CPU"
    say(f"preflight: {on.cpus} CPUs, {where}")


def check_workers(root: Root, uris: pa.ChunkedArray) -> dict[Node, Finding]:
    """Lets a worker on one node of each kind read a clip of each place and write and delete an object under the root.

    Nodes of a kind that comes later are asked at their first clip.

    Args:
        root: that the workers write to.
        uris: of the clips that they are going to read; none: nothing is asked.
    Returns:
        What each node answered.
    Raises:
        ConfigError: one of them may not do what the job needs.
    """
    places = places_of(uris)
    if not places:
        return {}
    with _marked(root) as marker:
        check = WorkerCheck(root.uri, marker, places)
        asked = _ask(check)
        own = check.looks()  # while the workers look
        found = _answers(asked, check)
    seen = tuple(bool(look.read) for look in own)
    _judge(found, check, seen)
    for node, finding in found.items():
        check_software(software(), finding.software, f"the workers of {node}")
    _tell_driver(own, found)
    for node, finding in found.items():
        if finding.exposed:
            say(exposed(node, finding.exposed))
    send_check(Later(check, seen, frozenset(node.kind for node in found), uuid.uuid4().hex))
    looks = (look for finding in found.values() for look in finding.looks)
    note_readable(next((look.read for look in looks if look.read), ""))
    return found


@contextmanager
def _marked(root: Root) -> Iterator[str | None]:
    """A file of the driver's under a root on a disk, which other machines see if it is the same disk."""
    if not is_local(root.uri):
        yield None
        return
    name = f"write-test-{uuid.uuid4().hex}"
    root.write_bytes(b"m3ray", "runs", name)
    try:
        yield name
    finally:
        with suppress(OSError):
            root.delete("runs", name)


def _ask(check: WorkerCheck) -> dict[ray.ObjectRef, Node]:
    environment = access_environment()
    asked = {}
    for node in one_of_each_kind(working_nodes(ray.nodes())):
        there = NodeAffinitySchedulingStrategy(node.id, soft=False)
        asked[finding_of.options(scheduling_strategy=there).remote(check, environment)] = node
    return asked


def _answers(asked: Mapping[ray.ObjectRef, Node], check: WorkerCheck) -> dict[Node, Finding]:
    """What the nodes answered; one that went, or whose worker does not start in time, is asked at its first clip."""
    found: dict[Node, Finding] = {}
    waiting, begun = list(asked), time.monotonic()
    while waiting:
        ready, waiting = ray.wait(waiting, num_returns=len(waiting), timeout=_SAID_SECONDS)
        found |= {asked[ref]: finding for ref in ready if (finding := _answer(ref, asked[ref])) is not None}
        waited = time.monotonic() - begun
        if waiting and waited > _MOST_SECONDS:
            say(f"preflight: {_named(asked, waiting)} did not answer in {waited:.0f} s: asked again at its first clip")
            break
        if waiting:
            say(
                f"preflight: {waited:.0f} s: waiting for workers on {_named(asked, waiting)} to read a clip of "
                f"{len(check.places)} places and to write under {check.root}; goes on after {_MOST_SECONDS:.0f} s"
            )
    return found


def _answer(ref: ray.ObjectRef, node: Node) -> Finding | None:
    """Raises ConfigError where m3ray does not run on a node."""
    try:
        return ray.get(ref)
    except RayTaskError as error:
        said = in_one_line(": ".join(raised(error)))
        raise ConfigError(
            f"preflight: m3ray does not run on {node} ({said}): install the same m3ray on every node"
        ) from error
    except RayError as error:  # the node went, or its worker died
        say(f"preflight: {node} did not answer ({in_one_line(str(error))}): it is asked at its first clip")
        return None


def _named(asked: Mapping[ray.ObjectRef, Node], refs: Sequence[ray.ObjectRef]) -> str:
    return ", ".join(str(asked[ref]) for ref in refs)


def _judge(found: Mapping[Node, Finding], check: WorkerCheck, seen: Sequence[bool]) -> None:
    """Raises ConfigError for the first kind of node that may not do what the job needs; the others are counted."""
    refusing = {node: told for node, finding in found.items() if (told := refusals(finding, check, seen))}
    if refusing:
        node, told = next(iter(refusing.items()))
        others = f"; {len(refusing) - 1} more kinds of nodes likewise" if len(refusing) > 1 else ""
        raise ConfigError(refused(node, told[:_MOST_TOLD]) + others)


def _tell_driver(own: Sequence[Look], found: Mapping[Node, Finding]) -> None:
    """Says where the workers read and the driver cannot: the job goes on, as the driver reads no clip."""
    for place, look in enumerate(own):
        read = any(finding.looks[place].read for finding in found.values())
        if read and look.refusal is not None:
            way_out = look.refusal.way_out("the driver's")
            say(
                f"preflight: the driver {look.refusal.words()}, though the workers can: the job goes on, but changed "
                f"clips are not noticed and the report shows no frames of them: {way_out}"
            )
