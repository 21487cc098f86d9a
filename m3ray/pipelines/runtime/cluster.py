"""The connection to Ray: to a given cluster, or to a small one that is started on this machine."""

from __future__ import annotations

import logging
import os
import secrets
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
# Tasks that ask for no GPU see none, as before Ray 2.60: each would open a context on a device that is another's.
os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "1")
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
from ray._common.utils import get_default_ray_temp_dir

from m3ray.config import ComputeConfig, DeviceConfig
from m3ray.errors import ClusterError, DeviceError
from m3ray.pipelines.runtime.address import check_address, read_address, token_path
from m3ray.pipelines.runtime.assigned_gpus import hide_gpus_of_driver
from m3ray.pipelines.runtime.device_meter import DeviceMeter
from m3ray.pipelines.runtime.device_probe import (
    DeviceFacts,
    combine_reports,
    inspect_device,
    probe_cpus,
    probe_gpus,
    reject_problems,
)
from m3ray.pipelines.runtime.driver_output import divert_actor_warnings, filter_ray_loggers
from m3ray.pipelines.runtime.failures import as_one_line
from m3ray.pipelines.runtime.spot_first import ON_DEMAND, name_spot_type
from m3ray.pipelines.runtime.worker_entry import send_environment
from m3ray.pipelines.runtime.worker_output import divert_worker_output
from m3ray.storage.schemes import read_access_environment

logger = logging.getLogger(__name__)

# A laptop's Ray would take a third of its memory for objects; frames in flight need far less.
_LOCAL_OBJECT_STORE = 1 << 30
# Ray 2.60 waits 30 s for its own node, which no setting changes, and says this then.
_STARTS, _SLOW_START = 3, "The current node timed out during startup"
_LAUNCHER_CONFIG = "~/ray_bootstrap_config.yaml"

_GIB = 1 << 30
# Of a tier actor on a GPU: CUDA's context, networks, workspaces and the raw tier's frames.
_ACTOR_BYTES = 3 * _GIB
# CSN-152's activations at its widest block, of a clip of 128 frames of 256x256, with its input: 0.9 GiB in bfloat16.
_CLIP_BYTES = {True: _GIB, False: 2 * _GIB}
_MAX_CLIPS_PER_BATCH = 8
# On a CPU: a tier actor with all networks and a clip takes 1.3 GiB, the decoding task beside it 0.6 (measured).
_BYTES_A_CPU = 2 * _GIB
# From this size on a GPU's memory holds two actors: one computes while the other unpacks, copies and packs.
_SHARED_GPU_BYTES = 40 * _GIB


