"""The numbers of a model card: how good a bundle is on clips that did not train it, with intervals over clips."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy

from m3ray.model.metrics import spearman
from m3ray.scoring.bundle import Bundle
from m3ray.scoring.calibration import VAL
from m3ray.scoring.intervals import COVERAGE, FEWEST, cross_validate_intervals
from m3ray.study.cautions import FEWEST_VAL_CLIPS
from m3ray.study.cross_dataset import spearman_confidence_interval
from m3ray.study.statistics import LEAST_CLIPS

_TAIL = 0.025


@dataclass(frozen=True)
class Measured:
    """A number of a model card.

    Args:
        metric: `rho`, `MSE`, `MAE` or `mean error`.
        where: which clips it is of, such as `val`.
        value: the number; None: undefined.
        low: lower end of its 95 % interval over clips; None: unknown.
        high: upper end of it.
        clips: number of clips; None: unknown.
    """

    metric: str
    where: str
    value: float | None
    low: float | None = None
    high: float | None = None
    clips: int | None = None

    @property
    def is_of_few(self) -> bool:
        """Whether it comes from so few clips that a study warns of them: it tells next to nothing."""
        return self.clips is not None and self.clips < FEWEST_VAL_CLIPS


def measure_bundle(bundle: Bundle) -> list[Measured]:
    """Collect what is known of how good a bundle is.

    Args:
        bundle: the bundle.
    Returns:
        The numbers of test, of val, and of the train split out of fold, as far as they are known.
    """
    trained, data = bundle.metadata.trained_on or {}, bundle.metadata.data or {}
    on_val = {name.removeprefix("val_"): value for name, value in trained.items() if name.startswith("val_")}
    rows = _list_recorded("test", data.get("on_test") or {}, data.get("test"))
    rows += _list_recorded("val", on_val, on_val.pop("clips", None))
    if bundle.calibration is None:
        return rows
    scores, truth = bundle.calibration.astype(np.float64)
    source = bundle.metadata.calibrated_on or VAL
    if source != VAL:
        return [*rows, *_measure_pairs(source, scores, truth)]
    own = {row.metric: row for row in _measure_pairs(VAL, scores, truth)}
    # Weighted numbers, of a study with weights, are not those of the plain pairs, and have no interval of theirs.
    return [_add_interval(row, own) for row in rows] + [own["MAE"]]


def _list_recorded(where: str, found: Mapping[str, Any], clips: float | None) -> list[Measured]:
    count = None if clips is None else int(clips)
    rows = []
    if "spearman" in found:
        rows.append(_measure_rho(where, found["spearman"], count))
    names = {"mse": "MSE", "mean_error": "mean error"}
    return rows + [Measured(text, where, found[name], clips=count) for name, text in names.items() if name in found]


def _measure_rho(where: str, rho: float | None, clips: int | None) -> Measured:
    if rho is None or clips is None or clips < LEAST_CLIPS:
        return Measured("rho", where, rho, clips=clips)
    return Measured("rho", where, rho, *spearman_confidence_interval(rho, clips), clips)


def _measure_pairs(where: str, scores: np.ndarray, truth: np.ndarray) -> list[Measured]:
    rho, errors = float(spearman(scores, truth)), scores - truth
    return [
        _measure_rho(where, rho if math.isfinite(rho) else None, len(errors)),
        _measure_mean("MSE", where, errors**2),
        _measure_mean("mean error", where, errors),
        _measure_mean("MAE", where, np.abs(errors)),
    ]


def _measure_mean(metric: str, where: str, values: np.ndarray) -> Measured:
    """A mean over clips, with Student's interval."""
    count, mean = len(values), float(values.mean())
    if count < LEAST_CLIPS:
        return Measured(metric, where, mean, clips=count)
    margin = float(scipy.stats.t.ppf(1 - _TAIL, count - 1) * values.std(ddof=1) / math.sqrt(count))
    return Measured(metric, where, mean, mean - margin, mean + margin, count)


def _add_interval(row: Measured, own: Mapping[str, Measured]) -> Measured:
    found = own.get(row.metric)
    if row.where != VAL or row.value is None or found is None or found.value is None:
        return row
    return found if math.isclose(row.value, found.value, rel_tol=1e-4, abs_tol=1e-6) else row


def measure_coverage(bundle: Bundle) -> Measured | None:
    """Measure how many true scores lie in the bundle's 90 % intervals, by cross-validation.

    Args:
        bundle: the bundle.
    Returns:
        The share of the clips that the intervals are calibrated on, each judged by a rule of the others, with the
        Clopper and Pearson interval; None where the clips are unknown or fewer than 30.
    """
    if bundle.calibration is None or bundle.calibration.shape[1] < FEWEST:
        return None
    covered = cross_validate_intervals(*bundle.calibration.astype(np.float64))
    hits, count = int(covered.sum()), len(covered)
    low = float(scipy.stats.beta.ppf(_TAIL, hits, count - hits + 1)) if hits else 0.0
    high = float(scipy.stats.beta.ppf(1 - _TAIL, hits + 1, count - hits)) if hits < count else 1.0
    where = bundle.metadata.calibrated_on or VAL
    return Measured(f"coverage of {COVERAGE:.0%} intervals", where, hits / count, low, high, count)
