"""The connection to Ray: to a given cluster, or to a small one that is started on this machine."""

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
from m3ray.pipelines.runtime.address import check_address, read_address, token_path
from m3ray.pipelines.runtime.device_meter import DeviceMeter
from m3ray.pipelines.runtime.failures import as_one_line
from m3ray.pipelines.runtime.worker_entry import send_environment
from m3ray.pipelines.runtime.worker_output import divert_tracebacks
from m3ray.storage.schemes import read_access_environment

# A laptop's Ray would take a third of its memory for objects; frames in flight need far less.
_LOCAL_OBJECT_STORE = 1 << 30
_LAUNCHER_CONFIG = "~/ray_bootstrap_config.yaml"


@dataclass(frozen=True)
class Resources:
    """Resources of the cluster, or what it may grow to if it is autoscaled.

    Args:
        cpus: number of CPUs.
        gpus: number of GPUs that tiers run on; 0: they run on CPUs.
        gpus_now: number of those GPUs that are there already.
    """

    cpus: int
    gpus: int
    gpus_now: int = 0

    def actors(self, compute: ComputeConfig) -> int:
        """Number of tier actors at most: one a GPU, else one for every two CPUs, as each holds the networks in memory.

        Args:
            compute: settings, of which `actors` decides if it is set.
        Returns:
            Number of actors, at least 1.
        """
        return compute.actors or self.gpus or max(1, self.cpus // 2)

    def threads(self, compute: ComputeConfig) -> int:
        """Number of torch threads of an actor.

        Args:
            compute: settings, of which `threads` decides if it is set.
        Returns:
            Number of threads, at least 1.
        """
        return compute.threads or max(1, self.cpus // self.actors(compute))

    def batch(self, compute: ComputeConfig) -> int:
        """Number of clips that an actor computes at once.

        Args:
            compute: settings, of which `clips_per_batch` decides if it is set.
        Returns:
            Number of clips: 8 on GPUs, 1 on CPUs.
        """
        return compute.clips_per_batch or (8 if self.gpus else 1)


@contextmanager
def connect_cluster(
    compute: ComputeConfig | None = None,
    meter: DeviceMeter | None = None,
    *,
    dashboard: bool = False,
    dry: bool = False,
) -> Iterator[Resources]:
    """Connect to Ray for the length of the block; a cluster that was started here is stopped at its end.

    Args:
        compute: settings, whose `device` decides whether GPUs count; None: they do.
        meter: meter of the devices that the cluster has meanwhile; None: they are not measured.
        dashboard: whether a cluster that is started here has a dashboard: Ray Train asks it every second whether its
            controller lives, and complains where there is none.
        dry: whether nothing will run: no cluster is started then, the resources are those of this machine.
    Yields:
        Resources of the cluster.
    Raises:
        ClusterError: If RAY_ADDRESS names a cluster that does not answer.
    """
    own = not ray.is_initialized()
    if dry and own and read_address() is None:
        yield _local_resources(compute or ComputeConfig())
        return
    if own:
        _start_ray(dashboard)
    _configure_ray()
    try:
        with (meter or DeviceMeter()).measure():
            yield _cluster_resources(compute or ComputeConfig())
    finally:
        if own:
            ray.shutdown()


def _local_resources(compute: ComputeConfig) -> Resources:
    """Resources of a cluster that would be started here."""
    amounts = {"CPU": float(ray._private.utils.get_num_cpus()), "GPU": float(torch.cuda.device_count())}
    return _combine_resources(compute, amounts, amounts)


def _cluster_resources(compute: ComputeConfig) -> Resources:
    return _combine_resources(compute, ray.cluster_resources(), _autoscaler_limits())


def _combine_resources(compute: ComputeConfig, now: Mapping[str, float], most: Mapping[str, float]) -> Resources:
    """Resources that count, of those that are there and those that may come."""
    cpus = max(1, int(max(now.get("CPU", 0), most.get("CPU", 0))))
    if compute.device == "cpu":
        return Resources(cpus, 0)
    gpus_now = int(now.get("GPU", 0))
    gpus = max(gpus_now, int(most.get("GPU", 0)))
    # Where Ray does not know how far its cluster grows, the user does.
    return Resources(cpus, gpus or (compute.actors or 1 if compute.device == "gpu" else 0), gpus_now)


def _autoscaler_limits() -> dict[str, float]:
    """Resources that the autoscaler may grow the cluster to; empty if there is none, or it does not tell."""
    with suppress(Exception):  # Ray's own API, which may change; Ray's second autoscaler (KubeRay) answers it
        return ray._private.state.state.get_max_resources_from_cluster_config() or read_launcher_resources(
            _LAUNCHER_CONFIG
        )
    return {}


def read_launcher_resources(path: str) -> dict[str, float]:
    """Read what Ray's cluster launcher may grow its cluster to, from the config that it leaves on the head node.

    Args:
        path: path of that YAML file.
    Returns:
        Resource to amount, with each node type at its `max_workers` but no more than the cluster's; empty if there is
        no such file.
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


def _start_ray(dashboard: bool) -> None:
    divert_tracebacks()
    if read_address() is not None:
        _join_cluster()
        return
    _provide_token()
    memory = min(_LOCAL_OBJECT_STORE, psutil.virtual_memory().total // 5)
    ray.init(
        address="local",
        include_dashboard=dashboard,
        object_store_memory=memory,
        logging_level=logging.WARNING,
        runtime_env=_worker_environment(),
    )


def _join_cluster() -> None:
    """Connect to the cluster that RAY_ADDRESS names, once it has answered."""
    address = read_address()
    try:
        check_address(address)
        if address == "auto":
            actual = ray._private.services.canonicalize_bootstrap_address(address)
            check_address(actual, source="RAY_ADDRESS=auto, which stands for ")
        ray.init(address="auto", logging_level=logging.WARNING, runtime_env=_worker_environment())
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise ClusterError(
            f"RAY_ADDRESS={address}: cannot connect ({as_one_line(str(error))}): see whether that cluster is up and of "
            f"this Ray ({ray.__version__}), or unset RAY_ADDRESS to work on this machine"
        ) from error


def _worker_environment() -> dict[str, Any] | None:
    """Access to buckets that are not read as the root's; usually none, which spares workers their own environment."""
    variables = {name: value for name, value in read_access_environment().items() if value}
    return {"env_vars": variables} if variables else None


def _provide_token() -> None:
    """Close the cluster to others by a token; Ray keeps it in the home folder, or else the environment does."""
    variables = ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH")
    if any(name in os.environ for name in variables):
        return
    with suppress(OSError, RuntimeError):
        file = token_path()
        file.parent.mkdir(parents=True, exist_ok=True)
        if file.exists() or os.access(file.parent, os.W_OK):
            return
    os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)


def _configure_ray() -> None:
    logging.getLogger("ray.data").setLevel(logging.WARNING)
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = sys.stderr.isatty()
    send_environment()  # to workers of a Ray that somebody else started, too
    # A worker that cannot start is an error to show, not one to repeat for ever.
    context.actor_init_retry_on_errors = True
    context.actor_init_max_retries = 3
    context.max_consecutive_actor_init_deaths = 5
