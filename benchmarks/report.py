"""Report: time and size of the page of a root of many clips with tables 1 to 4. No other program draws the same page.

python benchmarks/report.py [--clips 10000]
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa

from m3ray.config import SimilarityConfig, as_json
from m3ray.datasets.catalogue import write_catalogue
from m3ray.datasets.demo import make_demo
from m3ray.schema import RAW, SIMILARITY, Clip, catalogue_table, vector_schema
from m3ray.similarity.clustering import Dbscan
from m3ray.similarity.fitted import FittedSimilarity
from m3ray.similarity.projection import Projection
from m3ray.storage.root import Root
from m3ray.storage.tier_index import TierEntry, update_tier_index
from m3ray.study.variants import Variant, study_variants

TOP = Path(__file__).parents[1]
TIERS = ("raw", "scene", "event", SIMILARITY)
LABELS = [f"action {k}" for k in range(40)]


def make_synthetic_root(folder: Path, clips: int, seed: int = 0) -> Root:
    """Make a root as `reproduce.py` leaves it, with random numbers; twelve real clips stand behind all names."""
    rng, root = np.random.default_rng(seed), Root(str(folder))
    group = rng.integers(0, 60, clips)
    scores = np.clip(0.75 + 0.002 * (group - 30) + rng.normal(0, 0.08, clips), 0, 1)
    ids = [f"clip-{k:06d}" for k in range(clips)]
    write_clips(root, ids, scores, group)
    write_features(root, ids, group, rng)
    write_study(root, ids, scores, rng)
    return root


def write_clips(root: Root, ids: list[str], scores: np.ndarray, group: np.ndarray) -> None:
    real = [Path(clip.uri) for clip in make_demo(root, 12)]
    (folder := Path(root.path("videos"))).mkdir()
    rows = []
    for k, name in enumerate(ids):
        shutil.copyfile(real[k % len(real)], folder / f"{name}.mp4")
        split, label = ("val" if k % 5 == 0 else "train"), LABELS[group[k] % len(LABELS)]
        rows.append(Clip(name, str(folder / f"{name}.mp4"), split, float(scores[k]), (label,)))
    write_catalogue(root, catalogue_table(rows), 0)


def write_features(root: Root, ids: list[str], group: np.ndarray, rng: np.random.Generator) -> None:
    """Write the raw tier, and DBSCAN's clusters of points around 60 centres; a report computes no t-SNE."""
    numbers = rng.normal(size=(len(ids), 5)).astype(np.float32)
    hog = pa.FixedSizeListArray.from_arrays(pa.array(np.zeros(len(ids) * 10, np.float32)), type=RAW.field("hog").type)
    columns = [pa.array(ids), *(pa.array(numbers[:, k]) for k in range(4)), hog, pa.array(numbers[:, 4].astype(float))]
    root.write_shard(pa.Table.from_arrays(columns, schema=RAW), ("features", "raw-1"), {})
    train = np.array([k for k in range(len(ids)) if k % 5])
    parts = {tier: make_dbscan(group[train], rng) for tier in ("scene", "event")}
    fitted = FittedSimilarity(SimilarityConfig(), dict(parts))
    tensors, text = fitted.to_bytes()
    root.write_bytes(tensors, "artifacts", "similarity-1.safetensors")
    root.write_bytes(text, "artifacts", "similarity-1.json")
    width = len(fitted.columns)
    kind = vector_schema(SIMILARITY, width)
    flat = pa.FixedSizeListArray.from_arrays(
        pa.array(np.zeros(len(ids) * width, np.float32)), type=kind.field(SIMILARITY).type
    )
    root.write_shard(pa.Table.from_arrays([pa.array(ids), flat], schema=kind), ("features", "similarity-1"), {})
    identity = {"config": as_json(SimilarityConfig())}
    update_tier_index(root, {"raw": TierEntry("raw-1", identity={})})
    update_tier_index(root, {SIMILARITY: TierEntry("similarity-1", untrained=True, identity=identity)})


