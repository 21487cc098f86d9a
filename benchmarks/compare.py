"""Probabilities of `m3ray compare`: whether clips that are ahead with 80 % are so in 80 % of pairs.

Synthetic: scores and errors of benchmarks/conformal.py, of which the truth is known; each draw has calibration clips
and 2,000 new pairs. Real: tables that packages ship (benchmarks/tabular_shipped.py), an MLP of four runs trained on
60 % of the rows by the training code of m3ray, calibrated on 20 %, and pairs of the other 20 %, over splits. With
`--roots`, the test clips of those roots by a bundle of theirs. The peers: a normal distribution of errors, one width
for all; and 1 for the higher score.

    python benchmarks/compare.py [--draws 20] [--splits 5] [--roots ROOT ...] [--figure docs/compare.png]
"""

from __future__ import annotations

import argparse
import itertools
import platform
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import date
from functools import partial
from pathlib import Path

import numpy as np
import torch
from conformal import DRAWS, Draw
from scipy.stats import norm
from tabular_ours import train_mlp
from tabular_shipped import MissingPackageError, list_shipped
from tabular_table import Table

from m3ray.config import TrainConfig
from m3ray.features.dataset import StudyData
from m3ray.scoring.bundle import Bundle
from m3ray.scoring.comparison import fit_truth
from m3ray.scoring.open_bundle import open_bundle
from m3ray.scoring.score_root import score_clips
from m3ray.scoring.truth_model import TruthModel, compare_pairs, fit_truth_model
from m3ray.storage.catalogue_file import read_catalogue
from m3ray.storage.root import Root

PAIRS = 2_000
CLIPS = (30, 100, 300, 1500)
BINS = 10  # from 0.5 to 1
FEWEST = 100  # pairs in a bin that counts for the largest deviation
CORES = 2


@dataclass(frozen=True)
class Pairs:
    """Pairs of clips, the one with the higher score first.

    Args:
        ours: Our probability that the first one is ahead, (M,); of equal scores 0.5.
        normal: The same by normal errors of one width.
        won: 1 where its truth is higher, 0 where it is lower, 0.5 where they are equal, (M,).
    """

    ours: np.ndarray
    normal: np.ndarray
    won: np.ndarray

    @property
    def raw(self) -> np.ndarray:
        """Full trust in the order."""
        return np.ones(len(self.won))


def join(parts: Sequence[Pairs]) -> Pairs:
    return Pairs(*(np.concatenate([getattr(part, name) for part in parts]) for name in ("ours", "normal", "won")))


def make_pairs(
    model: TruthModel,
    width: float,
    scores: np.ndarray,
    truth: np.ndarray,
    spread: np.ndarray | None,
    pairs: tuple[np.ndarray, np.ndarray],
) -> Pairs:
    """Predict pairs of clips by both models.

    Args:
        model: Ours.
        width: Root mean square of the calibration errors.
        scores: Scores of new clips, (N,).
        truth: Their truth, (N,).
        spread: Their spread over runs, (N,); None: unknown.
        pairs: Rows of the first and of the second clips, (M,) each.
    """
    is_behind = scores[pairs[0]] < scores[pairs[1]]
    a, b = np.where(is_behind, pairs[1], pairs[0]), np.where(is_behind, pairs[0], pairs[1])
    values = [model.draw(scores[rows], None if spread is None else spread[rows]) for rows in (a, b)]
    ours = compare_pairs(*values)
    # The one that is ahead by our model comes first: that decides nothing in a tie.
    won = 0.5 + 0.5 * np.sign(truth[a] - truth[b])
    flipped = ours < 0.5
    normal = norm.cdf((scores[a] - scores[b]) / (width * np.sqrt(2)))
    return Pairs(
        np.where(flipped, 1 - ours, ours), np.where(flipped, 1 - normal, normal), np.where(flipped, 1 - won, won)
    )


@dataclass(frozen=True)
class Reliability:
    """Predicted and found shares by bin of the prediction.

    Args:
        counts: Pairs of each bin, (B,).
        predicted: Mean probability, (B,); not a number where a bin is empty.
        found: Share of pairs in which the first was ahead, (B,).
    """

    counts: np.ndarray
    predicted: np.ndarray
    found: np.ndarray

    @property
    def error(self) -> float:
        """Expected calibration error: the mean deviation, weighed by pairs."""
        return float(np.nansum(np.abs(self.predicted - self.found) * self.counts) / self.counts.sum())

    @property
    def largest(self) -> float:
        """The largest deviation of a bin of 100 pairs or more."""
        enough = self.counts >= FEWEST
        return float(np.abs(self.predicted - self.found)[enough].max()) if enough.any() else float("nan")


