"""What variants reached in repeated splits: a result a variant and split, and their means in the study's table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd


@dataclass(frozen=True)
class FoldResult:
    """What a variant reached in one split: means over its runs after the last epoch.

    Args:
        variant: Name of the variant.
        fold: The fold that was val.
        train: Number of train clips.
        val: Number of val clips.
        spearman: Spearman's rank correlation on val; None where it is undefined.
        mse: Mean squared error on val; None where it is undefined.
        reason: Why it is undefined; None where it is not.
    """

    variant: str
    fold: int
    train: int
    val: int
    spearman: float | None = None
    mse: float | None = None
    reason: str | None = None

    def as_json(self) -> dict[str, Any]:
        """The result as JSON values; `FoldResult(**values)` is the result again."""
        return asdict(self)


_METRICS = ("spearman", "mse", "delta")


def add_splits(trials: pd.DataFrame, results: Sequence[FoldResult], folds: int) -> pd.DataFrame:
    """Add the mean over splits of each variant, its spread, and its difference to the full model.

    A variant that is undefined in one split has no mean over all of them: `splits_reason` says why.

    Args:
        trials: A row a variant.
        results: A result a variant and split.
        folds: Number of splits.
    Returns:
        The trials with `splits`, `splits_reason`, and `splits_spearman`, `splits_mse`, `splits_delta` with `_std`
        each, the standard deviation over splits; `splits_delta` is the difference in Spearman, split by split.
    """
    values = _tabulate(results, folds)
    reasons = _collect_reasons(results, folds)
    out = trials.copy()
    names, fulls = trials["variant"].tolist(), trials["full"].tolist()
    out["splits"] = pd.array([folds if name in values else None for name in names], dtype="Int64")
    absent = np.full((2, folds), np.nan)
    own = np.stack([values.get(name, absent) for name in names])
    full = np.stack([values.get(name, absent) for name in fulls])
    columns = {"spearman": own[:, 0], "mse": own[:, 1], "delta": own[:, 0] - full[:, 0]}
    for name in _METRICS:
        out[f"splits_{name}"] = columns[name].mean(axis=1)
        out[f"splits_{name}_std"] = columns[name].std(axis=1, ddof=1)
    why = [reasons.get(name, None if name in values else _NOT_TRAINED) for name in names]
    out["splits_reason"] = pd.Series(why, index=out.index, dtype=object)
    return out


_NOT_TRAINED = "not trained in these splits"


def _tabulate(results: Sequence[FoldResult], folds: int) -> dict[str, np.ndarray]:
    """Variant to Spearman and MSE of each split, (2, K)."""
    values: dict[str, np.ndarray] = {}
    for result in results:
        table = values.setdefault(result.variant, np.full((2, folds), np.nan))
        table[:, result.fold] = [np.nan if v is None else v for v in (result.spearman, result.mse)]
    return values


def _collect_reasons(results: Sequence[FoldResult], folds: int) -> dict[str, str]:
    """Variant to why it has no mean over all splits: the first reason, and how many splits have one."""
    reasons: dict[str, list[FoldResult]] = {}
    for result in results:
        if result.reason is not None:
            reasons.setdefault(result.variant, []).append(result)
    return {
        name: f"undefined in {len(found)} of {folds} splits; split {found[0].fold + 1}: {found[0].reason}"
        for name, found in reasons.items()
    }


def make_fold_frame(results: Sequence[FoldResult]) -> pd.DataFrame:
    """Content of `folds.parquet`.

    Args:
        results: A result a variant and split.
    Returns:
        `variant, fold, spearman, mse, train, val, reason`, a row a result.
    """
    names = ["variant", "fold", "spearman", "mse", "train", "val", "reason"]
    frame = pd.DataFrame([result.as_json() for result in results], columns=names, dtype=object)
    return frame.astype({"fold": int, "spearman": float, "mse": float, "train": int, "val": int})
