"""Scoring without a cluster: start-up of a fresh process, then the time of a video of about 3 s.

python benchmarks/scoring.py BUNDLE VIDEO [--clips 8]

BUNDLE is a folder, or the name of a pretrained scorer (resmem). The first table is of this one process; the second one
divides the time of each further clip into reading, decoding and the tiers.
"""

from __future__ import annotations

import argparse
import platform
import sys
import time
from datetime import date
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from m3ray.scoring.scorer import Scorer


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("bundle")
    parser.add_argument("video")
    parser.add_argument("--clips", type=int, default=8)
    args = parser.parse_args()
    start = time.perf_counter()
    import torch

    torch_there = time.perf_counter()
    import m3ray.scoring.scorer

    libraries = time.perf_counter()
    scorer = m3ray.load(args.bundle)
    loaded = time.perf_counter()
    scorer.predict([args.video], on_error="raise")
    first = time.perf_counter()
    assert "ray" not in sys.modules
    print(f"{platform.machine()}, {torch.get_num_threads()} threads, {date.today()}: {scorer!r}")
    print(
        "| importing torch, s | other libraries, s | loading, s | first video, s | in all, s |\n|---|---|---|---|---|"
    )
    times = (torch_there - start, libraries - torch_there, loaded - libraries, first - loaded, first - start)
    print("| " + " | ".join(f"{value:.2f}" for value in times) + " |")
    measure_clips(scorer, args.video, args.clips)
    scorer.close()


def measure_clips(scorer: Scorer, video: str, clips: int) -> None:
    """Print what a further clip takes, in all and by step."""
    import numpy as np

    table = scorer.predict([video] * clips, progress=False)
    with open(video, "rb") as file:
        data = file.read()
    decoding = []
    for _ in range(clips):
        begun = time.perf_counter()
        windows = [window.copy() for _, window in scorer.decoder.windows(data)]
        decoding.append(time.perf_counter() - begun)
    frames = np.concatenate(windows)
    tiers = scorer.predict([frames] * clips, progress=False)["seconds"]
    print(f"\n| clips | a clip, s (median) | decoding {len(frames)} frames, s | tiers, s |\n|---|---|---|---|")
    values = (table["seconds"].median(), float(np.median(decoding)), tiers.median())
    print(f"| {clips} | " + " | ".join(f"{value:.3f}" for value in values) + " |")


if __name__ == "__main__":
    main()
