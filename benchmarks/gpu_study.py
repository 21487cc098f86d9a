"""Part 8 of benchmarks/gpu.py: eight variants of the study, ours and through Tune, against a plain PyTorch loop."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence

import numpy as np
import ray  # noqa: F401 - says that Ray is missing, whatever else is
import torch
from gpu_part import DEVICE, SMALL, PartRun, free_memory, note_failure, read_peak_gib, synchronise
from study import list_variants, make_data
from torch import Tensor, nn

from m3ray.features.dataset import StudyData
from m3ray.features.load import StudyFeatures
from m3ray.pipelines.runtime.cluster import connect_cluster
from m3ray.pipelines.study.ablation import run_study
from m3ray.storage.root import Root
from m3ray.study.study import Study
from m3ray.study.trial import run_trial, select_columns
from m3ray.study.variants import Variant
from m3ray.tiers.precision import float32_precision

TABLE = "Study"
VARIANTS = 8
ROWS = (400, 100) if SMALL else (7000, 1500)
RUNS, EPOCHS = (2, 2) if SMALL else (4, 5)
TUNE_SECONDS = 15.0


def measure(run: PartRun) -> None:
    """Measure the part."""
    data = make_data(*ROWS)
    variants = spread(list_variants(data, EPOCHS))
    with float32_precision():
        plain = measure_plain(data, variants)
        add(run, "plain loop, one run after the other", plain, plain)
        with note_failure(run, "stacked"):
            add(run, "stacked", measure_stacked(data, variants), plain)
    if run.has_time(TUNE_SECONDS, "through Tune"):
        with note_failure(run, "through Tune"):
            seconds, training = measure_tune(data, variants)
            add(run, "through Tune, Ray's start apart", seconds, plain, training)
    run.note(
        f"{len(variants)} variants x {RUNS} runs x {EPOCHS} epochs, {ROWS[0]:,} train and {ROWS[1]:,} val rows; the "
        "plain loop has its data on the device, and is scaled from one epoch of one run of each variant; the first "
        "variant was trained once before, so that nothing is loaded or compiled in what is measured"
    )


def spread(variants: Sequence[Variant]) -> list[Variant]:
    """Eight variants from all tables."""
    return list(variants[:: max(1, len(variants) // VARIANTS)])[:VARIANTS]


def add(run: PartRun, way: str, seconds: float, plain: float, training: float | None = None) -> None:
    """Add a row."""
    row = {"way": way, "s": seconds, "plain / this": plain / seconds, "training alone, summed over trials, s": training}
    run.add_row(TABLE, {**row, "peak memory, GiB": read_peak_gib()})


def measure_plain(data: StudyData, variants: Sequence[Variant]) -> float:
    """Seconds that a plain loop takes over all runs of some variants."""
    free_memory()
    return sum(measure_plain_epoch(data, variant) * variant.training.epochs * RUNS for variant in variants)


def measure_plain_epoch(data: StudyData, variant: Variant) -> float:
    """Measure one epoch of one run, the second of two: nn.Linear, and Adam as it comes."""
    columns, config = select_columns(data.features, variant), variant.training
    x = torch.from_numpy(np.ascontiguousarray(data.scaled[:, columns])).to(DEVICE)
    y = torch.from_numpy(data.scores).to(DEVICE, x.dtype)
    model = make_model(x.shape[1], config.hidden)
    optimiser = torch.optim.Adam(model.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay)
    train = torch.as_tensor(data.train, device=DEVICE)
    spent = 0.0
    for _ in range(2):
        synchronise()
        start = time.perf_counter()
        train_epoch(model, optimiser, x[train], y[train], config.batch)
        with torch.no_grad():
            model(x[torch.as_tensor(data.val, device=DEVICE)]).cpu()
        synchronise()
        spent = time.perf_counter() - start
    return spent


def make_model(inputs: int, hidden: Sequence[int]) -> nn.Module:
    """The MLP as PyTorch's own layers."""
    widths = (inputs, *hidden)
    layers = [layer for a, b in zip(widths, hidden, strict=False) for layer in (nn.Linear(a, b), nn.Mish())]
    return nn.Sequential(*layers, nn.Linear(widths[-1], 1), nn.Sigmoid()).to(DEVICE)


def train_epoch(model: nn.Module, optimiser: torch.optim.Optimizer, x: Tensor, y: Tensor, batch: int) -> None:
    """Train for one epoch in a random order."""
    for rows in torch.randperm(len(x), device=x.device).split(batch):
        optimiser.zero_grad()
        nn.functional.mse_loss(model(x[rows]).squeeze(1), y[rows]).backward()
        optimiser.step()


def measure_stacked(data: StudyData, variants: Sequence[Variant]) -> float:
    """Seconds that our training takes over the same runs, in this process."""
    run_trial(variants[0], data, range(RUNS), DEVICE)
    free_memory()
    start = time.perf_counter()
    for variant in variants:
        run_trial(variant, data, range(RUNS), DEVICE)
    synchronise()
    return time.perf_counter() - start


def measure_tune(data: StudyData, variants: Sequence[Variant]) -> tuple[float, float]:
    """Seconds that the same runs take through Tune, and of that the training's own, summed over trials."""
    with connect_cluster() as on, tempfile.TemporaryDirectory() as folder:
        study = Study(Root(folder), "bench", StudyFeatures(data, {}, "bench"), tuple(range(RUNS)))
        start = time.perf_counter()
        trials = run_study(study, variants, on)
        return time.perf_counter() - start, float(trials["seconds"].sum())