def make_dbscan(group: np.ndarray, rng: np.random.Generator) -> tuple[Projection, Dbscan]:
    centres = rng.normal(0, 40, (60, 3))
    measure = Dbscan()
    measure.train_ = rng.normal(size=(len(group), 10)).astype(np.float32)
    measure.plane_ = (centres[group] + rng.normal(size=(len(group), 3))).astype(np.float32)
    measure.clusters_ = np.where(rng.random(len(group)) < 0.5, -1, group)
    measure.ids_ = np.append(np.unique(group), -1)
    measure.columns_ = tuple(f"dbscan_cluster_{k}" for k in measure.ids_)
    projection = Projection(10)
    projection.mean_, projection.axes_ = np.zeros(4), np.zeros((10, 4))
    return projection, measure


def write_study(root: Root, ids: list[str], scores: np.ndarray, rng: np.random.Generator) -> None:
    tables = study_variants([1, 2, 3, 4], TIERS)
    variants = list({v.name: v for rows in tables.values() for v in rows}.values())
    val = np.arange(0, len(ids), 5)
    trials, runs, predictions = [], [], []
    for variant in variants:
        rho = rng.uniform(0.4, 0.65)
        trials.append(make_trial(variant, rho))
        epochs = np.arange(1, 21)
        for run in range(4):
            curve = rho * (1 - np.exp(-epochs / 4)) + rng.normal(0, 0.004, len(epochs))
            runs.append(pd.DataFrame({"variant": variant.name, "run": run, "epoch": epochs, "val_spearman": curve}))
        noise = rng.normal(0, 0.05, len(val))
        shown = {"clip_id": [ids[k] for k in val], "truth": scores[val], "score": 0.7 * scores[val] + 0.2 + noise}
        predictions.append(pd.DataFrame({"variant": variant.name, **shown}))
    frames = {"trials": pd.DataFrame(trials), "runs": pd.concat(runs), "predictions": pd.concat(predictions)}
    for name, frame in frames.items():
        root.write_table(pa.Table.from_pandas(frame, preserve_index=False), "study", "ablation", f"{name}.parquet")
    named = {str(number): [v.name for v in rows] for number, rows in tables.items()}
    facts = {"own": "dbscan", "full": "M3-S", "skipped": {}}
    root.write_json({**named, "measures": facts}, "study", "ablation", "tables.json")
    root.write_json({"variants": [as_json(v) for v in variants], "tiers": {}}, "study", "ablation", "config.json")
    spread = rng.normal(0, 0.02, (len(ids), 4))
    scored = pd.DataFrame({"clip_id": ids, "score": scores, "spread": 0.01, "low": scores - 0.1, "high": scores + 0.1})
    scored[[f"share_{tier}" for tier in TIERS]] = spread
    root.write_table(pa.Table.from_pandas(scored, preserve_index=False), "predictions.parquet")


def make_trial(variant: Variant, rho: float) -> dict[str, object]:
    known = {"variant": variant.name, "tiers": "+".join(variant.tiers), "full": variant.full, "status": "done"}
    numbers = {"features": 3635, "parameters": 1_894_529, "runs": 4, "best_epoch": 10, "best_spearman": rho + 0.01}
    metrics = {"spearman": rho, "spearman_std": 0.003, "mse": 0.012 - 0.01 * rho, "test_spearman": np.nan}
    gaps = ("delta_spearman", "delta_low", "delta_high", "delta_p")
    values = (-0.01, -0.015, -0.005, 0.001) if variant.full else (np.nan,) * 4
    return {**known, **numbers, **metrics, **dict(zip(gaps, values, strict=True))}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--clips", type=int, default=10_000)
    clips = parser.parse_args().clips
    with tempfile.TemporaryDirectory() as folder:
        root = make_synthetic_root(Path(folder) / "root", clips)
        start = time.perf_counter()
        subprocess.run([sys.executable, "jobs/report.py", "--out", root.uri], cwd=TOP, check=True)
        seconds = time.perf_counter() - start
        page = Path(root.path("report", "index.html"))
        size, shown = page.stat().st_size / 1e6, page.read_text().count("<figure>")
    print(f"\n{platform.machine()}, {os.cpu_count()} CPUs, {date.today()}; a made-up root, start of Python included")
    print("| clips | figures | seconds (goal 60) | page, MB (goal 5) |\n|---|---|---|---|")
    print(f"| {clips:,} | {shown} | {seconds:.1f} | {size:.2f} |")


if __name__ == "__main__":
    main()
