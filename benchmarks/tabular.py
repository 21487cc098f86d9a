"""Whether any baseline beats the bundle: some thirty tables, five splits of each.

The tables are those that packages ship (benchmarks/tabular_shipped.py says which, and what to install) and made ones
with known signal (benchmarks/tabular_made.py). The peers (benchmarks/tabular_peers.py) are scikit-learn's, tuned on
train as a sensible user would; ours (benchmarks/tabular_ours.py) are what `train.py` makes, without Ray. Only val
judges.

    python benchmarks/tabular.py [--splits 5] [--runs 4] [--sets wide films] [--texts vaderSentiment-3.3.2.tar.gz]

`--results FILE` keeps each number as it comes, one line of JSON; a run that was stopped goes on from there.
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path

import numpy as np
import torch
from tabular_made import MADE
from tabular_ours import BUNDLE, OURS, PAPER, SELECTION, fit_ours
from tabular_peers import PEERS
from tabular_shipped import MissingPackageError, list_shipped
from tabular_table import Table

from m3ray.features.dataset import StudyData
from m3ray.model.metrics import mse, spearman

CORES = 2
_RHO_BEHIND, _MSE_ABOVE, _BIAS = 0.003, 1.01, 0.005
_PLAIN_TRAININGS = 5
# Set to the seconds that all of ours may take, selection included.
_SECONDS = {"films": 60.0, "captions": 60.0, "wide": 360.0}


@dataclass(frozen=True)
class Result:
    """What one model did on one split of one set."""

    set: str
    split: int
    model: str
    spearman: float
    mse: float
    error: float
    seconds: float
    note: str = ""


@dataclass(frozen=True)
class Goal:
    """One of the goals on one set, and by how much it was reached or missed."""

    set: str
    name: str
    is_hit: bool
    detail: str


def judge(
    name: str, split: int, model: str, predicted: np.ndarray, truth: np.ndarray, seconds: float, note: str = ""
) -> Result:
    """Compare predictions of val with its scores; both (V,)."""
    rho = spearman(predicted, truth)
    return Result(
        name, split, model, float(rho), float(mse(predicted, truth)), float(np.mean(predicted - truth)), seconds, note
    )


def run_peers(name: str, split: int, data: StudyData) -> Iterator[Result]:
    truth = data.scores[data.val].astype(np.float64)
    for model, predict in PEERS.items():
        start = time.perf_counter()
        predicted = predict(data)
        yield judge(name, split, model, predicted, truth, time.perf_counter() - start)


def run_ours(name: str, split: int, data: StudyData, runs: int) -> Iterator[Result]:
    truth = data.scores[data.val].astype(np.float64)
    for model, fitted in fit_ours(data, range(runs), CORES).items():
        yield judge(name, split, model, fitted.predicted, truth, fitted.seconds, fitted.note)


class Medians:
    """Medians over splits of each set and model.

    Args:
        results: All results of a run.
    """

    def __init__(self, results: Sequence[Result]) -> None:
        self._results = list(results)
        self.sets = list(dict.fromkeys(r.set for r in results))

    def values(self, name: str, model: str, what: str) -> np.ndarray:
        """Values of each split, in the splits' order, (S,)."""
        found = sorted((r for r in self._results if (r.set, r.model) == (name, model)), key=lambda r: r.split)
        return np.array([getattr(r, what) for r in found], float)

    def median(self, name: str, model: str, what: str) -> float:
        """Median over splits; not a number where no split has one."""
        values = self.values(name, model, what)
        return float(np.median(values)) if len(values) and np.isfinite(values).all() else float("nan")

    def best_peer(self, name: str, what: str) -> str:
        """The peer with the best median: highest Spearman, lowest error."""
        sign = -1 if what == "spearman" else 1
        medians = {model: sign * self.median(name, model, what) for model in PEERS}
        return min((m for m in medians if np.isfinite(medians[m])), key=lambda m: medians[m])

    def note(self, name: str, model: str) -> str:
        """What was said of the model most often over splits."""
        notes = [r.note for r in self._results if (r.set, r.model) == (name, model)]
        return max(sorted(set(notes)), key=notes.count) if notes else ""


