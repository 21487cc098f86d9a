"""Evaluation of bundles across data sets: what each was trained on (rows) by what it is evaluated on (columns)."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from m3ray.config.serialization import as_json, json_key
from m3ray.model.metrics import METRICS


@dataclass(frozen=True)
class Evaluation:
    """Evaluation of one bundle on one data set.

    Args:
        trained_on: Name of the bundle's root, or of the bundle.
        evaluated_on: Name of the root whose clips are scored.
        split: `test`, or `val` where no clip of `test` has a score.
        own: Whether the bundle was trained on this root.
        clips: Number of clips scored.
        spearman: Spearman's rank correlation; None where it is undefined.
        low: Lower end of its 95 % confidence interval; None where the correlation is undefined.
        high: Upper end of its 95 % confidence interval; None where the correlation is undefined.
        mse: Mean squared error.
        untrained: Whether the bundle's features came from random weights.
    """

    trained_on: str
    evaluated_on: str = field(metadata=json_key("judged_on"))
    split: str
    own: bool
    clips: int
    spearman: float | None
    low: float | None
    high: float | None
    mse: float
    untrained: bool = False


def evaluate_predictions(
    trained_on: str, evaluated_on: str, split: str, own: bool, predictions: np.ndarray, truth: np.ndarray
) -> Evaluation:
    """Compare predictions with scores.

    Args:
        trained_on: Name of the bundle's root, or of the bundle.
        evaluated_on: Name of the root whose clips are scored.
        split: Split of the clips, `test` or `val`.
        own: Whether the bundle was trained on this root.
        predictions: Predicted scores, (N,).
        truth: Scores, (N,).
    Returns:
        The metrics, the correlation with its confidence interval.
    """
    rho = float(METRICS["spearman"](predictions[None], truth)[0])
    mse = float(METRICS["mse"](predictions[None], truth)[0])
    if not math.isfinite(rho):
        return Evaluation(trained_on, evaluated_on, split, own, len(truth), None, None, None, mse)
    low, high = spearman_confidence_interval(rho, len(truth))
    return Evaluation(trained_on, evaluated_on, split, own, len(truth), rho, low, high, mse)


def spearman_confidence_interval(rho: float, clips: int) -> tuple[float, float]:
    """95 % confidence interval of a rank correlation: Fisher's z with the variance of Bonett and Wright (2000).

    Args:
        rho: Spearman's rank correlation, -1 to 1.
        clips: Number of clips.
    Returns:
        Lower and upper end; -1 and 1 for fewer than 5 clips.
    """
    if clips < 5:
        return -1.0, 1.0
    centre = math.atanh(max(-1 + 1e-12, min(1 - 1e-12, rho)))
    # z +- 1.96 sqrt((1 + rho^2 / 2) / (n - 3)), z = atanh(rho)
    margin = 1.959964 * math.sqrt((1 + rho**2 / 2) / (clips - 3))
    return math.tanh(centre - margin), math.tanh(centre + margin)


def evaluation_table(evaluations: list[Evaluation]) -> pd.DataFrame:
    """Evaluations as a table.

    Args:
        evaluations: Evaluations of bundles on data sets.
    Returns:
        A row an evaluation, a column a field, `evaluated_on` by its earlier name `judged_on`.
    """
    return pd.DataFrame([as_json(evaluation) for evaluation in evaluations])


def as_markdown(evaluations: list[Evaluation]) -> str:
    """Evaluations as a Markdown table, bundles by data sets; what a bundle was trained on is in italics.

    Args:
        evaluations: Evaluations of bundles on data sets.
    Returns:
        The table, with a line on untrained weights where there are some.
    """
    columns = list(dict.fromkeys(row.evaluated_on for row in evaluations))
    cells = {(row.trained_on, row.evaluated_on): _cell(row) for row in evaluations}
    lines = [f"| trained on | {' | '.join(f'on {name}' for name in columns)} |", "|---" * (len(columns) + 1) + "|"]
    for name in dict.fromkeys(row.trained_on for row in evaluations):
        lines.append(f"| {name} | " + " | ".join(cells.get((name, column), "") for column in columns) + " |")
    random = dict.fromkeys(row.trained_on for row in evaluations if row.untrained)
    if random:
        lines += ["", f"UNTRAINED weights made the features of {', '.join(random)}: for trials alone."]
    return "\n".join(lines) + "\n"


def _cell(row: Evaluation) -> str:
    if row.spearman is None:
        return f"undefined ({row.clips} {row.split} clips)"
    text = f"{row.spearman:.3f} [{row.low:.3f}, {row.high:.3f}], MSE {row.mse:.4f}, {row.clips} {row.split} clips"
    return f"*{text}*" if row.own else text
