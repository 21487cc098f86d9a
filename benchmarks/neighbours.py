"""Train clips that a bundle compares with: how right, how dear and how large their compact form is.

`inside`: over five kinds of drawn data and several numbers of train clips, its mean and the share below 0.01 (where a
score is called an extrapolation), for new clips drawn as the train clips and for such clips with every column one
standard deviation away, up or down. Kept: the share of the 10 nearest train clips that are the same by the full
vectors, and the file's size. Costs: `inside`, and five neighbours in each space, a clip; the peer is scikit-learn's
NearestNeighbors (brute force) on the full vectors of the same clips. Ranks: how well the mean true score of the 10
nearest rows ranks new rows of tables that scikit-learn ships, by Euclidean distances and by cosines about the mean.

    python benchmarks/neighbours.py [--clips 7000] [--draws 10] [--sizes 20 60 200 1000]
"""

from __future__ import annotations

import argparse
import platform
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import date

import numpy as np
import torch
from scipy.stats import spearmanr
from sklearn.neighbors import NearestNeighbors
from tabular_shipped import list_shipped
from tabular_table import Table
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from m3ray.features.dataset import Scaling
from m3ray.features.matrix import Block, Features
from m3ray.model import StackedMLP
from m3ray.scoring.bundle import Bundle
from m3ray.scoring.bundle_metadata import BundleMetadata
from m3ray.scoring.reference.nearest import find_nearest
from m3ray.scoring.reference.neighbours import OUTSIDE, find_neighbours, measure_inside
from m3ray.scoring.reference.reference_file import ReferenceFile
from m3ray.scoring.reference.train_reference import NEIGHBOURS, make_reference

CORES = 1
NEW = 200  # new clips of each draw
SHIFT = 1.0  # standard deviations of each column
TABLES = ("diabetes", "wine", "cancer", "digits", "iris", "friedman 1")
SPLITS = 5
Draw = Callable[[int, np.random.Generator], np.ndarray]
"""From a number of clips and a generator to them, (N, F), float32; a kind's own constants are drawn once."""


def name_columns(tier: str, width: int) -> Block:
    return Block(tier, tuple(f"{tier}_{k}" for k in range(width)), scaled=True)


DRAWN = (name_columns("raw", 14), name_columns("scene", 100))  # what is drawn for `inside`
LARGE = (name_columns("raw", 15), name_columns("scene", 720), name_columns("event", 2048))  # widths of the tiers


def count_columns(blocks: Sequence[Block]) -> int:
    return sum(len(block.names) for block in blocks)


def draw_noise(clips: int, rng: np.random.Generator) -> np.ndarray:
    """Columns that have nothing in common."""
    return rng.standard_normal((clips, count_columns(DRAWN)), dtype=np.float32)


def draw_clusters(clips: int, rng: np.random.Generator) -> np.ndarray:
    """Eight crowds, their middles two standard deviations apart in each column, of one width."""
    middles = 2 * np.random.default_rng(8).standard_normal((8, count_columns(DRAWN)), dtype=np.float32)
    return middles[rng.integers(8, size=clips)] + draw_noise(clips, rng)


def draw_heavy_tails(clips: int, rng: np.random.Generator) -> np.ndarray:
    """Student's t of three degrees of freedom, whose scale is the whole clip's: some lie far out in all columns."""
    scale = np.sqrt(3 / rng.chisquare(3, (clips, 1)))
    return (draw_noise(clips, rng) * scale).astype(np.float32)


def draw_low_rank(clips: int, rng: np.random.Generator) -> np.ndarray:
    """Twelve directions, and half as much noise in each column."""
    mixing = np.random.default_rng(12).standard_normal((12, count_columns(DRAWN)), dtype=np.float32)
    factors = rng.standard_normal((clips, 12), dtype=np.float32)
    return factors @ mixing + np.float32(0.5) * draw_noise(clips, rng)


def draw_falling(clips: int, rng: np.random.Generator) -> np.ndarray:
    """As many directions as columns, of which the k-th has a variance of k to the -1/2: no few of them hold clips."""
    width = count_columns(DRAWN)
    axes = np.linalg.qr(np.random.default_rng(16).standard_normal((width, width)))[0]
    deviations = np.arange(1, width + 1) ** -0.25
    return ((draw_noise(clips, rng) * deviations) @ axes).astype(np.float32)


