"""The headline of the page: how good the full model is, and how good a model could be at all."""

from __future__ import annotations

import pandas as pd

from m3ray.features.target import SCORE
from m3ray.reports.tables.targets import name_in_words
from m3ray.study.ceiling import StudyCeilings, describe_halves
from m3ray.study.cross_dataset import spearman_confidence_interval
from m3ray.study.reliability import Ceiling, share_of_ceiling
from m3ray.study.statistics import LEAST_CLIPS


def build_headline(
    row: pd.Series, name: str, clips: int, ceilings: StudyCeilings, *, reports_best: bool = False
) -> dict[str, str]:
    """Build the headline.

    Its interval and its share of the ceiling are those of the mean of the runs' predictions; those of the single
    runs' mean where an earlier version left no ensemble's.

    Args:
        row: The full model's row of `trials.parquet`.
        name: Its name.
        clips: Number of val clips.
        ceilings: Ceilings of the study's scores.
        reports_best: Whether the study reports each run's best epoch on val, and not the last.
    Returns:
        Name to text of each of its parts; empty where the template leaves a part out.
    """
    deviation = "" if pd.isna(row["spearman_std"]) else f" ± {row['spearman_std']:.4f}"
    undefined = pd.isna(row["spearman"])
    ensemble = row.get("ensemble_spearman")
    has_ensemble = ensemble is not None and not pd.isna(ensemble)
    rho = float(ensemble if has_ensemble else row["spearman"])
    low, high, no_interval = _find_interval(rho, clips)
    return {
        "name": name,
        "epoch": "each run's best epoch" if reports_best else "last epoch",
        "target": "" if ceilings.target == SCORE else name_in_words(ceilings.target),
        "rho": "undefined" if undefined else f"{row['spearman']:.4f}{deviation}",
        "ensemble": f"{ensemble:.4f}" if has_ensemble else "",
        "interval": "" if low is None else f"{low:.3f} to {high:.3f}",
        "interval_of": "the runs' mean" if has_ensemble else "the mean of single runs",
        "no_interval": no_interval,
        "clips": f"{clips:,}",
        "mse": "undefined" if pd.isna(row["mse"]) else _format_error(float(row["mse"])),
        "runs": f"{row['runs']}",
        "test": "" if pd.isna(row["test_spearman"]) else f"{row['test_spearman']:.4f}",
        "features": f"{row['features']:,}",
        "parameters": f"{row['parameters']:,}",
        "best": "undefined"
        if pd.isna(row["best_spearman"])
        else f"{row['best_spearman']:.4f}, epoch {row['best_epoch']}",
        **_describe_ceiling(rho, low, high, ceilings.of("val")),
    }


def _format_error(value: float) -> str:
    """Text of a squared error: of decay rates, which are of the order of 1e-4, it has no five decimals."""
    return f"{value:.5f}" if value == 0 or value >= 1e-4 else f"{value:.3g}"


def _find_interval(rho: float, clips: int) -> tuple[float | None, float | None, str]:
    """Ends of a rank correlation's interval over clips, and why it has none where it has none."""
    if pd.isna(rho):
        return None, None, ""
    if clips < LEAST_CLIPS:
        return None, None, f"{clips} val clips: no interval under {LEAST_CLIPS}"
    return *spearman_confidence_interval(rho, clips), ""


def _describe_ceiling(rho: float, low: float | None, high: float | None, ceiling: Ceiling) -> dict[str, str]:
    """Text of the ceiling, of the share of it that was reached, and of what it follows from."""
    share = share_of_ceiling(rho, low, high, ceiling)
    interval = "" if share.low is None else f" [{100 * share.low:.0f}, {100 * (share.high or 0):.0f}]"
    viewers = "" if ceiling.responses is None else f"{ceiling.responses:.0f}"
    return {
        "ceiling": "" if ceiling.spearman is None else f"{ceiling.spearman:.3f}",
        "share": "" if share.share is None else f"{100 * share.share:.0f}{interval} %",
        "reliability": "" if ceiling.reliability is None else f"{ceiling.reliability:.3f}",
        "halves": describe_halves(ceiling),
        "viewers": viewers,
        "left_out": f"{ceiling.left_out:,}" if ceiling.left_out else "",
        "no_ceiling": ceiling.reason,
    }
