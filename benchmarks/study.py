"""Study: time of tables 1 to 4 at the paper's size through Tune, against a plain PyTorch loop.

7,000 train and 1,500 val rows of the real widths (15 + 720 + 2,048 + 852, and the other measures' of Table 4), random.
The reference is a plain loop: DataLoader, nn.Linear, Adam as it comes, one run after the other with all threads; it is
timed on a sample, one epoch of one run of every variant, and scaled by runs and epochs. Ours is `run_study` on a local
Ray: what is trained, what Tune costs beside it, and the floor of this machine: the time to move weights, gradients and
moments through memory (9 passes a step) or to multiply (two products a step), whichever is longer. `--one` measures the
full model alone, as `train.py` trains it: one variant, which must keep all cores busy by itself.

    python benchmarks/study.py [--runs 4] [--epochs 20] [--rows 7000 1500] [--one]
"""

from __future__ import annotations

import argparse
import os
import platform
import tempfile
import time
from dataclasses import replace
from datetime import date

import numpy as np
import torch
from scipy.stats import spearmanr
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from m3ray.config import TrainConfig
from m3ray.features.dataset import StudyData
from m3ray.features.load import StudyFeatures
from m3ray.features.matrix import Block, Features
from m3ray.model import parameter_count
from m3ray.pipelines.runtime.cluster import connect_cluster
from m3ray.pipelines.study.ablation import run_study
from m3ray.storage.root import Root
from m3ray.study.study import Study
from m3ray.study.trial import select_columns
from m3ray.study.variants import Variant, study_variants

# Columns of each measure on Memento10k (the supplement, Table 4); DBSCAN's 852 are the full model's own.
MEASURES = {
    "fractional_mean": 2,
    "fractional_prototypes": 1102,
    "euclidean_prototypes": 1102,
    "cosine_mean": 2,
    "cosine_threshold": 6,
    "kde": 2,
    "kde_labels": 62,
    "kde_kmeans": 20,
}
RAW = ("brightness", "contrast", "blurriness", "mean_optical_flow", *(f"hog_{k}" for k in range(10)), "size_bytes")


def make_data(train: int, val: int) -> StudyData:
    """Make noise of the real widths, scores that depend on some columns of each tier, and one-hot clusters."""
    rng = np.random.default_rng(0)
    rows = train + val
    widths = {"scene": 720, "event": 2048, **{f"similarity:{name}": n for name, n in MEASURES.items()}}
    blocks = [
        Block("raw", RAW, True),
        *(Block(t, tuple(f"{t}_{k}" for k in range(n)), False) for t, n in widths.items()),
    ]
    blocks.insert(3, Block("similarity", tuple(f"s_{k}" for k in range(852)), False))
    parts = {b.tier: rng.standard_normal((rows, len(b.names)), dtype=np.float32) for b in blocks}
    parts["similarity"] = np.eye(852, dtype=np.float32)[rng.integers(0, 852, rows)]
    scores = 1 / (1 + np.exp(-sum(parts[t][:, 0] for t in ("raw", "scene", "event"))))
    features = Features(tuple(map(str, range(rows))), np.concatenate([parts[b.tier] for b in blocks], 1), tuple(blocks))
    return StudyData.make(features, scores, ["train"] * train + ["val"] * val)


def list_variants(data: StudyData, epochs: int) -> list[Variant]:
    tables = study_variants((1, 2, 3, 4), data.features.tiers, None)
    unique = {v.name: v for rows in tables.values() for v in rows}
    return [replace(v, training=replace(v.training, epochs=min(epochs, v.training.epochs))) for v in unique.values()]


