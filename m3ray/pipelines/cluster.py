"""The connection to Ray: a cluster where one is given, a small one of our own on a laptop."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
# Ray would hide GPUs from tasks that ask for none, and warns that it will stop doing so.
os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
# Workers inherit it. OpenMP threads that spin while they wait take the cores that decoding needs.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import psutil
import ray
import ray.data

from m3ray.config import ComputeConfig

# A laptop's Ray would take a third of its memory for objects; frames in flight need far less.
_LOCAL_OBJECT_STORE = 1 << 30


@dataclass(frozen=True)
class Resources:
    """What the cluster has now."""

    cpus: int
    gpus: int

    def actors(self, compute: ComputeConfig) -> int:
        """Tier actors: one a GPU; else one for every two cores, which holds the networks half as often."""
        return compute.actors or self.gpus or max(1, self.cpus // 2)

    def threads(self, compute: ComputeConfig) -> int:
        """Torch threads of an actor."""
        return compute.threads or max(1, self.cpus // self.actors(compute))

    def batch(self, compute: ComputeConfig) -> int:
        """Clips an actor computes at once."""
        return compute.clips_per_batch or (8 if self.gpus else 1)


@contextmanager
def connected() -> Iterator[Resources]:
    """Ray for the length of the block; a cluster of our own is stopped at its end."""
    ours = not ray.is_initialized()
    if ours:
        _start()
    _configure()
    try:
        total = ray.cluster_resources()
        yield Resources(int(total.get("CPU", 1)), int(total.get("GPU", 0)))
    finally:
        if ours:
            ray.shutdown()


def _start() -> None:
    if "RAY_ADDRESS" in os.environ:
        ray.init(address="auto", logging_level=logging.WARNING)
        return
    memory = min(_LOCAL_OBJECT_STORE, psutil.virtual_memory().total // 5)
    ray.init(address="local", include_dashboard=False, object_store_memory=memory, logging_level=logging.WARNING)


def _configure() -> None:
    logging.getLogger("ray.data").setLevel(logging.WARNING)
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = sys.stderr.isatty()
    # A worker that cannot start is an error to show, not one to repeat for ever.
    context.actor_init_retry_on_errors = True
    context.actor_init_max_retries = 3
    context.max_consecutive_actor_init_deaths = 5
