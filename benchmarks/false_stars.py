"""Simulated studies, what their intervals say, and the rules that they replaced; `statistics.py` runs it."""

from __future__ import annotations

import argparse
import itertools
import os
import platform
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from datetime import date
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from scipy import stats

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from made_predictions import KINDS, NullKind, find_effect, make_models, make_scores, make_truth, true_difference

from m3ray.reports.tables.corrections import LEAST_RUNS
from m3ray.study.power import Design, detectable_difference, predicted_power, typical_design
from m3ray.study.statistics import Difference, MeasuredRuns, compare_runs, correct_family, holm, measure_runs

CLIPS, RUNS, METRICS = (100, 500, 1500), (2, 4, 8), ("spearman", "mse")
ROWS, PLANTED, RESAMPLES = 28, 4, 200


@dataclass(frozen=True)
class Cell:
    """One size of a study under one kind of chance."""

    kind: NullKind
    clips: int
    runs: int
    tables: int


@dataclass(frozen=True)
class Outcome:
    """Shares of what a cell's studies found, in one metric."""

    metric: str
    single: float
    table: float
    coverage: float
    power: float
    predicted: float
    student: float
    student_table: float
    bootstrap: float


def simulate(cell: Cell) -> list[Outcome]:
    rng = np.random.default_rng([cell.clips, cell.runs, KINDS.index(cell.kind)])
    more = find_effect(cell.kind, _find_detectable(cell, rng))
    return [_summarise(cell, metric, more, studies) for metric, studies in _make_studies(cell, rng, more).items()]


def _find_detectable(cell: Cell, rng: np.random.Generator) -> float:
    """A difference in rank correlation that about four in five studies of this size find."""
    studies = _make_studies(Cell(cell.kind, cell.clips, cell.runs, 4), rng, 0.0)["spearman"]
    return detectable_difference(_average(cell, [row for study in studies for row in study.rows]))


@dataclass(frozen=True)
class Study:
    """Differences of one made study: rows by chance alone, rows with a true difference, and the older rules' stars."""

    rows: list[Difference]
    planted: list[Difference]
    student: np.ndarray
    bootstrap: bool | None


def _make_studies(cell: Cell, rng: np.random.Generator, more: float) -> dict[str, list[Study]]:
    studies: dict[str, list[Study]] = {metric: [] for metric in METRICS}
    effects = np.r_[np.zeros(1 + ROWS), np.full(PLANTED, more)]
    for number in range(cell.tables):
        truth = make_truth(rng, cell.clips)
        models = make_models(rng, cell.kind, truth, len(effects), cell.runs, effects)
        counts = rng.multinomial(cell.clips, np.full(cell.clips, 1 / cell.clips), RESAMPLES).astype(float)
        for metric in METRICS:
            measured = [measure_runs(model, make_scores(truth), metric) for model in models]
            differences = [compare_runs(measured[0], row) for row in measured[1:]]
            student = _test_over_runs(measured[0], measured[1 : 1 + ROWS])
            # The bootstrap takes as long as all else: it judges one row of every second study.
            star = None if number % 2 else _bootstrap_has_star(metric, models[:2], make_scores(truth), counts)
            studies[metric].append(Study(differences[:ROWS], differences[ROWS:], student, star))
    return studies


def _test_over_runs(full: MeasuredRuns, rows: list[MeasuredRuns]) -> np.ndarray:
    """Probabilities by the paired t-test over runs, which takes the clips as given."""
    gaps = np.stack([row.values - full.values for row in rows])
    errors = np.maximum(gaps.std(axis=1, ddof=1) / np.sqrt(gaps.shape[1]), 1e-15)
    return 2 * stats.t.sf(np.abs(gaps.mean(axis=1)) / errors, gaps.shape[1] - 1)


def _bootstrap_has_star(metric: str, models: np.ndarray, truth: np.ndarray, counts: np.ndarray) -> bool:
    """Whether the percentile interval over drawn clips excludes 0."""
    full, row = (_resample(metric, model, truth, counts) for model in models)
    low, high = np.nanquantile(row - full, [0.025, 0.975])
    return bool(low > 0 or high < 0)