@dataclass(frozen=True)
class Resources:
    """Resources of the cluster, or what it may grow to if it is autoscaled.

    Args:
        cpus: number of CPUs.
        gpus: number of GPUs that tiers run on; 0: they run on CPUs.
        gpus_now: number of those GPUs that are there already.
        facts: what the probe found; None: nothing was probed, and devices are taken to be of today's kinds.
        memory: bytes that the nodes have for processes; 0: not known.
    """

    cpus: int
    gpus: int
    gpus_now: int = 0
    facts: DeviceFacts | None = None
    memory: int = 0

    @property
    def bfloat16(self) -> bool:
        """Whether all devices that compute networks have units for bfloat16."""
        if self.facts is not None:
            return self.facts.bfloat16
        return bool(self.gpus) or inspect_device(gpu=False).bfloat16

    @property
    def gpu_memory(self) -> int:
        """Bytes of the smallest GPU's memory; 0 where there is none, or it is not known."""
        return 0 if self.facts is None else self.facts.gpu_memory

    def actors_per_gpu(self, compute: ComputeConfig) -> int:
        """Number of tier actors that share a GPU.

        Args:
            compute: settings, of which `actors_per_gpu` decides if it is set.
        Returns:
            1 or more.
        """
        return compute.actors_per_gpu or (2 if self.gpu_memory >= _SHARED_GPU_BYTES else 1)

    def actors(self, compute: ComputeConfig) -> int:
        """Number of tier actors at most: as many as the GPUs hold, else one for each CPU that has memory for it.

        One thread each is what CPUs do most with: networks on two threads wait for each other, and pixel statistics
        take one anyway.

        Args:
            compute: settings, of which `actors` decides if it is set.
        Returns:
            Number of actors, at least 1.
        """
        return compute.actors or self.gpus * self.actors_per_gpu(compute) or self._cpu_actors()

    def _cpu_actors(self) -> int:
        fit = self.memory // _BYTES_A_CPU if self.memory else self.cpus // 2
        return max(1, min(self.cpus, fit))

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
            Number of clips: 1 on CPUs; on GPUs 8, or as many as the smallest one's memory holds.
        """
        return compute.clips_per_batch or (self._clips_on_gpu(compute) if self.gpus else 1)

    def _clips_on_gpu(self, compute: ComputeConfig) -> int:
        if not self.gpu_memory:
            return _MAX_CLIPS_PER_BATCH
        free = 0.9 * self.gpu_memory / self.actors_per_gpu(compute) - _ACTOR_BYTES
        return int(min(_MAX_CLIPS_PER_BATCH, max(1, free // _CLIP_BYTES[self.bfloat16])))


@contextmanager
def connect_cluster(
    compute: DeviceConfig | None = None,
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
        ClusterError: If RAY_ADDRESS names a cluster that does not answer, or no Ray starts on this machine.
        DeviceError: If a GPU of the cluster cannot be computed on.
    """
    settings = compute if isinstance(compute, ComputeConfig) else ComputeConfig((compute or DeviceConfig()).device)
    own = not ray.is_initialized()
    if dry and own and read_address() is None:
        yield _local_resources(settings)
        return
    if own:
        _start_ray(dashboard)
    _configure_ray()
    try:
        _check_wish(settings, grows=not own or read_address() is not None)
        with (meter or DeviceMeter()).measure(), hide_gpus_of_driver():
            yield _probe(_cluster_resources(settings), settings, dry=dry)
    finally:
        if own:
            ray.shutdown()


def _local_resources(compute: ComputeConfig) -> Resources:
    """Resources of a cluster that would be started here."""
    amounts = {"CPU": float(ray._private.utils.get_num_cpus()), "GPU": float(torch.cuda.device_count())}
    resources = _combine_resources(compute, amounts, amounts)
    reports = {"this machine": inspect_device(gpu=bool(resources.gpus_now))}
    reject_problems(reports)
    return replace(resources, facts=combine_reports(reports))


def _check_wish(compute: ComputeConfig, *, grows: bool) -> None:
    """Refuse to wait for a GPU that cannot come: a Ray of this machine alone has the devices that it has."""
    if compute.device == "gpu" and not grows and not ray.cluster_resources().get("GPU"):
        raise DeviceError(
            "--compute.device gpu, and Ray finds no GPU on this machine: leave it out, or name a cluster that has some "
            "(RAY_ADDRESS)"
        )


def _probe(resources: Resources, compute: ComputeConfig, *, dry: bool) -> Resources:
    """The resources with what a probe found; logs what follows from it."""
    facts = probe_gpus(wait=not dry) if resources.gpus else probe_cpus()
    if facts is None:
        logger.info("probe: no GPU node is there to be asked: the plan takes bfloat16 for granted")
        return resources
    probed = replace(resources, facts=facts)
    precision = "bfloat16" if probed.bfloat16 else "float32"
    kind = f"{probed.actors_per_gpu(compute)} actors a GPU" if probed.gpus else "no GPU"
    logger.info(
        f"probe: {facts.description}: auto precision is {precision}, {probed.batch(compute)} clips a batch, {kind}"
    )
    return probed


def _cluster_resources(compute: ComputeConfig) -> Resources:
    return _combine_resources(compute, ray.cluster_resources(), _autoscaler_limits())


