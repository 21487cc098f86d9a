"""How bundles do on data sets: the table of generalisation, trained on (rows) by judged on (columns)."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass

import numpy as np
import pandas as pd

from m3ray.model.metrics import METRICS


@dataclass(frozen=True)
class Judged:
    """One bundle on one data set.

    Args:
        trained_on: the bundle's root, or the bundle.
        judged_on: the root.
        split: `test`, or `val` where no clip of `test` has a score.
        own: whether the bundle was trained on this root.
        clips: judged.
        spearman: rank correlation; None where it is undefined.
        low: of its 95 % interval.
        high: likewise.
        mse: mean squared error.
        untrained: whether the bundle's features came from random weights.
    """

    trained_on: str
    judged_on: str
    split: str
    own: bool
    clips: int
    spearman: float | None
    low: float | None
    high: float | None
    mse: float
    untrained: bool = False


def judge(trained_on: str, judged_on: str, split: str, own: bool, predictions: np.ndarray, truth: np.ndarray) -> Judged:
    """Metrics of predictions, (N,), against scores, (N,)."""
    rho = float(METRICS["spearman"](predictions[None], truth)[0])
    mse = float(METRICS["mse"](predictions[None], truth)[0])
    if not math.isfinite(rho):
        return Judged(trained_on, judged_on, split, own, len(truth), None, None, None, mse)
    low, high = spearman_interval(rho, len(truth))
    return Judged(trained_on, judged_on, split, own, len(truth), rho, low, high, mse)


def spearman_interval(rho: float, clips: int) -> tuple[float, float]:
    """95 % interval of a rank correlation: Fisher's z with the variance of Bonett and Wright (2000)."""
    if clips < 5:
        return -1.0, 1.0
    centre = math.atanh(max(-1 + 1e-12, min(1 - 1e-12, rho)))
    half = 1.959964 * math.sqrt((1 + rho**2 / 2) / (clips - 3))
    return math.tanh(centre - half), math.tanh(centre + half)


def table(found: list[Judged]) -> pd.DataFrame:
    """A row a bundle and data set."""
    return pd.DataFrame([asdict(row) for row in found])


def as_markdown(found: list[Judged]) -> str:
    """Bundles by data sets; what a bundle was trained on is in italics."""
    columns = list(dict.fromkeys(row.judged_on for row in found))
    cells = {(row.trained_on, row.judged_on): _cell(row) for row in found}
    lines = [f"| trained on | {' | '.join(f'on {name}' for name in columns)} |", "|---" * (len(columns) + 1) + "|"]
    for name in dict.fromkeys(row.trained_on for row in found):
        lines.append(f"| {name} | " + " | ".join(cells.get((name, column), "") for column in columns) + " |")
    random = dict.fromkeys(row.trained_on for row in found if row.untrained)
    if random:
        lines += ["", f"UNTRAINED weights made the features of {', '.join(random)}: for trials alone."]
    return "\n".join(lines) + "\n"


def _cell(row: Judged) -> str:
    if row.spearman is None:
        return f"undefined ({row.clips} {row.split} clips)"
    text = f"{row.spearman:.3f} [{row.low:.3f}, {row.high:.3f}], MSE {row.mse:.4f}, {row.clips} {row.split} clips"
    return f"*{text}*" if row.own else text