def check_goals(medians: Medians, name: str) -> list[Goal]:
    """Compare the bundle with the goals on one set.

    Args:
        medians: Results of all sets.
        name: The set.
    Returns:
        Each goal; one that speaks of time alone where the set has such a goal.
    """
    peer, closest = medians.best_peer(name, "spearman"), medians.best_peer(name, "mse")
    rho, best_rho = medians.median(name, BUNDLE, "spearman"), medians.median(name, peer, "spearman")
    error, best_error = medians.median(name, BUNDLE, "mse"), medians.median(name, closest, "mse")
    constant, bias = medians.median(name, "constant", "mse"), medians.median(name, BUNDLE, "error")
    # Where there is nothing to find the bundle may be a constant, which ranks nothing: that is no worse than noise.
    is_ranked = (not np.isfinite(rho) and best_rho < 0.1) or rho >= best_rho - _RHO_BEHIND
    goals = [
        Goal(name, "Spearman", is_ranked, f"{rho:.3f}, {peer} {best_rho:.3f}; {_describe_pairs(medians, name, peer)}"),
        Goal(name, "MSE", error <= _MSE_ABOVE * best_error, f"{error:.5f}, {closest} {best_error:.5f}"),
        Goal(name, "MSE, constant", error <= constant, f"{error:.5f}, constant {constant:.5f}"),
        Goal(name, "mean error", abs(bias) < _BIAS, f"{bias:+.4f}; the draw of val alone: {_sway(medians, name):.4f}"),
    ]
    selection, plain = (medians.median(name, model, "seconds") for model in (SELECTION, PAPER))
    if np.isfinite(selection):
        cost = selection / plain
        goals.append(Goal(name, "selection", cost <= _PLAIN_TRAININGS, f"{cost:.1f} plain trainings"))
    if name in _SECONDS:
        taken = medians.median(name, BUNDLE, "seconds")
        goals.append(Goal(name, "time", taken <= _SECONDS[name], f"{taken:.0f} s of {_SECONDS[name]:.0f}"))
    return goals


def _describe_pairs(medians: Medians, name: str, peer: str) -> str:
    """The paired difference over splits, its mean and its standard deviation."""
    gain = medians.values(name, BUNDLE, "spearman") - medians.values(name, peer, "spearman")
    spread = gain.std(ddof=1) if len(gain) > 1 else float("nan")
    return f"bundle - {peer}: {gain.mean():+.4f} ± {spread:.4f} over {len(gain)} splits"


def _sway(medians: Medians, name: str) -> float:
    """How far a constant's mean error is from 0 over splits: the difference of two draws' means."""
    return float(np.abs(medians.values(name, "constant", "error")).mean())


def show_ranks(medians: Medians, sizes: Mapping[str, str]) -> list[str]:
    """A table of Spearman's correlations, one line a set, and by how much the bundle is ahead of the best peer."""
    models = [name for name in (*PEERS, *OURS) if name != "constant"]
    head = ["data", "train + val x numbers", *models, "bundle - best peer", "the bundle is"]
    lines = [_join(head), _join(["---"] * len(head))]
    for name in medians.sets:
        peer = medians.best_peer(name, "spearman")
        gain = medians.values(name, BUNDLE, "spearman") - medians.values(name, peer, "spearman")
        spread = gain.std(ddof=1) if len(gain) > 1 else float("nan")
        cells = [f"{medians.median(name, model, 'spearman'):.3f}" for model in models]
        lines.append(
            _join([name, sizes.get(name, ""), *cells, f"{gain.mean():+.3f} ± {spread:.3f}", medians.note(name, BUNDLE)])
        )
    return lines