def _resample(metric: str, runs: np.ndarray, truth: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """The metric of drawn clips, mean over the runs, which are taken as given: (R, V) and counts (B, V) to (B,)."""
    if metric == "mse":
        return np.mean([counts @ (run - truth) ** 2 for run in runs], axis=0) / len(truth)
    ranked = _rank(truth, counts)
    return np.mean([_pearson(_rank(run, counts), ranked, counts) for run in runs], axis=0)


def _rank(values: np.ndarray, counts: np.ndarray) -> np.ndarray:
    order = np.argsort(values)
    drawn = counts[:, order]
    ranks = np.empty_like(drawn)
    ranks[:, order] = drawn.cumsum(axis=1) - (drawn - 1) / 2
    return ranks


def _pearson(a: np.ndarray, b: np.ndarray, weights: np.ndarray) -> np.ndarray:
    total = weights.sum(axis=1, keepdims=True)
    a = a - (weights * a).sum(axis=1, keepdims=True) / total
    b = b - (weights * b).sum(axis=1, keepdims=True) / total
    return (weights * a * b).sum(axis=1) / np.sqrt((weights * a * a).sum(axis=1) * (weights * b * b).sum(axis=1))


def _has_star(cell: Cell, study: Study) -> bool:
    """Whether a table of the study's rows would print a star: two runs earn none."""
    return cell.runs >= LEAST_RUNS and bool(correct_family(study.rows).min() < 0.05)


def _average(cell: Cell, differences: list[Difference]) -> Design:
    design = typical_design(differences, cell.runs, cell.clips)
    if design is None:
        raise SystemExit(f"no interval with {cell.runs} runs and {cell.clips} clips")
    return design


def _summarise(cell: Cell, metric: str, more: float, studies: list[Study]) -> Outcome:
    rows = [row for study in studies for row in study.rows]
    planted = [row for study in studies for row in study.planted]
    true = true_difference(cell.kind, more, metric)
    covered = [row.low <= true <= row.high for row in planted if row.low is not None and row.high is not None]
    return Outcome(
        metric,
        single=float(np.mean([row.excludes_zero for row in rows])),
        table=float(np.mean([_has_star(cell, study) for study in studies])),
        coverage=float(np.mean(covered)),
        power=float(np.mean([row.excludes_zero for row in planted])),
        predicted=predicted_power(true, _average(cell, rows)),
        student=float(np.mean([p < 0.05 for study in studies for p in study.student])),
        student_table=float(np.mean([holm(study.student).min() < 0.05 for study in studies])),
        bootstrap=float(np.mean([study.bootstrap for study in studies if study.bootstrap is not None])),
    )


HEADS = (
    "chance",
    "clips",
    "runs",
    "metric",
    "one difference",
    "table of 28",
    "coverage",
    "power",
    "predicted",
    "Student: one",
    "Student: table",
    "bootstrap: one",
)


def _print_rows(cells: list[Cell]) -> Iterator[str]:
    yield "| " + " | ".join(HEADS) + " |"
    yield "|" + "---|" * len(HEADS)
    with ProcessPoolExecutor(mp_context=get_context("spawn")) as pool:
        for cell, outcomes in zip(cells, pool.map(simulate, cells), strict=True):
            for o in outcomes:
                shares = (o.single, o.table, o.coverage, o.power, o.predicted, o.student, o.student_table, o.bootstrap)
                cells_of_row = [cell.kind.name, str(cell.clips), str(cell.runs), o.metric]
                yield "| " + " | ".join([*cells_of_row, *(f"{share:.1%}" for share in shares)]) + " |"


def main() -> None:
    parser = argparse.ArgumentParser(description="Simulated studies: false stars, coverage and power of a difference.")
    parser.add_argument("--tables", type=int, default=200, help="studies of each size")
    parser.add_argument("--kinds", nargs="*", default=[kind.name for kind in KINDS], help="kinds of chance")
    parser.add_argument("--markdown", help="file that gets the table too")
    options = parser.parse_args()
    kinds = [kind for kind in KINDS if kind.name in options.kinds]
    cells = [Cell(kind, clips, runs, options.tables) for kind, clips, runs in itertools.product(kinds, CLIPS, RUNS)]
    # Two processes of one thread each are faster than two of two.
    os.environ["OMP_NUM_THREADS"] = "1"
    print(f"{date.today()}, {platform.machine()}, {options.tables} studies of {ROWS} rows of each size")
    started, lines = time.monotonic(), []
    for line in _print_rows(cells):
        print(line, flush=True)
        lines.append(line)
    print(f"{time.monotonic() - started:.0f} s")
    if options.markdown:
        Path(options.markdown).write_text("\n".join(lines) + "\n", "utf-8")
