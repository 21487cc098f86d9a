"""Resume: run a job again on a finished root of a million clips; time, memory of the driver, and the plan alone.

Every clip is a file, so that the job looks at each one's content and compares it with what its row was computed from;
after the last run some of them are changed, and the plan must name just these. The plan is compared with the
obvious way, Python sets of ids, which notice no change.

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

from m3ray.config.options import ExtractOptions
from m3ray.datasets.catalogue import write_catalogue
from m3ray.datasets.clip_contents import clip_stamps
from m3ray.datasets.table import read_table
from m3ray.pipelines import jobs
from m3ray.pipelines.extraction.clip_comparison import compare_with_folder
from m3ray.schema import CONTENT, RAW, VIDEO_METADATA
from m3ray.storage.catalogue_file import read_catalogue
from m3ray.storage.contents import find_contents, make_stamps
from m3ray.storage.dataset_folders import DatasetOrigin
from m3ray.storage.root import Root
from m3ray.storage.shard_stamps import read_stamps
from m3ray.storage.tier_index import read_tier_index

TOP = Path(__file__).parents[1]
SHARD = 50_000


def make_finished_root(folder: Path, clips: int) -> tuple[Root, Path]:
    """Make a root in which two clips were computed and the others are made up; the root and the table of its clips."""
    videos = make_videos(folder / "videos", 2)
    real = [{"clip_id": path.name, "uri": str(path)} for path in sorted(videos.iterdir())]
    small, table = folder / "small.parquet", folder / "clips.parquet"
    pq.write_table(pa.Table.from_pylist(real), small)
    out = Root(str(folder / "out"))
    options = ExtractOptions(out=out.uri, dataset="table", root=str(small), tiers=("raw",))
    jobs.extract(options)
    ids, uris = pa.array([f"clip-{k:08d}" for k in range(clips)]), make_files(folder / "files", clips)
    pq.write_table(pa.concat_tables([pa.Table.from_pylist(real), pa.table({"clip_id": ids, "uri": uris})]), table)
    stamps = make_stamps(
        find_contents(pa.chunked_array([uris]), out.uri), pa.chunked_array([uris]), out.uri
    ).combine_chunks()
    current = read_tier_index(out)
    for tier, schema in (("raw", RAW), ("facts", VIDEO_METADATA)):
        folder_of = current[tier].path
        metadata = out.read_shard_metadata(*folder_of)
        for start in range(0, clips, SHARD):
            rows = make_rows(schema, ids[start : start + SHARD])
            rows = rows.append_column(CONTENT, stamps[start : start + SHARD].cast(pa.string()))
            out.write_shard(rows, folder_of, metadata)
    return out, table


def make_files(folder: Path, count: int) -> pa.Array:
    """Write so many small files, a thousand a folder; their paths."""
    paths = [f"{folder}/{k // 1000:04d}/{k:08d}.mp4" for k in range(count)]
    for k in range(0, count, 1000):
        os.makedirs(os.path.dirname(paths[k]))
        for path in paths[k : k + 1000]:
            with open(path, "wb") as file:
                file.write(b"no video")
    return pa.array(paths)


def make_rows(schema: pa.Schema, ids: pa.Array) -> pa.Table:
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
    """Run the job again: its wall seconds, start included, and the peak memory of its driver, MiB."""
    command = [sys.executable, "jobs/extract.py", "--dataset", "table", "--root", str(table), "--out", out.uri]
    command += ["--dataset-moved"]  # the second table is the first one, grown
    start, peak = time.perf_counter(), 0.0
    with tempfile.TemporaryFile() as log:
        job = subprocess.Popen([*command, "--tiers", "raw"], cwd=TOP, stdout=log)
        driver = psutil.Process(job.pid)
        while job.poll() is None:
            try:
                peak = max(peak, driver.memory_info().rss / 2**20)
            except psutil.Error:
                break
            time.sleep(0.1)
        seconds = time.perf_counter() - start
        log.seek(0)
        text = log.read().decode()
    if job.wait() or "nothing to compute" not in text:
        raise SystemExit(f"the root was not finished:\n{text[-2000:]}")
    return seconds, peak


def measure_seconds(call: Callable[[], Any]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def count_missing(out: Root) -> int:
    """Count the clips without an up-to-date row, as the plan does: read catalogue and shards, and compare them."""
    catalogue = read_catalogue(out)
    now = pa.table({"clip_id": catalogue["clip_id"], CONTENT: clip_stamps(out, catalogue)})
    rows = read_stamps(out, *read_tier_index(out)["raw"].path)
    return int((~compare_with_folder(now, rows, np.ones(now.num_rows, bool)).done).sum())


def count_changed(out: Root, table: Path, count: int) -> int:
    """Change so many files, keeping their sizes, and count those that a listing and a comparison notice."""
    paths = pq.read_table(table)["uri"].to_pylist()[-count:]
    for path in paths:
        Path(path).write_bytes(b"another!")
    write_catalogue(out, read_table(str(table)).table, 0, origin=DatasetOrigin((str(table),)))
    return count_missing(out)


def count_missing_with_sets(out: Root) -> int:
    ids = read_catalogue(out)["clip_id"].to_pylist()
    done = set(out.read_ids(*read_tier_index(out)["raw"].path).to_pylist())
    return sum(name not in done for name in ids)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--clips", type=int, default=1_000_000)
    clips = parser.parse_args().clips
    with tempfile.TemporaryDirectory() as folder:
        out, table = make_finished_root(Path(folder), clips)
        compact_first, _ = resume(out, table)
        seconds, peak = resume(out, table)
        ours, sets = measure_seconds(lambda: count_missing(out)), measure_seconds(lambda: count_missing_with_sets(out))
        noticed = count_changed(out, table, min(1000, clips))
    print(f"\n{platform.machine()}, {os.cpu_count()} CPUs, {date.today()}; local disk, one tier")
    print(
        "| clips | first resume, s | resume, s (goal 60) | driver, MiB (goal 2048) | comparison, s | Python sets, s | "
        "of 1,000 changed files, noticed |"
    )
    print("|---|---|---|---|---|---|---|")
    print(f"| {clips:,} | {compact_first:.0f} | {seconds:.0f} | {peak:.0f} | {ours:.2f} | {sets:.2f} | {noticed:,} |")


if __name__ == "__main__":
    main()
