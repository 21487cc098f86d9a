"""The connection to Ray: a cluster where one is given, a small one of our own on a laptop."""

from __future__ import annotations

import logging
import os
import secrets
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
# Ray would hide GPUs from tasks that ask for none, and warns that it will stop doing so.
os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
# Workers inherit it. OpenMP threads that spin while they wait take the cores that decoding needs.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import psutil
import ray
import ray._private.services
import ray._private.state
import ray._private.utils
import ray.data
import torch
import yaml

from m3ray.config import ComputeConfig
from m3ray.errors import ClusterError
from m3ray.pipelines.runtime.address import check_address, given_address, token_file
from m3ray.pipelines.runtime.device_meter import Meter
from m3ray.pipelines.runtime.failures import in_one_line
from m3ray.pipelines.runtime.worker_entry import send_environment
from m3ray.pipelines.runtime.worker_output import keep_tracebacks_off_screen
from m3ray.storage.schemes import access_environment

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
    compute: ComputeConfig | None = None, meter: Meter | None = None, *, dashboard: bool = False, dry: bool = False
) -> Iterator[Resources]:
    """Ray for the length of the block; a cluster of our own is stopped at its end.

    Args:
        compute: its `device` decides whether GPUs count; None: they do.
        meter: notes the devices that the cluster has meanwhile.
        dashboard: whether a cluster of our own has one: Ray Train asks it whether its controller lives, every second,
            and complains where there is none.
        dry: nothing will run: a cluster of our own is not started, only this machine looked at.
    Raises:
        ClusterError: RAY_ADDRESS names a cluster that does not answer.
    """
    ours = not ray.is_initialized()
    if dry and ours and given_address() is None:
        yield _this_machine(compute or ComputeConfig())
        return
    if ours:
        _start(dashboard)
    _configure()
    try:
        with (meter or Meter()).running():
            yield _resources(compute or ComputeConfig())
    finally:
        if ours:
            ray.shutdown()


def _this_machine(compute: ComputeConfig) -> Resources:
    """What a cluster of our own would have."""
    found = {"CPU": float(ray._private.utils.get_num_cpus()), "GPU": float(torch.cuda.device_count())}
    return _resources_of(compute, found, found)


def _resources(compute: ComputeConfig) -> Resources:
    return _resources_of(compute, ray.cluster_resources(), _most())


def _resources_of(compute: ComputeConfig, now: Mapping[str, float], most: Mapping[str, float]) -> Resources:
    """What counts of the resources that are there, and of those that may come."""
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
    keep_tracebacks_off_screen()
    if given_address() is not None:
        _join()
        return
    _provide_token()
    memory = min(_LOCAL_OBJECT_STORE, psutil.virtual_memory().total // 5)
    ray.init(
        address="local",
        include_dashboard=dashboard,
        object_store_memory=memory,
        logging_level=logging.WARNING,
        runtime_env=_for_workers(),
    )


def _join() -> None:
    """Connects to the cluster that RAY_ADDRESS names, once that is seen to answer."""
    address = given_address()
    try:
        check_address(address)
        if address == "auto":
            found = ray._private.services.canonicalize_bootstrap_address(address)
            check_address(found, source="RAY_ADDRESS=auto, which stands for ")
        ray.init(address="auto", logging_level=logging.WARNING, runtime_env=_for_workers())
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise ClusterError(
            f"RAY_ADDRESS={address}: cannot connect ({in_one_line(str(error))}): see whether that cluster is up and of "
            f"this Ray ({ray.__version__}), or unset RAY_ADDRESS to work on this machine"
        ) from error


def _for_workers() -> dict[str, Any] | None:
    """Access to buckets that are not read as the root's; usually none, which spares workers their own environment."""
    told = {name: value for name, value in access_environment().items() if value}
    return {"env_vars": told} if told else None


def _provide_token() -> None:
    """A cluster of our own is closed to others by a token, which Ray keeps in the home; where it cannot, in ours."""
    chosen = ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH")
    if any(name in os.environ for name in chosen):
        return
    with suppress(OSError, RuntimeError):
        file = token_file()
        file.parent.mkdir(parents=True, exist_ok=True)
        if file.exists() or os.access(file.parent, os.W_OK):
            return
    os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)


def _configure() -> None:
    logging.getLogger("ray.data").setLevel(logging.WARNING)
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = sys.stderr.isatty()
    send_environment()  # to workers of a Ray that somebody else started, too
    # A worker that cannot start is an error to show, not one to repeat for ever.
    context.actor_init_retry_on_errors = True
    context.actor_init_max_retries = 3
    context.max_consecutive_actor_init_deaths = 5
