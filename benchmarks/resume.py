"""A finished root of a million clips, and the same job once more: time, memory of the driver, and the plan alone.

The peer of the plan is what one would write first: Python sets of ids.

    python benchmarks/resume.py [--clips 1000000]
"""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pyarrow as pa
import pyarrow.parquet as pq
from chaos import make_videos

from m3ray.data.catalogue import read_catalogue
from m3ray.data.rooms import current_tiers
from m3ray.data.store import Root
from m3ray.options import ExtractOptions
from m3ray.pipelines import jobs
from m3ray.schema import FACTS, RAW

TOP = Path(__file__).parents[1]
SHARD = 50_000


def finished_root(folder: Path, clips: int) -> tuple[Root, Path]:
    """A root in which two clips were computed and the others are made up, and the table that lists them all."""
    videos = make_videos(folder / "videos", 2)
    real = [{"clip_id": path.name, "uri": str(path)} for path in sorted(videos.iterdir())]
    small, table = folder / "small.parquet", folder / "clips.parquet"
    pq.write_table(pa.Table.from_pylist(real), small)
    out = Root(str(folder / "out"))
    options = ExtractOptions(out=out.uri, dataset="table", root=str(small), tiers=("raw",))
    jobs.extract(options)
    ids = pa.array([f"clip-{k:08d}" for k in range(clips)])
    pq.write_table(
        pa.concat_tables(
            [
                pa.Table.from_pylist(real),
                pa.table({"clip_id": ids, "uri": pa.array([f"/videos/{k:08d}.mp4" for k in range(clips)])}),
            ]
        ),
        table,
    )
    current = current_tiers(out)
    for tier, schema in (("raw", RAW), ("facts", FACTS)):
        folder_of = ("features", current[tier]["folder"])
        metadata = out.shard_metadata(*folder_of)
        for start in range(0, clips, SHARD):
            out.write_shard(made_up(schema, ids[start : start + SHARD]), folder_of, metadata)
    return out, table


def made_up(schema: pa.Schema, ids: pa.Array) -> pa.Table:
    columns = [ids]
    for field in list(schema)[1:]:
        if pa.types.is_fixed_size_list(field.type):
            width = field.type.list_size
            values = pa.array(np.zeros(len(ids) * width, np.float32))
            columns.append(pa.FixedSizeListArray.from_arrays(values, type=field.type))
        elif pa.types.is_string(field.type):
            columns.append(pa.array(["mov"] * len(ids)))
        else:
            columns.append(pa.array(np.ones(len(ids)), field.type))
    return pa.Table.from_arrays(columns, schema=schema)


def resume(out: Root, table: Path) -> tuple[float, float]:
    """Wall seconds of the whole job, its start included, and peak memory of its driver, MiB."""
    command = [sys.executable, "jobs/extract.py", "--dataset", "table", "--root", str(table), "--out", out.uri]
    command += ["--dataset-moved"]  # the second table is the first one, grown
    begun, peak = time.perf_counter(), 0.0
    with tempfile.TemporaryFile() as log:
        job = subprocess.Popen([*command, "--tiers", "raw"], cwd=TOP, stdout=log)
        driver = psutil.Process(job.pid)
        while job.poll() is None:
            try:
                peak = max(peak, driver.memory_info().rss / 2**20)
            except psutil.Error:
                break
            time.sleep(0.1)
        took = time.perf_counter() - begun
        log.seek(0)
        text = log.read().decode()
    if job.wait() or "nothing to compute" not in text:
        raise SystemExit(f"the root was not finished:\n{text[-2000:]}")
    return took, peak


def timed(call: Callable[[], Any]) -> float:
    begun = time.perf_counter()
    call()
    return time.perf_counter() - begun


def columns_join(out: Root) -> int:
    """The plan's own steps: ids of catalogue and shards, and what is in one and not in the other."""
    import pyarrow.compute as pc

    ids = read_catalogue(out)["clip_id"]
    done = out.ids("features", current_tiers(out)["raw"]["folder"])
    return pc.sum(pc.invert(pc.is_in(ids, value_set=done))).as_py()


def set_join(out: Root) -> int:
    ids = read_catalogue(out)["clip_id"].to_pylist()
    done = set(out.ids("features", current_tiers(out)["raw"]["folder"]).to_pylist())
    return sum(name not in done for name in ids)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--clips", type=int, default=1_000_000)
    clips = parser.parse_args().clips
    with tempfile.TemporaryDirectory() as folder:
        out, table = finished_root(Path(folder), clips)
        compact_first, _ = resume(out, table)
        took, peak = resume(out, table)
        ours, sets = timed(lambda: columns_join(out)), timed(lambda: set_join(out))
    print(f"\n{platform.machine()}, {os.cpu_count()} CPUs, {date.today()}; local disk, one tier")
    print("| clips | first resume, s | resume, s (goal 60) | driver, MiB (goal 2048) | join, s | Python sets, s |")
    print("|---|---|---|---|---|---|")
    print(f"| {clips:,} | {compact_first:.0f} | {took:.0f} | {peak:.0f} | {ours:.2f} | {sets:.2f} |")


if __name__ == "__main__":
    main()
