"""Scores over time: every clip's sliding windows through the bundle's tiers, as if each were a clip."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from m3ray.config import ComputeConfig, DecodeConfig, LimitsConfig, MomentConfig, TierConfigs, fingerprint
from m3ray.console import say
from m3ray.datasets.catalogue import learned
from m3ray.datasets.clip_contents import stamps_of
from m3ray.errors import DecodeError
from m3ray.pipelines.extraction import dataflow as extraction
from m3ray.pipelines.extraction import planning
from m3ray.pipelines.extraction.changes import drop_stale
from m3ray.pipelines.extraction.decode_stage import shared_decoder
from m3ray.pipelines.extraction.patience import patience
from m3ray.pipelines.extraction.records import WORK, Decoded, decoded_table, failure_of, work_rows
from m3ray.pipelines.extraction.versions import check_versions, check_worker
from m3ray.pipelines.runtime.cluster import Resources
from m3ray.pipelines.runtime.worker_entry import enter_worker
from m3ray.schema import CATALOGUE_FILE, CONTENT
from m3ray.storage.root import Root
from m3ray.storage.tier_index import rejected_ids, tier_table
from m3ray.storage.versions import software
from m3ray.tiers import Tier
from m3ray.video.sampling import DECODING
from m3ray.video.sliding_windows import moments, rate_of, starts


@dataclass(frozen=True)
class MomentStage:
    """Turns clips into their moments, one table each, so that memory holds one at a time.

    Args:
        decode: rate, size and window.
        limits: what a clip may cost.
        config: length and step of the moments.
        ledger: of `strikes`, as in `DecodeStage`.
    """

    decode: DecodeConfig
    limits: LimitsConfig
    config: MomentConfig
    ledger: Any = None
    software: Mapping[str, str] = field(default_factory=software)  # of the job: a stage is made there, and travels

    def __call__(self, batch: pa.Table) -> Iterator[pa.Table]:
        enter_worker()
        check_worker(self.software)
        for row in work_rows(batch):
            yield from (decoded_table([moment]) for moment in self._moments(row))

    def _moments(self, row: Decoded) -> Iterator[Decoded]:
        begun = time.perf_counter()
        try:
            data = patience(self.limits, self.ledger).read(row.uri, self.limits.max_bytes)
            windows = shared_decoder(self.decode, self.limits).windows(data)
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
    *,
    mix: bool = False,
    stall_minutes: float = 0.0,
) -> Root:
    """The moments' features, computed where they lack; returns the room that holds them.

    Args:
        room: has the clips' catalogue, with what decoding learned of each.
        mix: whether moments that were computed with other software may stand beside them.
        stall_minutes: as `extract.run` takes it.
    """
    there = room.below(f"moments-{fingerprint(config, configs.decode, DECODING)}")
    clips = _clips(room, configs.decode, config)
    plan = planning.plan(there, pa.table({"clip_id": [], "uri": []}), tiers, configs, retry=False)
    for folder in plan.folders.values():
        drop_stale(there, folder, pa.table({name: clips[name] for name in ("clip_id", CONTENT)}), prefix=r"^\d+@")
    expected = dict(zip(clips["clip_id"].to_pylist(), clips["moments"].to_pylist(), strict=True))
    done = _done(there, plan, expected)
    lacking = clips.filter(pa.array([done[clip] < count for clip, count in expected.items()], pa.bool_()))
    work = [{**row, "tiers": [tier.name for tier in tiers]} for row in lacking.to_pylist()]
    plan = replace(plan, work=pa.Table.from_pylist(work, schema=WORK))
    check_versions(plan, compute, on, mix=mix)
    say(f"over time: {sum(expected.values())} windows of {config.window:g} s of {len(expected)} clips")
    stage = partial(MomentStage, configs.decode, limits, config)
    left = sum(expected.values()) - sum(done.values())
    extraction.run(plan, configs, limits, compute, on, decode=stage, total=left, stall_minutes=stall_minutes)
    # What is scored is what the catalogue names: moments of the clips that were asked for.
    ids = sorted(name for name in there.ids(*plan.folders["facts"]).to_pylist() if name.partition("@")[2] in expected)
    there.write_table(pa.table({"clip_id": pa.array(ids, pa.string())}), CATALOGUE_FILE)
    return there


def _clips(room: Root, decode: DecodeConfig, config: MomentConfig) -> pa.Table:
    """The decoded clips of a room: `clip_id, uri, content`, and how many `moments` each has."""
    catalogue = room.read_table(CATALOGUE_FILE)
    columns = {"clip_id": catalogue["clip_id"], "uri": catalogue["uri"], CONTENT: stamps_of(room, catalogue)}
    facts = {name: learned(catalogue, name) for name in ("frames", "sampled", "native_fps")}
    found = []
    for row in pa.table({**columns, **facts}).to_pylist():
        if row["sampled"]:
            rate = rate_of(row["native_fps"], decode.fps, each_once=row["sampled"] == row["frames"])
            found.append(
                {**{name: row[name] for name in columns}, "moments": len(starts(row["sampled"], rate, config))}
            )
    kinds = {"clip_id": pa.string(), "uri": pa.string(), CONTENT: pa.large_string(), "moments": pa.int64()}
    return pa.Table.from_pylist(found, schema=pa.schema(kinds))


def _done(there: Root, plan: planning.Plan, expected: Mapping[str, int]) -> Mapping[str, int]:
    """How many moments of each clip stand in every tier or among the rejects."""
    have = set.intersection(*(set(there.ids(*plan.folders[tier.name]).to_pylist()) for tier in plan.tiers))
    done: dict[str, int] = defaultdict(int)
    for name in have | set(rejected_ids(there, settled=True).to_pylist()):
        start, _, clip = name.partition("@")
        if start.isdigit() and clip in expected:  # a clip that could not be decoded was rejected under its own id
            done[clip] += 1
    return done


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