def measure_plain_epoch(data: StudyData, variant: Variant) -> float:
    """Measure one epoch of one run, the second of two, seconds: the first warms caches and allocators up."""
    columns, config = select_columns(data.features, variant), variant.training
    x, y = torch.from_numpy(np.ascontiguousarray(data.scaled[:, columns])), torch.from_numpy(data.scores)
    layers: list[nn.Module] = []
    for a, b in zip((len(columns), *config.hidden), config.hidden, strict=False):
        layers += [nn.Linear(a, b), nn.Mish()]
    model = nn.Sequential(*layers, nn.Linear(config.hidden[-1], 1), nn.Sigmoid())
    optimiser = torch.optim.Adam(model.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay)
    loader = DataLoader(TensorDataset(x[data.train], y[data.train]), config.batch, shuffle=True)
    for _ in range(2):
        start = time.perf_counter()
        for features, scores in loader:
            optimiser.zero_grad()
            nn.functional.mse_loss(model(features).squeeze(1), scores).backward()
            optimiser.step()
        with torch.no_grad():
            spearmanr(model(x[data.val]).squeeze(1).numpy(), data.scores[data.val])
        spent = time.perf_counter() - start
    return spent


def estimate_floor(data: StudyData, variant: Variant, runs: int, bandwidth: float, peak: float) -> float:
    """Estimate the seconds that this machine needs at least for a variant's training."""
    config = variant.training
    weights = parameter_count(len(select_columns(data.features, variant)), config.hidden)
    steps = -(-len(data.train) // config.batch) * config.epochs * runs
    return steps * max(9 * 4 * weights / bandwidth, 4 * config.batch * weights / peak)


def measure_machine() -> tuple[float, float]:
    """Measure bytes a second of a large copy, and FLOP a second of a large product."""
    a, b = torch.zeros(64 * 1024**2), torch.zeros(64 * 1024**2)
    x = torch.randn(2048, 2048)
    spent = [float("inf")] * 2
    for _ in range(5):
        for index, work in enumerate((lambda: b.copy_(a), lambda: torch.mm(x, x))):
            start = time.perf_counter()
            work()
            spent[index] = min(spent[index], time.perf_counter() - start)
    return 2 * a.numel() * 4 / spent[0], 2 * 2048**3 / spent[1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=4)
    parser.add_argument("--epochs", type=int, default=TrainConfig().epochs, help="at most; fewer cost both sides alike")
    parser.add_argument("--rows", type=int, nargs=2, default=(7000, 1500))
    parser.add_argument("--one", action="store_true", help="the full model alone")
    args = parser.parse_args()
    data = make_data(*args.rows)
    variants = [choose_full_model(data, args.epochs)] if args.one else list_variants(data, args.epochs)
    where = torch.cuda.get_device_name() if torch.cuda.is_available() else f"{os.cpu_count()} cores, CPU"
    print(f"{where}, {platform.machine()}, {date.today()}; {len(variants)} variants x {args.runs} runs, ", end="")
    print(f"{args.rows} rows, at most {args.epochs} epochs", flush=True)
    plain = sum(measure_plain_epoch(data, v) * v.training.epochs * args.runs for v in variants)
    print(f"plain loop: {plain:,.0f} s, scaled from one epoch of one run of each variant", flush=True)
    bandwidth, peak = measure_machine()
    least = sum(estimate_floor(data, v, args.runs, bandwidth, peak) for v in variants)
    wall, trained = measure_ours(data, variants, args.runs)
    print(f"ours, all of it: {wall:,.1f} s; seconds of all trials together {trained:,.1f}; ", end="")
    print(f"floor {least:,.1f} s, {least / wall:.0%} of ours ", end="")
    print(f"(copy {bandwidth / 1e9:.0f} GB/s, product {peak / 1e9:.0f} GFLOP/s)")
    print(f"| plain loop / ours | {plain / wall:.2f} |")


def choose_full_model(data: StudyData, epochs: int) -> Variant:
    """Choose M3-S with all its features: the widest with the paper's two hidden layers."""
    wide = [v for v in list_variants(data, epochs) if set(v.tiers) == {"raw", "scene", "event", "similarity"}]
    return next(v for v in wide if not v.without)


def measure_ours(data: StudyData, variants: list[Variant], runs: int) -> tuple[float, float]:
    """Measure the seconds of the study through Tune, Ray's start apart, and those of its trials added up."""
    with connect_cluster() as on, tempfile.TemporaryDirectory() as folder:
        study = Study(Root(folder), "bench", StudyFeatures(data, {}, "bench"), tuple(range(runs)))
        start = time.perf_counter()
        trials = run_study(study, variants, on)
        return time.perf_counter() - start, float(trials["seconds"].sum())


if __name__ == "__main__":
    main()
