"""Part 4 of benchmarks/gpu.py: CSN-152 and HRNet eager, graphed, compiled, and as the tiers call them."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from backbones import count_gigaflop, estimate_traffic
from gpu_card import KIND, PRECISION, find_peaks
from gpu_part import (
    DEVICE,
    SMALL,
    PartRun,
    count_launches,
    count_operations,
    free_memory,
    measure_seconds,
    note_failure,
    read_peak_gib,
)
from torch import Tensor, nn

from m3ray.tiers import event, scene
from m3ray.tiers.backbones import fill_untrained_, hrnetv2_w48, ip_csn_152, prepare_network
from m3ray.tiers.network import Network, WeightSource
from m3ray.tiers.precision import float32_precision

TABLE = "Networks"
SIZE = 64 if SMALL else 256
BATCHES = (1, 2) if SMALL else (1, 2, 4, 8, 16)
BUILDERS: dict[str, Callable[[], nn.Module]] = {"ip_csn_152": ip_csn_152, "hrnetv2_w48": hrnetv2_w48}
TRANSFORMS = {"ip_csn_152": event.NORMALISE, "hrnetv2_w48": scene.NORMALISE}
# Compiling takes minutes, so it comes last, and for one shape of each.
COMPILED = {"ip_csn_152": (8, 2) if SMALL else (45, 8), "hrnetv2_w48": (0, 2) if SMALL else (0, 8)}


@dataclass(frozen=True)
class Case:
    """A network on a batch.

    Args:
        name: name of the network.
        frames: frames of a clip; 0: images.
        batch: clips or images.
    """

    name: str
    frames: int
    batch: int

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the network's input."""
        return (self.batch, 3, *((self.frames,) if self.frames else ()), SIZE, SIZE)

    @property
    def start(self) -> dict[str, Any]:
        """The first columns of its rows."""
        return {"network": self.name, "frames": self.frames or None, "batch": self.batch, "precision": PRECISION}


def list_cases() -> list[Case]:
    """All cases, those of most interest first in case that time runs out."""
    frames = (8,) if SMALL else (45, 24, 105)
    clips = [Case("ip_csn_152", number, batch) for number in frames for batch in BATCHES]
    return [Case("hrnetv2_w48", 0, batch) for batch in BATCHES] + clips


def measure(run: PartRun) -> None:
    """Measure the part."""
    with float32_precision():
        measure_networks(run)


def measure_networks(run: PartRun) -> None:
    """Measure all networks."""
    peaks, bandwidth = find_peaks(run)
    floors = partial(estimate_floors, peak=peaks[PRECISION], bandwidth=bandwidth)
    networks = {name: prepare(name) for name in BUILDERS}
    for case in list_cases():
        if run.has_time(3, f"{case}"):
            with note_failure(run, f"{case}"):
                measure_case(run, case, networks[case.name], floors(case))
    for name in BUILDERS:
        measure_as_tier(run, name, floors)
    for name, network in networks.items():
        case = Case(name, *COMPILED[name])
        if run.has_time(15, f"{case}, compiled"):
            with note_failure(run, f"{case}, compiled"):
                measure_compiled(run, case, network, floors(case))
    run.note(
        "floors: each convolution's input, weights and output moved once at the rate of a copy; its multiply-adds at "
        "the rate of the best matrix product in the same precision. A share of 1 would be as fast as that"
    )


def prepare(name: str) -> nn.Module:
    """The network as the tiers run it: batch norms folded, channels last."""
    return prepare_network(fill_untrained_(BUILDERS[name]()), DEVICE, KIND, in_place=True)


def estimate_floors(case: Case, peak: float, bandwidth: float) -> tuple[float, float]:
    """Seconds that a batch needs at least to move its data, and to compute."""
    size = argparse.Namespace(batch=case.batch, frames=case.frames, size=SIZE)
    with torch.device("meta"), torch.inference_mode():
        network = prepare_network(BUILDERS[case.name](), torch.device("meta"), KIND, in_place=True)
        traffic = estimate_traffic(network, torch.empty(case.shape, dtype=KIND))
    return traffic * 1e9 / bandwidth, count_gigaflop(case.name, size) * 1e9 / peak


