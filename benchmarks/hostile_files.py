"""Hostile files: extract those of the tests in one job; outcome, time, memory, and network connections.

python benchmarks/hostile_files.py
"""

from __future__ import annotations

import os
import platform
import sys
import tempfile
import time
from collections import Counter
from datetime import date
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from hostile import canary, make_corpus, watched_children

from m3ray.config import LimitsConfig
from m3ray.config.options import ExtractOptions
from m3ray.pipelines import jobs
from m3ray.storage.rejects import REJECTS_FOLDER
from m3ray.storage.root import Root

LIMITS = LimitsConfig(memory_mb=2048, decode_seconds=10, max_seconds=600)


def main() -> None:
    with tempfile.TemporaryDirectory() as folder, canary() as (address, visitors), watched_children() as peak:
        clips, _ = make_corpus(Path(folder, "videos"), address)
        out = Root(os.path.join(folder, "out"))
        options = ExtractOptions(
            out=out.uri,
            dataset="folder",
            root=os.path.join(folder, "videos"),
            tiers=("raw",),
            fps=5,
            limits=LIMITS,
            max_rejects="100%",
        )
        start = time.perf_counter()
        jobs.extract(options)
        seconds = time.perf_counter() - start
        rejects = out.read_shards(*REJECTS_FOLDER)
        assert rejects is not None
        reasons = Counter(rejects["error"].to_pylist())
    print(f"\n{platform.machine()}, {os.cpu_count()} CPUs, {date.today()}; Ray's start included")
    print("| files | with features | rejected | seconds (goal 60) | decoder's memory, MiB (limit) | connections |")
    print("|---|---|---|---|---|---|")
    rejected = sum(reasons.values())
    print(f"| {clips} | {clips - rejected} | {rejected} | {seconds:.0f} | {peak[0]:.0f} (2048) | {len(visitors)} |")
    print("reasons: " + ", ".join(f"{reason} {count}" for reason, count in reasons.most_common()))


if __name__ == "__main__":
    main()