KINDS: dict[str, Draw] = {
    "noise": draw_noise,
    "clusters": draw_clusters,
    "heavy tails": draw_heavy_tails,
    "low rank": draw_low_rank,
    "falling": draw_falling,
}


def draw_tiers(clips: int, rng: np.random.Generator) -> np.ndarray:
    """Features of the widths of raw, scene and event, whose directions matter less and less, as networks' do."""
    parts = []
    for block in LARGE:
        width, rank = len(block.names), min(len(block.names), 300)
        fixed = np.random.default_rng(width)
        mixing = fixed.standard_normal((rank, width), dtype=np.float32) / np.arange(1, rank + 1)[:, None] ** 0.75
        parts.append(rng.standard_normal((clips, rank), dtype=np.float32) @ mixing.astype(np.float32))
    return np.concatenate(parts, axis=1)


def make_features(values: np.ndarray, blocks: tuple[Block, ...], prefix: str) -> Features:
    return Features(tuple(f"{prefix}{k}" for k in range(len(values))), values.astype(np.float32), blocks)


def make_bundle(train: np.ndarray, blocks: tuple[Block, ...], hidden: tuple[int, ...] = (4,), runs: int = 2) -> Bundle:
    """A bundle that nothing was trained for, with these train clips; columns are scaled by their statistics."""
    mean, deviation = train.mean(axis=0), np.maximum(train.std(axis=0), 1e-6)
    model = StackedMLP(count_columns(blocks), hidden, range(runs)).eval()
    scaling = Scaling(mean.astype(np.float32), deviation.astype(np.float32))
    scaled = scaling(train).astype(np.float32)
    ids, scores = tuple(f"train{k}" for k in range(len(train))), np.linspace(0.2, 0.9, len(train))
    reference = make_reference(ids, scaled, blocks, scores, model)
    bundle = Bundle(
        name="drawn",
        model=model,
        blocks=blocks,
        scaling=scaling,
        baseline=np.zeros(count_columns(blocks), np.float32),
        residuals=np.linspace(0, 0.1, 20, dtype=np.float32),
        metadata=BundleMetadata(False),
        files={},
    )
    return replace(bundle, reference=ReferenceFile(reference.to_bytes()))


def measure_kind(draw: Draw, clips: int, draws: int) -> tuple[np.ndarray, np.ndarray]:
    """`inside` of new clips of all draws: as the train clips, and shifted."""
    own, shifted = [], []
    for k in range(draws):
        rng = np.random.default_rng([clips, k])
        train, new = draw(clips, rng), draw(NEW, rng)
        bundle = make_bundle(train, DRAWN)
        signs = rng.choice([-1, 1], size=new.shape[1])
        # As far as the kind's own deviation is, not that of few train clips.
        away = (SHIFT * signs * draw(5_000, rng).std(axis=0)).astype(np.float32)
        own.append(measure_inside(bundle, make_features(new, DRAWN, "new")))
        shifted.append(measure_inside(bundle, make_features(new + away, DRAWN, "new")))
    return np.concatenate(own), np.concatenate(shifted)


def print_inside(sizes: Sequence[int], draws: int) -> None:
    print(
        f"\n`inside` of {NEW * draws:,} new clips ({draws} draws of train clips); one ordinary clip in a hundred is 1 %"
    )
    print("| data | train clips | mean | below 0.01 | shifted: mean | below 0.01 |\n|---|---|---|---|---|---|")
    for name, draw in KINDS.items():
        for clips in sizes:
            own, shifted = measure_kind(draw, clips, draws)
            cells = [f"{x:.3f} | {y:.1%}" for x, y in (summarise(own), summarise(shifted))]
            print(f"| {name} | {clips:,} | {' | '.join(cells)} |", flush=True)


def summarise(inside: np.ndarray) -> tuple[float, float]:
    """Mean, and share below what is called an extrapolation."""
    return float(inside.mean()), float((inside < OUTSIDE).mean())


def time_calls(call: Callable[[], object], times: int = 3) -> float:
    """Seconds of the fastest of some calls."""
    found = []
    for _ in range(times):
        begun = time.perf_counter()
        call()
        found.append(time.perf_counter() - begun)
    return min(found)