def measure(chance: np.ndarray, won: np.ndarray) -> Reliability:
    """Compare probabilities from 0.5 to 1 with what was found, in ten bins of one width."""
    place = np.clip(((chance - 0.5) * 2 * BINS).astype(int), 0, BINS - 1)
    counts = np.bincount(place, minlength=BINS)
    with np.errstate(invalid="ignore"):
        predicted, found = (np.bincount(place, weights=x, minlength=BINS) / counts for x in (chance, won))
    return Reliability(counts, predicted, found)


def find_floor(pairs: Pairs, size: int, rng: np.random.Generator, times: int = 200) -> tuple[float, float]:
    """What perfect probabilities like these would show on so many independent pairs: mean error, largest deviation."""
    drawn = [rng.choice(pairs.ours, min(size, len(pairs.ours))) for _ in range(times)]
    found = [measure(chance, (rng.random(len(chance)) < chance).astype(float)) for chance in drawn]
    return float(np.mean([f.error for f in found])), float(np.mean([f.largest for f in found]))


def simulate(draw: Draw, clips: int, draws: int) -> list[Pairs]:
    """New pairs of each draw of calibration clips; no clip is in two pairs."""
    parts = []
    for k in range(draws):
        rng = np.random.default_rng([7, k, clips])
        scores, truth = draw(clips, rng)
        model = fit_truth_model(scores, truth, None, (0, 1))
        assert model is not None
        new, new_truth = draw(2 * PAIRS, rng)
        rows = np.arange(2 * PAIRS)
        width = float(np.sqrt(np.mean((truth - scores) ** 2)))
        parts.append(make_pairs(model, width, new, new_truth, None, (rows[::2], rows[1::2])))
    return parts


def run_table(table: Table, splits: int, runs: int) -> list[Pairs]:
    """Pairs of held-out rows of a table, for each split."""
    parts = []
    for split in range(splits):
        data = replace(table, train=round(0.6 * len(table.rows))).split(split)
        trained = train_mlp(data, TrainConfig(), range(runs), CORES)
        outputs = data.target.from_unit(trained.val.astype(np.float64))
        parts.append(compare_held_out(data, outputs.mean(axis=0), outputs.std(axis=0, ddof=1), split))
    return parts


def run_shipped(load: Callable[[], Table], splits: int, runs: int) -> list[Pairs]:
    return run_table(load(), splits, runs)


def compare_held_out(data: StudyData, scores: np.ndarray, spread: np.ndarray, split: int) -> Pairs:
    """Calibrate on one half of the rows that trained nothing, and predict pairs of the other half."""
    rng = np.random.default_rng(split)
    truth = data.scores[data.val].astype(np.float64)
    calibration, test = np.array_split(rng.permutation(len(truth)), 2)
    model = fit_truth_model(scores[calibration], truth[calibration], spread[calibration], data.target.bounds)
    assert model is not None
    width = float(np.sqrt(np.mean((truth[calibration] - scores[calibration]) ** 2)))
    return make_pairs(model, width, scores[test], truth[test], spread[test], draw_pairs(len(test), rng))


