"""The connection to Ray: a cluster where one is given, a small one of our own on a laptop."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
# Ray would hide GPUs from tasks that ask for none, and warns that it will stop doing so.
os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
# Workers inherit it. OpenMP threads that spin while they wait take the cores that decoding needs.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import psutil
import ray
import ray._private.state
import ray.data
import yaml

from m3ray.config import ComputeConfig
from m3ray.pipelines.meter import Meter

# A laptop's Ray would take a third of its memory for objects; frames in flight need far less.
_LOCAL_OBJECT_STORE = 1 << 30
_LAUNCHER_CONFIG = "~/ray_bootstrap_config.yaml"


@dataclass(frozen=True)
class Resources:
    """What the cluster has, or may grow to where it is autoscaled.

    Args:
        cpus: processors.
        gpus: accelerators that tiers run on; 0: they run on CPUs.
        gpus_now: those of them that are there already.
    """

    cpus: int
    gpus: int
    gpus_now: int = 0

    def actors(self, compute: ComputeConfig) -> int:
        """Tier actors at most: one a GPU; else one for every two cores, which holds the networks half as often."""
        return compute.actors or self.gpus or max(1, self.cpus // 2)

    def threads(self, compute: ComputeConfig) -> int:
        """Torch threads of an actor."""
        return compute.threads or max(1, self.cpus // self.actors(compute))

    def batch(self, compute: ComputeConfig) -> int:
        """Clips an actor computes at once."""
        return compute.clips_per_batch or (8 if self.gpus else 1)


@contextmanager
def connected(
    compute: ComputeConfig | None = None, meter: Meter | None = None, *, dashboard: bool = False
) -> Iterator[Resources]:
    """Ray for the length of the block; a cluster of our own is stopped at its end.

    Args:
        compute: its `device` decides whether GPUs count; None: they do.
        meter: notes the devices that the cluster has meanwhile.
        dashboard: whether a cluster of our own has one: Ray Train asks it whether its controller lives, every second,
            and complains where there is none.
    """
    ours = not ray.is_initialized()
    if ours:
        _start(dashboard)
    _configure()
    try:
        with (meter or Meter()).running():
            yield _resources(compute or ComputeConfig())
    finally:
        if ours:
            ray.shutdown()


def _resources(compute: ComputeConfig) -> Resources:
    now, most = ray.cluster_resources(), _most()
    cpus = max(1, int(max(now.get("CPU", 0), most.get("CPU", 0))))
    if compute.device == "cpu":
        return Resources(cpus, 0)
    here = int(now.get("GPU", 0))
    gpus = max(here, int(most.get("GPU", 0)))
    # Where Ray does not know how far its cluster grows, the user does.
    return Resources(cpus, gpus or (compute.actors or 1 if compute.device == "gpu" else 0), here)


def _most() -> dict[str, float]:
    """What the autoscaler may grow the cluster to; empty where there is none, or where it does not tell."""
    with suppress(Exception):  # Ray's own API, which may change; Ray's second autoscaler (KubeRay) answers it
        return ray._private.state.state.get_max_resources_from_cluster_config() or launcher_resources(_LAUNCHER_CONFIG)
    return {}


def launcher_resources(path: str) -> dict[str, float]:
    """What Ray's cluster launcher may grow its cluster to, from the config that it leaves on the head.

    Args:
        path: that YAML file; where there is none, nothing is known.
    Returns:
        Resource to amount, all node types at their `max_workers`, cut at the cluster's own.
    """
    file = Path(path).expanduser()
    if not file.exists():
        return {}
    config = yaml.safe_load(file.read_text())
    most: dict[str, float] = {}
    for name, kind in config["available_node_types"].items():
        nodes = 1 if name == config["head_node_type"] else min(kind.get("max_workers", 0), config["max_workers"])
        for resource, amount in kind["resources"].items():
            most[resource] = most.get(resource, 0) + nodes * amount
    return most


def _start(dashboard: bool) -> None:
    if "RAY_ADDRESS" in os.environ:
        ray.init(address="auto", logging_level=logging.WARNING)
        return
    memory = min(_LOCAL_OBJECT_STORE, psutil.virtual_memory().total // 5)
    ray.init(address="local", include_dashboard=dashboard, object_store_memory=memory, logging_level=logging.WARNING)


def _configure() -> None:
    logging.getLogger("ray.data").setLevel(logging.WARNING)
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = sys.stderr.isatty()
    # A worker that cannot start is an error to show, not one to repeat for ever.
    context.actor_init_retry_on_errors = True
    context.actor_init_max_retries = 3
    context.max_consecutive_actor_init_deaths = 5
