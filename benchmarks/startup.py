"""Waiting: seconds to a job's first line and to the end of its --help, and of m3ray.load, each in a fresh process.

python benchmarks/startup.py [--bundle BUNDLE]

All in one run, the median of three, beside what Python and PyTorch alone take.
"""

from __future__ import annotations

import argparse
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path

TOP = Path(__file__).parents[1]
RUNS = 3
# What a job must be given besides --out; a request that is rejected after its first line serves as well.
NEEDED = {"evaluate": ["--bundles", "b", "--roots", "r"], "predict": ["--root", "videos"]}


def run_to_the_end(*arguments: str) -> float:
    start = time.perf_counter()
    subprocess.run([sys.executable, *arguments], cwd=TOP, stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - start


def run_to_the_first_line(*arguments: str) -> float:
    start = time.perf_counter()
    command = [sys.executable, *arguments]
    with subprocess.Popen(command, cwd=TOP, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        seconds = time.perf_counter() - start
        process.kill()
    assert b": starting: " in line, line
    return seconds


def median_of(measure: Callable[[], float]) -> float:
    return statistics.median(measure() for _ in range(RUNS))


def print_processes(bundle: str | None) -> None:
    print("| a fresh process, s | median |\n|---|---|")
    codes = {"python -c pass": "pass", "import torch": "import torch"}
    if bundle is not None:
        codes |= {
            "importing what m3ray.load needs": "import m3ray.scoring.scorer",
            "m3ray.load, imports and all": f"import m3ray; m3ray.load({bundle!r}).close()",
        }
    found = {name: median_of(lambda code=code: run_to_the_end("-c", code)) for name, code in codes.items()}  # type: ignore[misc]
    for name, seconds in found.items():
        print(f"| {name} | {seconds:.2f} |")
    if bundle is not None:
        print(f"\nm3ray.load: {found['m3ray.load, imports and all'] / found['import torch']:.2f} times `import torch`")


def print_jobs() -> None:
    print("\n| job | first line, s | --help, s |\n|---|---|---|")
    for job in sorted((TOP / "jobs").glob("*.py")):
        with tempfile.TemporaryDirectory() as folder:
            arguments = [str(job), "--out", f"{folder}/o", "--dry-run", *NEEDED.get(job.stem, [])]
            first = median_of(lambda arguments=arguments: run_to_the_first_line(*arguments))  # type: ignore[misc]
        answered = median_of(lambda job=job: run_to_the_end(str(job), "--help"))  # type: ignore[misc]
        print(f"| {job.stem} | {first:.2f} | {answered:.2f} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bundle", help="a bundle's folder; without it m3ray.load is left out")
    args = parser.parse_args()
    print(f"{platform.machine()}, {date.today()}; the median of {RUNS}, page cache warm\n")
    run_to_the_end("-c", "import m3ray.scoring.scorer")
    print_processes(args.bundle)
    print_jobs()


if __name__ == "__main__":
    main()
