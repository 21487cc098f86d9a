"""What is checked before the first clip, so that a job stops at once with the fix, not after hours with nothing."""

from __future__ import annotations

import uuid
from collections.abc import Sequence

from m3ray.config import ComputeConfig, DecodeConfig, LimitsConfig
from m3ray.data.sandbox import Decoder
from m3ray.data.store import Root
from m3ray.errors import ConfigError, DecodeError
from m3ray.pipelines.cluster import Resources
from m3ray.pipelines.failures import raised, words
from m3ray.pipelines.progress import say
from m3ray.tiers import Tier


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