def _combine_resources(compute: ComputeConfig, now: Mapping[str, float], most: Mapping[str, float]) -> Resources:
    """Resources that count, of those that are there and those that may come."""
    cpus = max(1, int(max(now.get("CPU", 0), most.get("CPU", 0))))
    # What an autoscaler's config leaves out is taken to grow with the CPUs.
    memory = int(max(now.get("memory", 0) * cpus / max(1, now.get("CPU", 0)), most.get("memory", 0)))
    if compute.device == "cpu":
        return Resources(cpus, 0, memory=memory)
    gpus_now = int(now.get("GPU", 0))
    gpus = max(gpus_now, int(most.get("GPU", 0)))
    # Where Ray does not know how far its cluster grows, the user does.
    return Resources(cpus, gpus or (compute.actors or 1 if compute.device == "gpu" else 0), gpus_now, memory=memory)


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
        Resource to amount, with each node type at its `max_workers` but no more than the cluster's, and without types
        that only stand in for spot nodes; empty if there is no such file.
    """
    file = Path(path).expanduser()
    if not file.exists():
        return {}
    config = yaml.safe_load(file.read_text())
    most: dict[str, float] = {}
    types = config["available_node_types"]
    for name, kind in types.items():
        if name.endswith(ON_DEMAND) and name_spot_type(name) in types:
            continue
        nodes = 1 if name == config["head_node_type"] else min(kind.get("max_workers", 0), config["max_workers"])
        for resource, amount in kind["resources"].items():
            most[resource] = most.get(resource, 0) + nodes * amount
    return most


def _start_ray(dashboard: bool) -> None:
    divert_worker_output()
    filter_ray_loggers()
    if read_address() is not None:
        _join_cluster()
        return
    _provide_token()
    start_patiently(partial(_start_own_ray, dashboard))


def start_patiently(start: Callable[[], object]) -> None:
    """Start a Ray on this machine, again where a busy machine makes it late; a start that failed leaves no process.

    Args:
        start: Starts a Ray in this process, as `ray.init` does.
    Raises:
        ClusterError: If it was late each of three times.
    """
    for attempt in range(1, _STARTS + 1):
        before = set(psutil.Process().children())
        try:
            start()
            return
        except Exception as error:  # a plain one is what Ray raises
            _kill_ray(before)
            if _SLOW_START not in str(error):
                raise
            if attempt == _STARTS:
                raise ClusterError(
                    f"Ray did not start on this machine in {_STARTS} tries of half a minute each "
                    f"({as_one_line(str(error))}): where other work keeps the machine busy, wait for its end; else see "
                    f"raylet.out in the logs of the newest session in {get_default_ray_temp_dir()}"
                ) from error
            logger.warning(f"Ray was not up in time, as on a busy machine: try {attempt} of {_STARTS}")


def _kill_ray(others: Collection[psutil.Process]) -> None:
    """Kill what a start that failed left: Ray's shutdown knows a node only once it is up.

    Args:
        others: children of this process that are older than that start.
    """
    home = str(Path(ray.__file__).parent)
    left = []
    for child in psutil.Process().children():
        with suppress(psutil.Error):  # one that has just ended
            if child not in others and any(home in argument for argument in child.cmdline()):
                left += [child, *child.children(recursive=True)]
    for process in left:
        with suppress(psutil.Error):
            process.kill()
    psutil.wait_procs(left, timeout=10)


def _start_own_ray(dashboard: bool) -> None:
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
    filter_ray_loggers()  # Ray may have made handlers as it started
    divert_actor_warnings()
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False  # the job has lines of progress of its own
    context.issue_detectors_config.detectors = []  # advice on an actor's memory, which is counted on here already
    send_environment()  # to workers of a Ray that somebody else started, too
    # A worker that cannot start is an error to show, not one to repeat for ever.
    context.actor_init_retry_on_errors = True
    context.actor_init_max_retries = 3
    context.max_consecutive_actor_init_deaths = 5
