"""Ten million clips, calculated: hours, dollars and what limits, for a cluster of one kind of GPU node.

Nothing runs here. What goes in are figures that other benchmarks measure, with the source of each, and assumptions
where no machine was at hand; give your own in their place.

    python benchmarks/ten_million.py [--clips 10000000] [--nodes 8] [--decode-cpu-seconds 0.15] [--driver-ms 0.5] ...
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace

# S3, us-east-1: dollars a request; requests a second that a prefix answers.
GET_DOLLARS, PUT_DOLLARS = 0.4e-6, 5e-6
GETS_A_SECOND = 5500.0
# Features of a clip, bytes as stored: raw, scene, event, video metadata (`docs/aws.md`).
BYTES_A_CLIP = 11.3e3
FOLDERS = 4
# Counted on a simulated S3, of each shard that is merged: `GET`, `HEAD`, `LIST`; and `PUT`, which deleting needs too.
MERGE_GETS, MERGE_PUTS = 7, 1
MERGED_BYTES = 128 << 20


@dataclass(frozen=True)
class Node:
    """A kind of GPU node.

    Args:
        name: instance type and GPU.
        cpus: vCPUs.
        dollars: spot price an hour; a price of the day.
        clips_today: clips a second that its GPU computes with today's kernels, all tiers.
        clips_fused: the same with bias, activation and residual in the convolutions' kernels.
        gigabits: network, Gbit a second, that lasts.
    """

    name: str
    cpus: int
    dollars: float
    clips_today: float
    clips_fused: float
    gigabits: float


# No GPU was at hand. Memory traffic decides: CSN-152 at 45 frames is 271 clips/s on an H100 (3.35 TB/s) today and 949
# with its pointwise work fused; an L4 (0.3 TB/s) 25 and 87, an A10G (0.6 TB/s) twice that.
NODES = (
    Node("g6.4xlarge, L4", 16, 0.55, 25.0, 87.0, 10.0),
    Node("g5.4xlarge, A10G", 16, 0.65, 50.0, 174.0, 10.0),
    Node("p5.4xlarge, H100", 16, 2.50, 271.0, 949.0, 25.0),
)


@dataclass(frozen=True)
class Inputs:
    """What a job of so many clips is made of.

    Args:
        clips: number of clips.
        megabytes: size of a clip, MB.
        nodes: number of GPU nodes.
        prefixes: number of S3 prefixes that the videos lie under.
        decode_cpu_seconds: CPU seconds that decoding a clip takes (`benchmarks/decoders.py`).
        move_cpu_seconds: CPU seconds on the node that feeding a clip to its GPU takes (`benchmarks/scaling.py`).
        reached: share of the slowest thing's rate that a job reaches (`benchmarks/extract.py`: 0.7 to 0.9).
        driver_ms: CPU milliseconds of the driver a clip (`benchmarks/scaling.py`), of one core that it has at most.
        ledger_ms: CPU milliseconds of the ledger a clip, of a core of its own (`benchmarks/scaling.py`).
        shard_clips: clips of a shard, before merging.
        merge_mb_a_cpu_second: MB that a CPU merges a second (`storage.compaction`, event's shards).
        merge_request_ms: milliseconds that a request to S3 takes; a merge makes sixteen at once.
        planning_seconds: seconds before the first clip: listing, comparing, first nodes.
        head_dollars: price of the head an hour.
    """

    clips: float = 10e6
    megabytes: float = 1.0
    nodes: int = 8
    prefixes: int = 1
    decode_cpu_seconds: float = 0.15
    move_cpu_seconds: float = 0.042
    reached: float = 0.8
    driver_ms: float = 0.27
    ledger_ms: float = 0.12
    shard_clips: float = 256.0
    merge_mb_a_cpu_second: float = 35.0
    merge_request_ms: float = 30.0
    planning_seconds: float = 600.0
    head_dollars: float = 0.38


@dataclass(frozen=True)
class Result:
    """Hours and dollars of a job.

    Args:
        rates: clips a second of each thing that may limit, by name.
        hours: of extraction, merging and planning together.
        merge_hours: of merging alone.
        dollars: nodes, head and requests.
        request_dollars: requests alone.
    """

    rates: dict[str, float]
    hours: float
    merge_hours: float
    dollars: float
    request_dollars: float

    @property
    def limit(self) -> str:
        """Name of what limits."""
        return min(self.rates, key=lambda name: self.rates[name])


def calculate(node: Node, inputs: Inputs, *, fused: bool) -> Result:
    """Calculate a job on nodes of one kind.

    The slowest thing decides: decoding, transfer and kernels of different clips overlap.
    """
    rates = find_rates(node, inputs, fused=fused)
    extraction = inputs.clips / (inputs.reached * min(rates.values()))
    merging = calculate_merging(inputs, node.cpus * inputs.nodes)
    hours = (inputs.planning_seconds + extraction + merging) / 3600
    requests = calculate_requests(inputs)
    machines = hours * (inputs.nodes * node.dollars + inputs.head_dollars)
    return Result(rates, hours, merging / 3600, machines + requests, requests)


def find_rates(node: Node, inputs: Inputs, *, fused: bool) -> dict[str, float]:
    """Clips a second of each thing that may limit, over all nodes."""
    cpu_seconds = inputs.decode_cpu_seconds + inputs.move_cpu_seconds
    return {
        "GPUs": inputs.nodes * (node.clips_fused if fused else node.clips_today),
        "decoding": inputs.nodes * node.cpus / cpu_seconds,
        "network": inputs.nodes * node.gigabits * 1e3 / 8 / inputs.megabytes,
        "S3 requests": inputs.prefixes * GETS_A_SECOND,
        "driver": 1e3 / inputs.driver_ms,
        "ledger": 1e3 / inputs.ledger_ms,
    }


def count_shards(inputs: Inputs) -> float:
    """Number of shards that are merged, over all folders."""
    return FOLDERS * math.ceil(inputs.clips / inputs.shard_clips)


def calculate_merging(inputs: Inputs, tasks: int) -> float:
    """Seconds that merging takes in so many tasks: computing, and waiting for requests.

    No more tasks run at once than there are merges.
    """
    megabytes = inputs.clips * BYTES_A_CLIP / 1e6
    at_once = min(tasks, max(1.0, megabytes * 1e6 / MERGED_BYTES))
    waiting = count_shards(inputs) * (MERGE_GETS + 2 * MERGE_PUTS) * inputs.merge_request_ms / 1e3 / 16
    return (megabytes / inputs.merge_mb_a_cpu_second + waiting) / at_once


def calculate_requests(inputs: Inputs) -> float:
    """Dollars of all requests: a GET a clip, a PUT a shard, merging, and two LIST (as PUT) a thousand clips."""
    shards = count_shards(inputs)
    gets = inputs.clips + MERGE_GETS * shards
    puts = (1 + MERGE_PUTS) * shards + 2 * inputs.clips / 1e3
    return gets * GET_DOLLARS + puts * PUT_DOLLARS


def make_table(inputs: Inputs, nodes: Sequence[Node] = NODES) -> list[str]:
    """Lines of a table in Markdown: a row a kind of node, with today's kernels and with fused ones."""
    lines = [
        "| node | kernels | GPUs, clips/s | decoding, clips/s | limits | clips/s | hours | merging, hours | dollars |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for node in nodes:
        for fused in (False, True):
            result = calculate(node, inputs, fused=fused)
            gpus, decoding = result.rates["GPUs"], result.rates["decoding"]
            where = f"{inputs.nodes} x {node.name} | {'fused' if fused else 'today'} | {gpus:,.0f} | {decoding:,.0f}"
            cost = f"{result.hours:.1f} | {result.merge_hours:.2f} | {result.dollars:.0f}"
            lines.append(f"| {where} | {result.limit} | {inputs.reached * result.rates[result.limit]:,.0f} | {cost} |")
    return lines


def read_options(arguments: Sequence[str] | None = None) -> Inputs:
    """Read inputs off a command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for field in fields(Inputs):
        kind: Callable[[str], float] = int if isinstance(field.default, int) else float
        parser.add_argument(f"--{field.name.replace('_', '-')}", type=kind, default=field.default)
    return replace(Inputs(), **vars(parser.parse_args(arguments)))


def main() -> None:
    inputs = read_options()
    print(", ".join(f"{field.name} {getattr(inputs, field.name):g}" for field in fields(inputs)))
    print("\n".join(make_table(inputs)))
    print(f"requests: {calculate_requests(inputs):.0f} dollars; {count_shards(inputs):,.0f} shards are merged")


if __name__ == "__main__":
    main()