def show_errors(medians: Medians, sizes: Mapping[str, str]) -> list[str]:
    """A table of mean squared errors in thousandths, mean errors, and seconds."""
    models = [*PEERS, *OURS]
    times = {"seconds: SVR": "SVR", "paper": PAPER, "selection": SELECTION, "bundle in all": BUNDLE}
    head = ["data", *models, "constant's mean error", "bundle's", *times]
    lines = [_join(head), _join(["---"] * len(head))]
    for name in medians.sets:
        cells = [f"{1000 * medians.median(name, model, 'mse'):.2f}" for model in models]
        errors = [f"{medians.median(name, model, 'error'):+.4f}" for model in ("constant", BUNDLE)]
        seconds = [f"{medians.median(name, model, 'seconds'):.0f}" for model in times.values()]
        lines.append(_join([name, *cells, *errors, *seconds]))
    return lines


def _join(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |".replace("nan", "-")


def show_goals(medians: Medians) -> list[str]:
    """One line for each goal that was missed, and how many of each kind were hit."""
    goals = [goal for name in medians.sets for goal in check_goals(medians, name)]
    lines = [f"missed: {g.set}: {g.name}: {g.detail}" for g in goals if not g.is_hit]
    for kind in dict.fromkeys(goal.name for goal in goals):
        of_kind = [goal for goal in goals if goal.name == kind]
        lines.append(f"{kind}: {sum(g.is_hit for g in of_kind)} of {len(of_kind)} sets")
    ahead = [n for n in medians.sets if _is_ahead(medians, n)]
    return [*lines, f"ranks better than every peer on {len(ahead)} of {len(medians.sets)} sets: {', '.join(ahead)}"]


def _is_ahead(medians: Medians, name: str) -> bool:
    best = medians.median(name, medians.best_peer(name, "spearman"), "spearman")
    return medians.median(name, BUNDLE, "spearman") > best


def read_results(file: Path | None) -> list[Result]:
    if file is None or not file.exists():
        return []
    return [Result(**json.loads(line)) for line in file.read_text().splitlines()]


def run_set(name: str, load: Callable[[], Table], args: argparse.Namespace, done: list[Result]) -> str:
    """Run all models on a set's splits, those that stand in `done` apart; give its size in words."""
    known = {(r.set, r.split, r.model) for r in done}
    table = load()
    for split in range(args.splits):
        data = table.split(split)
        steps = ((PEERS, run_peers(name, split, data)), (OURS, run_ours(name, split, data, args.runs)))
        for models, results in steps:
            if all((name, split, model) in known for model in models):
                continue
            for result in results:
                done.append(result)
                if args.results is not None:
                    with args.results.open("a") as stream:
                        stream.write(json.dumps(asdict(result)) + "\n")
    return f"{len(data.train)} + {len(data.val)} x {table.rows.shape[1]}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--splits", type=int, default=5)
    parser.add_argument("--runs", type=int, default=4)
    parser.add_argument("--sets", nargs="*", help="names of the sets to run; none: all")
    parser.add_argument("--texts", type=Path, help="VADER's source package, whose sentences were rated")
    parser.add_argument("--results", type=Path, help="file to keep each number in, and to go on from")
    args = parser.parse_args()
    torch.set_num_threads(CORES)
    loaders = {**list_shipped(args.texts), **MADE}
    results, sizes = read_results(args.results), {}
    for name in args.sets or loaders:
        try:
            sizes[name] = run_set(name, loaders[name], args, results)
        except MissingPackageError as error:
            print(f"left out: {name}: {error}", flush=True)
            continue
        print_tables(Medians([r for r in results if r.set == name]), sizes)
    print(f"{platform.machine()}, {CORES} cores, {date.today()}; medians over {args.splits} splits, {args.runs} runs")
    print_tables(Medians([r for r in results if r.set in sizes]), sizes)


def print_tables(medians: Medians, sizes: Mapping[str, str]) -> None:
    ranks, errors = show_ranks(medians, sizes), show_errors(medians, sizes)
    print("\n".join(["", "Spearman", *ranks, "", "MSE x 1000", *errors, "", *show_goals(medians)]), flush=True)


if __name__ == "__main__":
    main()
