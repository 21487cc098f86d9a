"""Scores over time: every clip's sliding windows through the bundle's tiers, as if each were a clip."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import pyarrow as pa

from m3ray.config import ComputeConfig, DecodeConfig, LimitsConfig, MomentConfig, TierConfigs, fingerprint
from m3ray.data.catalogue import learned
from m3ray.data.moments import moments, rate_of, starts
from m3ray.data.reading import read_video
from m3ray.data.rooms import rejected_ids, tier_table
from m3ray.data.sampling import DECODING
from m3ray.data.store import Root
from m3ray.errors import DecodeError
from m3ray.pipelines import extract as extraction
from m3ray.pipelines import planning
from m3ray.pipelines.cluster import Resources
from m3ray.pipelines.decoding import shared_decoder
from m3ray.pipelines.progress import say
from m3ray.pipelines.rows import WORK, Decoded, decoded_table, failure_of, work_rows
from m3ray.tiers import Tier


@dataclass(frozen=True)
class MomentStage:
    """Turns clips into their moments, one table each, so that memory holds one at a time.

    Args:
        decode: rate, size and window.
        limits: what a clip may cost.
        config: length and step of the moments.
    """

    decode: DecodeConfig
    limits: LimitsConfig
    config: MomentConfig

    def __call__(self, batch: pa.Table) -> Iterator[pa.Table]:
        for row in work_rows(batch):
            yield from (decoded_table([moment]) for moment in self._moments(row))

    def _moments(self, row: Decoded) -> Iterator[Decoded]:
        begun = time.perf_counter()
        try:
            windows = shared_decoder(self.decode, self.limits).windows(read_video(row.uri, self.limits.max_bytes))
            for moment in moments(windows, self.decode.fps, self.config):
                seconds = time.perf_counter() - begun
                name = moment_id(row.clip_id, moment.start)
                yield replace(
                    row, clip_id=name, facts=moment.facts, frames=np.ascontiguousarray(moment.frames), seconds=seconds
                )
                begun = time.perf_counter()
        except DecodeError as error:
            yield replace(row, failure=failure_of(error, error.stage), seconds=time.perf_counter() - begun)


def moment_id(clip_id: str, start: int) -> str:
    """The number first: whatever characters a clip's id has, it can be taken apart again."""
    return f"{start}@{clip_id}"


def compute_moments(
    room: Root,
    tiers: list[Tier],
    configs: TierConfigs,
    limits: LimitsConfig,
    compute: ComputeConfig,
    config: MomentConfig,
    on: Resources,
) -> Root:
    """The moments' features, computed where they lack; returns the room that holds them.

    Args:
        room: has the clips' catalogue, with what decoding learned of each.
    """
    there = Root(room.display(f"moments-{fingerprint(config, configs.decode, DECODING)}"))
    catalogue, expected = room.read_table("catalogue.parquet"), {}
    facts = {name: learned(catalogue, name) for name in ("frames", "sampled", "native_fps")}
    for row in pa.table({"clip_id": catalogue["clip_id"], "uri": catalogue["uri"], **facts}).to_pylist():
        if row["sampled"]:
            rate = rate_of(row["native_fps"], configs.decode.fps, each_once=row["sampled"] == row["frames"])
            expected[row["clip_id"], row["uri"]] = len(starts(row["sampled"], rate, config))
    plan = planning.plan(there, pa.table({"clip_id": [], "uri": []}), tiers, configs, retry=False)
    have = set.intersection(*(set(there.ids(*plan.folders[tier.name]).to_pylist()) for tier in tiers))
    have |= set(rejected_ids(there).to_pylist())
    done: dict[str, int] = defaultdict(int)
    for name in have:
        start, _, clip = name.partition("@")
        if start.isdigit():  # a clip that could not be decoded was rejected under its own id
            done[clip] += 1
    names = [tier.name for tier in tiers]
    work = [
        {"clip_id": clip, "uri": uri, "tiers": names} for (clip, uri), count in expected.items() if done[clip] < count
    ]
    plan = replace(plan, work=pa.Table.from_pylist(work, schema=WORK))
    say(f"over time: {sum(expected.values())} windows of {config.window:g} s of {len(expected)} clips")
    stage = MomentStage(configs.decode, limits, config)
    extraction.run(plan, configs, limits, compute, on, decode=stage, total=sum(expected.values()) - sum(done.values()))
    return there


def curves(there: Root, fps: float, scores: pd.DataFrame) -> pd.DataFrame:
    """From scores of moments to a row a clip: `clip_id`, `times` (middles of the windows, s), `curve`.

    Args:
        there: the moments' room.
        fps: that were asked for.
        scores: `clip_id`, `score` of the moments.
    """
    facts = tier_table(there, "facts").to_pandas().set_index("clip_id")
    parts = scores["clip_id"].str.partition("@")
    rate = np.minimum(facts.loc[scores["clip_id"], "native_fps"].to_numpy(), fps)
    length = facts.loc[scores["clip_id"], "sampled"].to_numpy()
    frame = pd.DataFrame({"clip_id": parts[2], "score": scores["score"]})
    frame["seconds"] = (parts[0].astype(int).to_numpy() + length / 2) / rate
    groups = frame.sort_values("seconds").groupby("clip_id")
    return groups.agg(times=("seconds", list), curve=("score", list)).reset_index()