def draw_pairs(clips: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """At most 2,000 of all pairs of clips."""
    every = (
        np.array(list(itertools.combinations(range(clips), 2))) if clips < 500 else rng.integers(clips, size=(9999, 2))
    )
    every = every[every[:, 0] != every[:, 1]]
    chosen = every[rng.permutation(len(every))[:PAIRS]]
    return chosen[:, 0], chosen[:, 1]


def run_root(uri: str) -> list[Pairs]:
    """Pairs of a root's test clips by its bundle `m3s`; of its val clips, on which it is calibrated, where none is."""
    root = Root(uri)
    bundle = open_bundle(root.display("models", "m3s"))
    model = fit_truth(bundle)
    if model is None or not isinstance(bundle, Bundle):
        raise SystemExit(f"{uri}: its bundle has too few clips to calibrate probabilities on")
    known = read_catalogue(root, ["clip_id", "split", "score"]).to_pandas().set_index("clip_id")
    frame = score_clips(bundle, root).join(known, on="clip_id", rsuffix="_true")
    frame = frame[(frame["split"] == "test") & frame["score_true"].notna()]
    if len(frame) < 20:
        raise SystemExit(f"{uri}: {len(frame)} scored test clips: 20 are the fewest")
    scores, truth, spread = (frame[name].to_numpy(float) for name in ("score", "score_true", "spread"))
    width = float(np.sqrt(np.mean(np.square(bundle.residuals))))
    return [make_pairs(model, width, scores, truth, spread, draw_pairs(len(frame), np.random.default_rng(0)))]


def list_real(splits: int, runs: int, roots: Sequence[str]) -> Iterator[tuple[str, Callable[[], list[Pairs]]]]:
    for name, load in list_shipped(None).items():
        yield name, partial(run_shipped, load, splits, runs)
    for root in roots:
        yield root, partial(run_root, root)


def describe(name: str, clips: str, pairs: Pairs, single: Sequence[Pairs], rng: np.random.Generator) -> str:
    """A row of the table."""
    cells = [name, clips, f"{len(pairs.won):,}"]
    for chance in (pairs.ours, pairs.normal, pairs.raw):
        found = measure(chance, pairs.won)
        cells += [f"{found.error:.3f}", f"{found.largest:.3f}"]
    one = [measure(part.ours, part.won) for part in single]
    floor = find_floor(pairs, len(single[0].won), rng)
    cells += [f"{np.mean([f.error for f in one]):.3f} ({floor[0]:.3f})"]
    cells += [f"{np.nanmean([f.largest for f in one]):.3f} ({floor[1]:.3f})"]
    return f"| {' | '.join(cells)} |"


HEAD = (
    "data",
    "calibration clips",
    "pairs",
    *("ours: error", "largest", "normal: error", "largest", "raw: error", "largest"),
    *("ours, one draw: error (perfect)", "largest (perfect)"),
)


def print_rows(rows: Iterator[tuple[str, str, list[Pairs]]]) -> dict[str, Pairs]:
    """Print a row a data set as it comes; give the pairs of all, joined."""
    rng, found = np.random.default_rng(1), {}
    print(f"| {' | '.join(HEAD)} |\n|{'---|' * len(HEAD)}")
    for name, clips, parts in rows:
        found[f"{name} {clips}"] = join(parts)
        print(describe(name, clips, found[f"{name} {clips}"], parts, rng), flush=True)
    return found


def list_synthetic(draws: int) -> Iterator[tuple[str, str, list[Pairs]]]:
    for name, draw in DRAWS.items():
        for clips in CLIPS:
            yield name, f"{clips:,}", simulate(draw, clips, draws)


def list_measured(args: argparse.Namespace) -> Iterator[tuple[str, str, list[Pairs]]]:
    for name, run in list_real(args.splits, args.runs, args.roots):
        if args.sets and name not in (*args.sets, *args.roots):
            continue
        try:
            yield name, "-", run()
        except MissingPackageError as error:
            print(f"left out: {name}: {error}", flush=True)


def draw_figure(panels: dict[str, Pairs], file: Path) -> None:
    """The reliability diagram: found against predicted, ours and the peer."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(1, len(panels), figsize=(4.2 * len(panels), 3.8), squeeze=False, layout="constrained")
    for axis, (title, pairs) in zip(axes[0], panels.items(), strict=True):
        axis.plot([0.5, 1], [0.5, 1], color="#888888", linewidth=1)
        axis.fill_between([0.5, 1], [0.47, 0.97], [0.53, 1.03], color="#888888", alpha=0.15, linewidth=0)
        for label, chance, colour, mark in (
            ("m3ray", pairs.ours, "#0072b2", "o"),
            ("normal errors", pairs.normal, "#d55e00", "^"),
        ):
            found = measure(chance, pairs.won)
            enough = found.counts >= FEWEST
            axis.plot(
                found.predicted[enough], found.found[enough], marker=mark, color=colour, label=label, markersize=5
            )
        axis.set(title=title, xlabel="predicted probability", ylabel="share of pairs in which it was so")
        axis.set(xlim=(0.5, 1), ylim=(0.45, 1.02))
        axis.legend(frameon=False, loc="upper left")
    figure.savefig(file, dpi=80)
    plt.close(figure)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--draws", type=int, default=20, help="draws of calibration clips, each with 2,000 new pairs")
    parser.add_argument("--splits", type=int, default=5)
    parser.add_argument("--runs", type=int, default=4)
    parser.add_argument("--sets", nargs="*", default=[], help="names of the shipped tables to run; none: all")
    parser.add_argument("--roots", nargs="*", default=[], help="roots with a bundle m3s and scored test clips")
    parser.add_argument("--figure", type=Path, help="file of the reliability diagram")
    args = parser.parse_args()
    torch.set_num_threads(CORES)
    begun = time.perf_counter()
    print(f"{platform.machine()}, {CORES} cores, {date.today()}; goal: error and largest deviation at most 0.03")
    synthetic = print_rows(list_synthetic(args.draws)) if args.draws else {}
    print()
    real = print_rows(list_measured(args))
    for name, group in (("synthetic", synthetic), ("real", real)):
        good = [k for k, pairs in group.items() if measure(pairs.ours, pairs.won).error <= 0.03]
        best = [k for k, pairs in group.items() if measure(pairs.ours, pairs.won).largest <= 0.03]
        print(f"{name}: error at most 0.03 in {len(good)} of {len(group)}, largest deviation in {len(best)}")
    if args.figure is not None:
        groups = {"synthetic pairs": synthetic, "pairs of shipped tables": real}
        draw_figure({name: join(list(g.values())) for name, g in groups.items() if g}, args.figure)
    print(f"{time.perf_counter() - begun:.0f} s")


if __name__ == "__main__":
    main()
