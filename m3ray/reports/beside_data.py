"""Several roots for one page: their names, and what each has to show there or why it has not."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from m3ray.errors import ConfigError, DamagedFileError
from m3ray.features.target import SCORE
from m3ray.reports.caution_section import read_cautions
from m3ray.reports.figure_sections import read_pairs
from m3ray.reports.figures import Distributions
from m3ray.reports.figures.predictions import describe_ensemble
from m3ray.reports.study_files import STUDY, StudyFiles, read_study
from m3ray.reports.study_section import build_study_headline, build_tables, fill_cells, is_untrained
from m3ray.reports.tables.targets import name_in_words
from m3ray.storage.dataset_record import DEMO, TITLES, DatasetRecord
from m3ray.storage.filesystems import is_local
from m3ray.storage.root import Root
from m3ray.storage.root_record import read_record
from m3ray.storage.tier_index import read_tier_index

# Kinds of data sets that are names of one; a folder or a table is known by its root's name.
_NAMES = {**TITLES, DEMO: "Demo"}


@dataclass(frozen=True)
class DataSet:
    """One root of several.

    Args:
        name: its name on the page, unlike the others'.
        root: the root.
        study: its study; None where it has none.
        untrained: whether any of its tiers came from untrained weights.
        long_term: whether its scores are long-term ones.
        own_page: address of its own report from the page's folder; empty where there is none.
    """

    name: str
    root: Root
    study: StudyFiles | None
    untrained: bool
    long_term: bool
    own_page: str = ""

    @property
    def panel(self) -> str:
        """Title of a panel whose numbers depend on networks' weights."""
        return f"{self.name} (untrained weights)" if self.untrained else self.name

    @property
    def score_in_words(self) -> str:
        """What its catalogue calls score."""
        return "long-term scores" if self.long_term else "scores"

    @property
    def target_in_words(self) -> str:
        """What its study predicts; empty without one."""
        if self.study is None:
            return ""
        target = self.study.ceilings.target
        return self.score_in_words if target == SCORE else name_in_words(target)

    @property
    def headline(self) -> dict[str, str] | None:
        """The full model's results; None without a study."""
        return None if self.study is None else build_study_headline(self.study)

    @cached_property
    def cautions(self) -> list[str]:
        """Sentences that its results are to be read with."""
        return read_cautions(self.root)

    @cached_property
    def tables(self) -> list[dict[str, Any]]:
        """Its tables as the template takes them."""
        if self.study is None:
            return []
        tables = list(build_tables(self.root, self.study))
        return [fill_cells(t) | {"untrained": is_untrained(t, untrained=self.untrained)} for t in tables]

    @property
    def missing(self) -> list[str]:
        """What it lacks."""
        return [] if self.study is not None else [f"{_NO_STUDY}."]

    def read_curves(self, target: str) -> pd.DataFrame | str:
        """Read its part of Figure 2.

        Args:
            target: what the figure's studies predict, in words.
        Returns:
            Rows of its `runs.parquet`, or why there are none.
        """
        study = self._check_study(target)
        return study if isinstance(study, str) else study.drawn_runs

    def read_distributions(self, target: str) -> Distributions | str:
        """Read its part of Figure 7.

        Args:
            target: what the figure's studies predict, in words.
        Returns:
            Truth and predictions of its full model, or why there are none.
        """
        study = self._check_study(target)
        if isinstance(study, str):
            return study
        own, ceiling = study.own_predictions, study.ceilings.of("val").spearman
        truth, score = own["truth"].to_numpy(), own["score"].to_numpy()
        return Distributions(own, describe_ensemble(truth, score, ceiling, study.table_rho, study.weighing))

    def read_pairs(self, score: str) -> pd.DataFrame | str:
        """Read its part of Figure 6.

        Args:
            score: what the figure's catalogues call score, in words.
        Returns:
            A column a feature and the score, or why there are none.
        """
        return read_pairs(self.root) if self.score_in_words == score else _differ(self.score_in_words, score)

    def _check_study(self, target: str) -> StudyFiles | str:
        if self.study is None:
            return _NO_STUDY
        return self.study if self.target_in_words == target else _differ(self.target_in_words, target)


_NO_STUDY = "no study: m3ray ablate or m3ray reproduce makes one"


def _differ(own: str, others: str) -> str:
    return f"other numbers: {own} here, {others} beside it"


def read_data_sets(roots: Sequence[Root]) -> list[DataSet]:
    """Read what several roots have for one page, which stands in the first one's report.

    Args:
        roots: the roots, different ones.
    Returns:
        A data set a root.
    """
    records = [_read_record(root) for root in roots]
    return [
        DataSet(
            name,
            root,
            read_study(root) if root.exists(*STUDY, "trials.parquet") else None,
            any(entry.untrained for entry in read_tier_index(root).values()),
            record is not None and record.settings.get("target") == "long",
            _find_own_page(root, roots[0]),
        )
        for name, root, record in zip(name_roots(roots, records), roots, records, strict=True)
    ]


def _read_record(root: Root) -> DatasetRecord | None:
    """A root's record; None where it cannot be read, since a title must not end a report."""
    with suppress(ConfigError, DamagedFileError):
        return read_record(root)
    return None


def name_roots(roots: Sequence[Root], records: Sequence[DatasetRecord | None]) -> list[str]:
    """Name each root by its data set, or by its folder where that has no name or two are alike.

    Args:
        roots: the roots, different ones.
        records: the record of each.
    Returns:
        Names, no two alike.
    """
    folders = [root.uri.rstrip("/").rpartition("/")[2] or root.uri for root in roots]
    sets = [_NAMES.get(record.dataset or "") if record else None for record in records]
    names = [name or folder for name, folder in zip(sets, folders, strict=True)]
    for further in (folders, [root.uri for root in roots]):
        counts = Counter(names)
        names = [name if counts[name] == 1 else other for name, other in zip(names, further, strict=True)]
    return names


def _find_own_page(root: Root, first: Root) -> str:
    if not root.exists("report", "index.html"):
        return ""
    if is_local(root.uri) and is_local(first.uri):
        return Path(os.path.relpath(root.path("report", "index.html"), first.path("report"))).as_posix()
    return root.display("report", "index.html")
