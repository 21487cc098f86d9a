"""Scoring without a cluster: start-up of a fresh process, then the time of a video of about 3 s.

python benchmarks/scoring.py BUNDLE VIDEO
"""

from __future__ import annotations

import argparse
import platform
import sys
import time
from datetime import date


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("bundle")
    parser.add_argument("video")
    args = parser.parse_args()
    start = time.perf_counter()
    import m3ray

    libraries = time.perf_counter()
    scorer = m3ray.load(args.bundle)
    loaded = time.perf_counter()
    scorer.predict([args.video])
    first = time.perf_counter()
    scorer.predict([args.video])
    second = time.perf_counter()
    assert "ray" not in sys.modules
    print(f"{platform.machine()}, {date.today()}")
    print("| importing libraries, s | m3ray.load after that, s | first video, s | next video, s |\n|---|---|---|---|")
    times = (libraries - start, loaded - libraries, first - loaded, second - first)
    print("| " + " | ".join(f"{value:.2f}" for value in times) + " |")
    scorer.close()


if __name__ == "__main__":
    main()
