"""Whether any baseline beats the bundle on the public sets of memorability, read as they are given out.

Nothing is downloaded: each option names a folder or file that you have, docs/real-data.md where it comes from and under
which terms. Each set is read by m3ray's own lister, split as m3ray splits it, and seen as captions by the tier
`captions`, or by its labels where it has no captions; with `--features NAME=ROOT` as all tiers of a root. On the same
split and numbers stand scikit-learn's peers (benchmarks/tabular_peers.py), tuned on train, and ours
(benchmarks/tabular_ours.py), what `train.py` makes, without Ray. Only val judges.

    python benchmarks/real_data.py --memento data/memento/ --videomem data/videomem/ --memcat data/memcat/
    python benchmarks/real_data.py --lamem data/lamem/ --features lamem=lamem-root
    python benchmarks/real_data.py --table mine=clips.csv --splits 5

`--texts vaderSentiment-3.3.2.tar.gz` adds sentences that are real under scores that are not memorability
(benchmarks/real_data_texts.py), for trying it where there is no public set.
"""

from __future__ import annotations

import argparse
import platform
import sys
import tempfile
from collections.abc import Sequence
from datetime import date
from pathlib import Path

import numpy as np
import torch
from real_data_sets import PUBLISHED, SetOfClips, list_wanted, load_set
from real_data_texts import write_texts
from tabular import CORES, Medians, Result, run_ours, run_peers
from tabular_ours import BUNDLE, OURS
from tabular_peers import PEERS

from m3ray.errors import M3RayError

BEHIND = 0.003
MODELS = [name for name in (*PEERS, *OURS) if name != "constant"]


def run_set(wanted: SetOfClips, splits: int, runs: int, done: list[Result]) -> tuple[str, str]:
    """Run all models on a set; give its size and its ceiling in words."""
    size = ceiling = ""
    for split in range(1 if wanted.has_own_split else splits):
        loaded = load_set(wanted, split)
        data, size, ceiling = loaded.data, loaded.describe(), loaded.ceiling
        done += run_peers(wanted.name, split, data)
        done += run_ours(wanted.name, split, data, runs)
    return size, ceiling


def show_set(medians: Medians, name: str, size: str, ceiling: str) -> list[str]:
    """Lines of one set: what it is, every model's correlation, error and time, what was published, and the goal."""
    lines = [f"## {name}: {size}", "", "| model | Spearman | MSE x 1000 | seconds |", "| --- | --- | --- | --- |"]
    for model in (*PEERS, *OURS):
        rho, error, seconds = (medians.median(name, model, what) for what in ("spearman", "mse", "seconds"))
        note = f" ({medians.note(name, model)})" if medians.note(name, model) else ""
        lines.append(f"| {model}{note} | {rho:.4f} | {1000 * error:.2f} | {seconds:.1f} |".replace("nan", "-"))
    published = PUBLISHED.get(name, ())
    lines += ["", f"ceiling: {ceiling}", *(f"published: {line}" for line in published)]
    return [*lines, describe_goal(medians, name), ""]


def describe_goal(medians: Medians, name: str) -> str:
    """Say whether the goal is met on a set: ours at least the best baseline less 0.003."""
    peer, gain = best_gain(medians, name)
    met = "met" if gain >= -BEHIND else "MISSED"
    return f"goal: bundle - {peer}: {gain:+.4f}, at least -{BEHIND}: {met}"


def best_gain(medians: Medians, name: str) -> tuple[str, float]:
    """The best baseline of a set, and by how much the bundle's median Spearman is above its."""
    peer, ours = medians.best_peer(name, "spearman"), medians.median(name, BUNDLE, "spearman")
    # A constant, which the bundle is where it finds nothing, ranks nothing: 0.
    return peer, float(np.nan_to_num(ours)) - medians.median(name, peer, "spearman")


def describe_goals(medians: Medians) -> str:
    """Say on how many sets the bundle is not below, and above, the best baseline."""
    gains = [best_gain(medians, name)[1] for name in medians.sets]
    near, above = sum(gain >= -BEHIND for gain in gains), sum(gain > 0 for gain in gains)
    met = near == len(gains) and above > len(gains) / 2
    return (
        f"goal over all sets: at least the best baseline - {BEHIND} on {near} of {len(gains)}, above it on {above}: "
        f"{'met' if met else 'MISSED'}"
    )


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for option, what in (
        ("--memento", "Memento10k's folder: memento_train_data.json, or training_set/train_scores.csv"),
        ("--videomem", "VideoMem's folder: ground-truth*.csv, and *video-captions.txt"),
        ("--memcat", "MemCat's folder: memcat_image_data.csv"),
        ("--lamem", "LaMem's folder: splits/train_1.txt"),
        ("--figrim", "FIGRIM's folder: allImages_release.mat or across_category.csv"),
        ("--things", "THINGS' folder: THINGS_Memorability_Scores.csv"),
    ):
        parser.add_argument(option, metavar="FOLDER", help=what)
    parser.add_argument("--table", nargs="*", default=[], metavar="NAME=FILE", help="tables of your own")
    parser.add_argument("--features", nargs="*", default=[], metavar="NAME=ROOT", help="roots with tiers of a set")
    parser.add_argument("--texts", type=Path, help="VADER's source package: sentences, scores drawn over them")
    parser.add_argument("--videomem-splits", metavar="FILE", help="which clip of VideoMem is in which split")
    parser.add_argument("--splits", type=int, default=3, help="draws of a set that has no split of its own")
    parser.add_argument("--runs", type=int, default=4)
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark; return the exit status, 2 where a path is missing."""
    args = parse(arguments)
    torch.set_num_threads(CORES)
    with tempfile.TemporaryDirectory() as folder:
        try:
            sets = list_wanted(args, write_texts(args.texts, Path(folder)) if args.texts else {})
        except M3RayError as error:
            print(f"error: {error}", file=sys.stderr)
            return 2
        run_sets(sets, args)
    return 0


def run_sets(sets: Sequence[SetOfClips], args: argparse.Namespace) -> None:
    """Run the sets one after the other, and print each when it is done, and the goal over all."""
    results: list[Result] = []
    print(f"{platform.machine()}, {CORES} cores, {date.today()}; medians over splits, {args.runs} runs", flush=True)
    for wanted in sets:
        try:
            size, ceiling = run_set(wanted, args.splits, args.runs, results)
        except M3RayError as error:
            print(f"## {wanted.name}: left out: {error}\n", flush=True)
            continue
        print("\n".join(show_set(Medians(results), wanted.name, size, ceiling)), flush=True)
    if results:
        print(describe_goals(Medians(results)))


if __name__ == "__main__":
    sys.exit(main())