@torch.inference_mode()
def measure_case(run: PartRun, case: Case, network: nn.Module, floors: tuple[float, float]) -> None:
    """Measure a network eager, and on a GPU as a graph."""
    free_memory()
    x = make_input(case)
    add(run, case, "eager", lambda: network(x), floors)
    if DEVICE.type == "cuda":
        graph = capture(network, x)
        add(run, case, "graphed", graph.replay, floors)
        del graph
    free_memory()


def make_input(case: Case) -> Tensor:
    """Noise on the device, channels last in memory, second in name."""
    x = torch.randn(case.shape, device=DEVICE, dtype=KIND)
    return x.movedim(1, -1).contiguous().movedim(-1, 1)


def capture(network: nn.Module, x: Tensor) -> torch.cuda.CUDAGraph:
    """Capture a network on an input that stays where it is."""
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):  # what is allocated or chosen at the first call must not be captured
        for _ in range(2):
            network(x)
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        network(x)
    return graph


def add(
    run: PartRun, case: Case, how: str, work: Callable[[], Any], floors: tuple[float, float] | None, **more: Any
) -> None:
    """Measure a way to run a case, and add its row."""
    seconds = measure_seconds(work)
    traffic, arithmetic = floors or (None, None)
    row = {
        **case.start,
        "how": how,
        "clips/s": case.batch / seconds,
        "ms a batch": seconds * 1e3,
        "share of traffic floor": traffic and traffic / seconds,
        "share of arithmetic floor": arithmetic and arithmetic / seconds,
        "operations a batch": count_operations(work) if how == "eager" else None,
        "launches a batch": count_launches(work),
        "peak memory, GiB": read_peak_gib(),
    }
    run.add_row(TABLE, {**row, **more})


def measure_as_tier(run: PartRun, name: str, floors: Callable[[Case], tuple[float, float]]) -> None:
    """Measure what a tier calls: 8-bit frames from the host's memory, normalised, features back on the host."""
    case = Case(name, *COMPILED[name])
    if not run.has_time(3, f"{case} as the tier calls it"):
        return
    free_memory()
    with note_failure(run, f"{case} as the tier calls it"):
        loaded = Network(BUILDERS[name], TRANSFORMS[name], WeightSource(), PRECISION).load(DEVICE)
        shape = (case.batch, *((case.frames,) if case.frames else ()), SIZE, SIZE, 3)
        frames = torch.randint(0, 256, shape, dtype=torch.uint8)
        add(run, case, "as the tier calls it", lambda: loaded([frames]), floors(case))


@torch.inference_mode()
def measure_compiled(run: PartRun, case: Case, network: nn.Module, floors: tuple[float, float]) -> None:
    """Measure a compiled network; a new process compiles anew, unless PyTorch finds its work on the disk."""
    if SMALL and case.name == "hrnetv2_w48":
        run.note("hrnetv2_w48 compiled: left out on a CPU, which takes too long over it")
        return
    network = shorten(network) if SMALL else network
    free_memory()
    x = make_input(case)
    compiled = torch.compile(network, dynamic=False)
    start = time.monotonic()
    compiled(x)
    took = time.monotonic() - start
    how = "compiled, its first blocks alone" if SMALL else "compiled"
    add(run, case, how, lambda: compiled(x), None if SMALL else floors, **{"seconds to compile": took})


def shorten(network: nn.Module) -> nn.Module:
    """The stem and the first blocks of a CSN, which compile within seconds."""
    return nn.Sequential(network.get_submodule("stem"), *list(network.get_submodule("layer1"))[:2])  # type: ignore[call-overload]