def print_large(clips: int) -> None:
    """What the reference of so many clips of the tiers' widths takes, keeps and costs."""
    rng = np.random.default_rng(0)
    train, new = draw_tiers(clips, rng), draw_tiers(200, rng)
    begun = time.perf_counter()
    bundle = make_bundle(train, LARGE, (512, 64), 4)
    made = time.perf_counter() - begun
    assert bundle.reference is not None
    content = bundle.reference.read()
    begun = time.perf_counter()
    reference = bundle.reference.load()
    read = time.perf_counter() - begun
    print(f"\n{clips:,} train clips of {train.shape[1]:,} columns, four runs: {len(content) / 1e6:.1f} MB")
    print(f"made with the bundle in {made:.1f} s, read in {1e3 * read:.1f} ms")
    shares = [f"{name} {space.kept:.2f}" for name, space in reference.spaces.items()]
    print(f"share of the 10 nearest that are those of the full vectors: {', '.join(shares)}")
    print_costs(bundle, make_features(new, LARGE, "new"), bundle.scaling(train).astype(np.float32))


def print_costs(bundle: Bundle, new: Features, train: np.ndarray) -> None:
    """Milliseconds a clip, many at once, of ours and of the peer."""
    scaled = bundle.scaling(new.values).astype(np.float32)
    parts = list(split_tiers(train, bundle.blocks)), list(split_tiers(scaled, bundle.blocks))
    # The peer is fitted beforehand, as ours has read its file.
    whole = NearestNeighbors(n_neighbors=NEIGHBOURS, algorithm="brute").fit(train)
    each = [NearestNeighbors(n_neighbors=5, algorithm="brute").fit(part) for part in parts[0]]
    rows = [
        ("`inside`", lambda: measure_inside(bundle, new), lambda: whole.kneighbors(scaled)),
        (
            "five neighbours a space (ours: also `inside` of each)",
            lambda: find_neighbours(bundle, new),
            lambda: [index.kneighbors(part) for index, part in zip(each, parts[1], strict=True)],
        ),
    ]
    print("\n| what | ours, ms a clip | scikit-learn, full vectors | ratio |\n|---|---|---|---|")
    for name, ours, theirs in rows:
        one, other = (1e3 * time_calls(call) / len(scaled) for call in (ours, theirs))
        print(f"| {name} | {one:.2f} | {other:.2f} | {other / one:.1f} |", flush=True)


def split_tiers(values: np.ndarray, blocks: Sequence[Block]) -> Iterator[np.ndarray]:
    """The columns of each tier."""
    start = 0
    for block in blocks:
        yield np.ascontiguousarray(values[:, start : start + len(block.names)])
        start += len(block.names)


def rank_rows(table: Table, seed: int) -> tuple[float, float]:
    """How well the mean score of the nearest train rows ranks val rows: by Euclidean distances, by cosines."""
    data = table.split(seed)
    train, val = data.scaled[data.train], data.scaled[data.val]
    scores, truth = data.scores[data.train], data.scores[data.val]
    nearest = find_nearest({"x": val}, {"x": train}, ["x"], ["x"], NEIGHBOURS).spaces["x"].rows
    middle = train.mean(axis=0)
    index = NearestNeighbors(n_neighbors=NEIGHBOURS, metric="cosine").fit(train - middle)
    turned = index.kneighbors(val - middle, return_distance=False)
    euclidean, cosine = (float(spearmanr(scores[rows].mean(axis=1), truth)[0]) for rows in (nearest, turned))
    return euclidean, cosine


def print_ranks() -> None:
    print(f"\nmean true score of the {NEIGHBOURS} nearest rows as a score, rho over {SPLITS} splits")
    print("| table | Euclidean | cosine |\n|---|---|---|")
    for name in TABLES:
        table = list_shipped(None)[name]()
        found = np.mean([rank_rows(table, seed) for seed in range(SPLITS)], axis=0)
        print(f"| {name} | {found[0]:.3f} | {found[1]:.3f} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clips", type=int, default=7_000, help="train clips of size and costs")
    parser.add_argument("--draws", type=int, default=10, help="draws of train clips for each row of `inside`")
    parser.add_argument("--sizes", type=int, nargs="+", default=[20, 60, 200, 1000], help="train clips")
    args = parser.parse_args()
    threadpool_limits(CORES)
    torch.set_num_threads(CORES)
    begun = time.perf_counter()
    print(f"{platform.machine()}, {CORES} thread, {date.today()}")
    print_inside(args.sizes, args.draws)
    print_large(args.clips)
    print_ranks()
    print(f"{time.perf_counter() - begun:.0f} s")


if __name__ == "__main__":
    main()
