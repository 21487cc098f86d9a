"""Published annotations: time to read and check every row, against pandas reading the same files unchecked.

python benchmarks/listing.py [--rows 10000] [--rounds 5]
"""

from __future__ import annotations

import argparse
import platform
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import date
from functools import partial
from pathlib import Path

import pandas as pd

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from published import memento_csv, memento_json, videomem_csv

from m3ray.datasets.registry import list_clips
from m3ray.storage.root import Root


def make_datasets(folder: Path, rows: int) -> dict[str, tuple[str, Path]]:
    """Write the annotations of each published form; its name to its data set and folder."""
    memento_json(folder / "json", (("train", rows * 7 // 10), ("val", rows * 3 // 20), ("test", rows * 3 // 20)))
    memento_csv(folder / "csv", rows * 17 // 20, rows * 3 // 20)
    (folder / "videomem").mkdir()
    videomem_csv(folder / "videomem", rows)
    return {
        "memento10k-json": ("memento10k", folder / "json"),
        "memento10k-csv": ("memento10k", folder / "csv"),
        "videomem": ("videomem", folder / "videomem"),
    }


def read_unchecked(folder: Path) -> None:
    for path in sorted(folder.rglob("*.*")):
        if path.suffix == ".json":
            pd.read_json(path)
        elif path.suffix == ".csv":
            pd.read_csv(path)


def measure_seconds(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    print(f"{date.today()}, {platform.machine()} {platform.processor()}, {args.rows} rows, best of {args.rounds}")
    with tempfile.TemporaryDirectory() as folder:
        for name, (dataset, source) in make_datasets(Path(folder), args.rows).items():
            root = Root(f"{folder}/root")
            ours, theirs = (
                min(measure_seconds(call) for _ in range(args.rounds))
                for call in (
                    partial(list_clips, root, dataset, str(source), limit=None, seed=0),
                    partial(read_unchecked, source),
                )
            )
            print(f"{name:<16} ours {ours:.3f} s, pandas unchecked {theirs:.3f} s: {ours / theirs:.1f} times")


if __name__ == "__main__":
    main()
