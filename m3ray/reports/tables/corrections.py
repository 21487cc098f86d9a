"""Holm's correction within each table: the star of a difference is that of the corrected probability."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from m3ray.study.differences import order_rows, read_difference
from m3ray.study.statistics import ALPHA, correct_family
from m3ray.study.variants import M3_NAME, find_plain_name

CORRECTED = "corrected_p"
LEAST_RUNS = 3
"""Runs below which a difference earns no star.

A correction looks far into the tail of a distribution, and two runs, one degree of freedom, say too little of how runs
vary for that: where runs make up most of the variance, up to a third of the tables had a false star
(benchmarks/statistics.py).
"""


def correct_table(trials: pd.DataFrame, names: Sequence[str]) -> dict[str, float]:
    """Correct the probabilities of a table's differences in rank correlation on val.

    Differences of fewer than three runs count among the table's, and have no corrected probability.

    Args:
        trials: the study's `trials.parquet`.
        names: names of the table's variants.
    Returns:
        Variant to its corrected probability; not a number where there is none.
    """
    rows = order_rows(trials, list(dict.fromkeys(names)))
    return dict(zip(rows["variant"], correct_rows(rows.to_dict("records")), strict=True))


def correct_rows(rows: Sequence[Mapping[Any, Any]]) -> np.ndarray:
    """Correct the probabilities of the differences of some rows together.

    Args:
        rows: rows of `trials.parquet`, K.
    Returns:
        Corrected probabilities, (K,); not a number where there is none, or there are too few runs.
    """
    corrected = correct_family([read_difference(row) for row in rows])
    return np.where([_count_runs(row) < LEAST_RUNS for row in rows], np.nan, corrected)


def _count_runs(row: Mapping[Any, Any]) -> float:
    """Number of runs of a row's difference; of a table that did not note it, as many as need be."""
    runs = row.get("delta_runs")
    return LEAST_RUNS if runs is None or pd.isna(runs) else float(runs)


def list_compared(number: int, names: Sequence[str], own: str | None, plain: str = M3_NAME) -> list[str]:
    """Names of the variants whose differences a table shows.

    Args:
        number: number of the table.
        names: names of its variants.
        own: name of the measure that the full model uses; None where it uses none.
        plain: name of the full model without similarity.
    Returns:
        The names; Table 4 shows the full model's own measure as M3's difference turned round.
    """
    return [*names, plain] if number == 4 and own is not None else list(names)


def correct_tables(
    trials: pd.DataFrame, tables: Mapping[int, Sequence[str]], own: str | None
) -> dict[int, dict[str, float]]:
    """Correct the probabilities of every table.

    Args:
        trials: the study's `trials.parquet`.
        tables: table number to the names of its variants.
        own: name of the measure that the full model uses; None where it uses none.
    Returns:
        Table number to variant to corrected probability.
    """
    plain = find_plain_name(set(trials["variant"]))
    return {n: correct_table(trials, list_compared(n, names, own, plain)) for n, names in tables.items()}


def has_star(corrected: float) -> bool:
    """Whether a corrected probability earns a star; not a number earns none."""
    return bool(corrected < ALPHA)
