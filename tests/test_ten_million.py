"""benchmarks/ten_million.py: its arithmetic, with numbers that can be reckoned in the head."""

import pytest
from ten_million import NODES, Inputs, Node, calculate, calculate_merging, calculate_requests, find_rates, make_table

# A hundred clips/s of the GPU, and 10 CPUs that decode a clip in a second each.
NODE = Node("any", cpus=10, dollars=2.0, clips_today=100.0, clips_fused=400.0, gigabits=8.0)
PLAIN = Inputs(
    clips=3.6e6,
    nodes=10,
    reached=1.0,
    decode_cpu_seconds=0.04,
    move_cpu_seconds=0.01,
    driver_ms=0.1,
    ledger_ms=0.1,
    planning_seconds=0.0,
    head_dollars=1.0,
)


def test_the_slowest_thing_limits():
    rates = find_rates(NODE, PLAIN, fused=False)
    assert rates == pytest.approx(
        {
            "GPUs": 1000,  # 10 nodes of 100
            "decoding": 2000,  # 100 CPUs, 0.05 s a clip
            "network": 10_000,  # 10 nodes of 1,000 MB/s, a clip of 1 MB
            "S3 requests": 5500,  # one prefix
            "driver": 10_000,  # 1 s in 0.1 ms
            "ledger": 10_000,
        }
    )
    assert calculate(NODE, PLAIN, fused=False).limit == "GPUs"
    assert calculate(NODE, PLAIN, fused=True).limit == "decoding"
    few = Inputs(**{**vars(PLAIN), "nodes": 100})
    assert calculate(NODE, few, fused=True).limit == "S3 requests"
    spread = Inputs(**{**vars(few), "prefixes": 8, "driver_ms": 0.5})
    assert calculate(NODE, spread, fused=True).limit == "driver"


def test_hours_and_dollars():
    """3.6 million clips at 1,000 a second are an hour, of ten nodes at 2 dollars and a head at 1."""
    result = calculate(NODE, PLAIN, fused=False)
    assert result.hours == pytest.approx(1.0 + result.merge_hours)
    assert result.dollars == pytest.approx(result.hours * 21 + result.request_dollars)
    half = calculate(NODE, Inputs(**{**vars(PLAIN), "reached": 0.5}), fused=False)
    assert half.hours == pytest.approx(result.hours + 1)
    later = calculate(NODE, Inputs(**{**vars(PLAIN), "planning_seconds": 1800.0}), fused=False)
    assert later.hours == pytest.approx(result.hours + 0.5)


def test_requests_cost_what_s3_asks():
    """A million clips in shards of 1,000: 4,000 shards in four folders."""
    inputs = Inputs(clips=1e6, shard_clips=1000.0)
    gets = 1e6 + 7 * 4000  # one a clip; seven a merged shard
    puts = 2 * 4000 + 2000  # one a shard, one of its deletion; two listings a thousand clips
    assert calculate_requests(inputs) == pytest.approx(gets * 0.4e-6 + puts * 5e-6)


def test_merging_is_shared_by_no_more_tasks_than_there_are_merges():
    inputs = Inputs(clips=1e6, merge_mb_a_cpu_second=10.0, merge_request_ms=0.0)
    alone = calculate_merging(inputs, 1)
    assert alone == pytest.approx(1130)  # 11.3 GB at 10 MB/s
    assert calculate_merging(inputs, 10) == pytest.approx(113)
    merges = 11.3e9 / 2**27  # of 128 MiB
    assert calculate_merging(inputs, 1000) == pytest.approx(1130 / merges)


def test_the_table_has_each_node_with_both_kinds_of_kernels():
    lines = make_table(Inputs())
    assert len(lines) == 2 + 2 * len(NODES)
    assert len({line.count("|") for line in lines}) == 1
