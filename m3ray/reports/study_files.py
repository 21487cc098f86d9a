"""The files of a root's study as its tables and figures need them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd

from m3ray.config import from_json
from m3ray.storage.root import Root
from m3ray.study.caution_sources import is_weighted
from m3ray.study.ceiling import StudyCeilings, read_ceilings
from m3ray.study.regressor_results import NO_EPOCH
from m3ray.study.table_list import TableList, read_table_list
from m3ray.study.variants import Variant

STUDY = ("study", "ablation")


@dataclass(frozen=True)
class StudyFiles:
    """A study, read.

    Args:
        trials: a row a variant.
        runs: a row a run and epoch of each variant that is trained by epochs; of pretrained scorers a row a run, whose
            epoch is `NO_EPOCH`.
        predictions: a row a val clip of each variant.
        tables: which variants each table shows.
        config: content of `config.json`.
        ceilings: ceilings of its scores.
    """

    trials: pd.DataFrame
    runs: pd.DataFrame
    predictions: pd.DataFrame
    tables: TableList
    config: Mapping[str, Any]
    ceilings: StudyCeilings

    @property
    def full(self) -> str:
        """Name of the full model."""
        return self.tables.measures.full

    @property
    def row(self) -> pd.Series:
        """Row of the full model."""
        return self.trials.set_index("variant").loc[self.full]

    @property
    def own_predictions(self) -> pd.DataFrame:
        """Predictions of the full model."""
        return self.predictions[self.predictions["variant"] == self.full]

    @property
    def finetuned(self) -> set[str]:
        """Names of the variants whose networks were trained too."""
        variants = [from_json(Variant, variant) for variant in self.config["variants"]]
        return {variant.name for variant in variants if variant.kind == "finetuned"}

    @property
    def pretrained(self) -> list[dict[str, Any]]:
        """The pretrained scorers among the variants, as `config.json` holds them."""
        return [variant for variant in self.config["variants"] if variant.get("pretrained")]

    @property
    def drawn_runs(self) -> pd.DataFrame:
        """Runs of the variants that Figure 2 draws: Table 3's and the finetuned one; all where there is no Table 3."""
        rows = self.tables.variants
        if 3 not in rows:
            return self.runs
        names = [*rows[3], *(name for name in rows.get(2, ()) if name in self.finetuned)]
        return self.runs[self.runs["variant"].isin(names)]

    @property
    def table_rho(self) -> float | None:
        """Rank correlation of the full model's ensemble, weighed; None where all clips weigh the same, or unknown."""
        rho = self.row.get("ensemble_spearman") if is_weighted(self.tables) else None
        return None if rho is None or pd.isna(rho) else float(rho)

    @property
    def weighing(self) -> str:
        """How the rho of Figure 7 counts clips, for behind the word `ensemble`; empty where all weigh the same."""
        if not is_weighted(self.tables):
            return ""
        return ", every clip counted once" if self.table_rho is None else ", clips weighed by their viewers"


def read_study(root: Root) -> StudyFiles:
    """Read the study of a root.

    Args:
        root: root that holds one.
    Returns:
        Its files.
    """
    trials, runs, predictions = (
        root.read_table(*STUDY, f"{name}.parquet").to_pandas() for name in ("trials", "runs", "predictions")
    )
    tables, ceilings = read_table_list(root, STUDY), read_ceilings(root, STUDY)
    study = StudyFiles(trials, runs, predictions, tables, root.read_json(*STUDY, "config.json"), ceilings)
    levels = runs["variant"].isin([variant["name"] for variant in study.pretrained])
    return replace(study, runs=runs[(runs["epoch"] != NO_EPOCH) | levels])
