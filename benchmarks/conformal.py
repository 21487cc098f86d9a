"""Conformal intervals: coverage by tenth of the prediction, simulated; the peer is the plain rule, one width for all.

Scores as of clips: most between 0.6 and 0.95. `even`: the same normal error everywhere. `skewed`: beta-distributed,
the lower the prediction the wider, with a long tail below. `fan`: gamma-distributed errors, up to five times as wide at
the low end as at the high one. `bow`: too timid a model, its errors widest in the middle. `piled`: as `bow`, with many
true scores at 1. Each number is the mean over draws of calibration clips; coverage is that of 4,000 new clips a draw.

    python benchmarks/conformal.py [--draws 100]
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from m3ray.scoring.intervals import IntervalRule, fit_intervals, fit_plain_intervals

CLIPS = (50, 100, 300, 1500)
NEW_CLIPS = 4000
Draw = Callable[[int, np.random.Generator], tuple[np.ndarray, np.ndarray]]
Fit = Callable[[np.ndarray, np.ndarray], IntervalRule]


def draw_even(clips: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    scores = 0.45 + 0.4 * rng.beta(4, 2.2, clips)
    return scores, np.clip(scores + 0.08 * rng.standard_normal(clips), 0, 1)


def draw_skewed(clips: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    place = rng.beta(4, 2.2, clips)
    scores = 0.5 + 0.45 * place
    mean, concentration = 0.12 + 0.85 * scores, 6 + 70 * place**2
    return scores, rng.beta(mean * concentration, (1 - mean) * concentration)


def draw_fan(clips: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    place = rng.beta(4, 2.2, clips)
    scores = 0.5 + 0.45 * place
    errors = (0.03 + 0.12 * (1 - place)) * (rng.gamma(2, 1, clips) - 2) / np.sqrt(2)
    return scores, np.clip(scores - errors, 0, 1)


def draw_bow(clips: int, rng: np.random.Generator, lowest: float = 0.4) -> tuple[np.ndarray, np.ndarray]:
    place = rng.beta(4, 2.2, clips)
    scores = lowest + 0.45 * place
    errors = (0.03 + 0.25 * place * (1 - place)) * rng.standard_normal(clips)
    return scores, np.clip(scores + 0.15 * (place - 0.6) ** 2 + errors, 0, 1)


def draw_piled(clips: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    return draw_bow(clips, rng, lowest=0.5)


DRAWS: dict[str, Draw] = {
    "even": draw_even,
    "skewed": draw_skewed,
    "fan": draw_fan,
    "bow": draw_bow,
    "piled": draw_piled,
}


def fit_plain(scores: np.ndarray, truth: np.ndarray) -> IntervalRule:
    return fit_plain_intervals(truth - scores)


@dataclass(frozen=True)
class Coverage:
    """Coverage in all and by tenth of the prediction, (10,), from the lowest; mean width of the intervals."""

    whole: float
    tenths: np.ndarray
    width: float


def simulate(draw: Draw, fit: Fit, clips: int, draws: int, seed: int = 0) -> Coverage:
    """Calibrate on `clips` clips and measure on new ones, `draws` times."""
    tenths, widths = [], []
    for k in range(draws):
        rng = np.random.default_rng([seed, k, clips])
        rule = fit(*draw(clips, rng))
        scores, truth = draw(NEW_CLIPS, rng)
        low, high = (np.clip(ends, 0, 1) for ends in rule(scores))
        covered = (low <= truth) & (truth <= high)
        order = np.argsort(scores, kind="stable")
        tenths.append([covered[rows].mean() for rows in np.array_split(order, 10)])
        widths.append((high - low).mean())
    mean = np.mean(tenths, axis=0)
    return Coverage(float(mean.mean()), mean, float(np.mean(widths)))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--draws", type=int, default=100)
    draws = parser.parse_args().draws
    print(f"90 % intervals, {draws} draws; coverage on {NEW_CLIPS:,} new clips; goal by tenth 0.87 to 0.93")
    print("| scores | clips | rule | all | lowest tenth | worst tenths, from and to | mean width |")
    print("|---|---|---|---|---|---|---|")
    for name, draw in DRAWS.items():
        for clips in CLIPS:
            for rule, fit in (("adaptive", fit_intervals), ("plain", fit_plain)):
                got = simulate(draw, fit, clips, max(10, draws * 100 // clips) if clips > 300 else draws)
                span = f"{got.tenths.min():.3f} to {got.tenths.max():.3f}"
                numbers = f"{got.whole:.3f} | {got.tenths[0]:.3f} | {span} | {got.width:.3f}"
                print(f"| {name} | {clips:,} | {rule} | {numbers} |", flush=True)


if __name__ == "__main__":
    main()
