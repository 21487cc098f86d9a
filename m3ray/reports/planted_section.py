"""What was planted in the demo beside what its study found: Table 8 on the page, and its files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from m3ray.reports.page_content import Page
from m3ray.reports.study_files import STUDY, read_study
from m3ray.reports.study_section import fill_cells
from m3ray.reports.tables.corrections import correct_tables
from m3ray.reports.tables.latex import to_latex
from m3ray.reports.tables.markdown import to_markdown
from m3ray.reports.tables.study import probability_text
from m3ray.reports.tables.table import Table
from m3ray.storage.catalogue_file import has_catalogue, read_catalogue
from m3ray.storage.csv_writing import csv_bytes
from m3ray.storage.dataset_record import DEMO
from m3ray.storage.root import Root
from m3ray.storage.root_record import read_record
from m3ray.study.cautions import FEWEST_VAL_CLIPS
from m3ray.study.planted import PlantedRow, compare_planted, has_planted, known_ceiling, summarise_planted

NUMBER = 8
FILE = "planted"
FOLDER = ("report", "tables")
_DRAWN = "The clips and their scores are drawn, and the networks' weights are random: "


@dataclass(frozen=True)
class Planted:
    """What a demo's study found of what was planted.

    Args:
        rows: A row an effect.
        ceiling: Rank correlation on val of a model that knew every clip's probability; None where it is undefined, or
            of too few clips to say anything.
        rho: Rank correlation on val of the full model's mean prediction; None where it is undefined.
    """

    rows: Sequence[PlantedRow]
    ceiling: float | None
    rho: float | None

    @property
    def summary(self) -> str:
        """What was found, in a few sentences."""
        if self.ceiling is None or self.rho is None:
            return summarise_planted(self.rows)
        return (
            f"{summarise_planted(self.rows)} The rho of the runs' mean on val is {self.rho:.3f}, "
            f"{self.rho / self.ceiling:.0%} of the {self.ceiling:.3f} that knowing each clip's probability would give."
        )


def read_planted(root: Root) -> Planted | None:
    """Read what was planted in a demo and what its study found.

    Args:
        root: Root of the report.
    Returns:
        Both; None where the root is no demo that says what it drew, or has no study of the score.
    """
    record = read_record(root) if has_catalogue(root) else None
    if record is None or record.dataset != DEMO or not root.exists(*STUDY, "trials.parquet"):
        return None
    catalogue = read_catalogue(root)
    study = read_study(root)
    if not has_planted(catalogue.column_names) or study.ceilings.target != "score":
        return None
    clips = catalogue.to_pandas()
    corrected = correct_tables(study.trials, study.tables.variants, study.tables.measures.own)
    rho, count = study.row.get("ensemble_spearman"), len(study.own_predictions)
    return Planted(
        compare_planted(clips, study.trials, corrected, count),
        known_ceiling(clips) if count >= FEWEST_VAL_CLIPS else None,
        None if rho is None or pd.isna(rho) else float(rho),
    )


def add_planted(root: Root, page: Page) -> None:
    """Put what was planted and what was found on the page, and write its files; nothing for other data sets.

    Args:
        root: Root that the report is about.
        page: Page to fill.
    """
    planted = read_planted(root)
    if planted is None:
        for ending in ("md", "tex", "csv"):
            if root.exists(*FOLDER, f"{FILE}.{ending}"):
                root.delete(*FOLDER, f"{FILE}.{ending}")
        return
    table = build_planted_table(planted)
    for ending, text in (("md", to_markdown(table)), ("tex", to_latex(table))):
        root.write_bytes(text.encode(), *FOLDER, f"{FILE}.{ending}")
    root.write_bytes(csv_bytes(table.values), *FOLDER, f"{FILE}.csv")
    page.planted = {**fill_cells(table), "untrained": page.untrained}


def build_planted_table(planted: Planted) -> Table:
    """Build the table of what was planted and what was found.

    Args:
        planted: Both.
    Returns:
        A row an effect; its values have the same in numbers.
    """
    texts = [
        {
            "What is drawn": row.effect.name,
            "Planted": f"+{row.strength:.2f}" if row.is_planted else "no",
            "Share of the variance": f"{row.share:.0%}" if row.is_planted else "",
            "Looked for in": f"Table {row.effect.table}: {row.effect.row}",
            "Difference to full": _describe_difference(row),
            "Corrected p": "" if row.p is None else probability_text(row.p),
            "Verdict": row.verdict,
        }
        for row in planted.rows
    ]
    notes = (
        f"{_DRAWN}what can be shown is that the study finds what is there, and marks nothing that is not.",
        planted.summary,
        "Planted: what a clip with all of it has more in its probability to be recognised than one with none of it. "
        "Found: the row that leaves out what sees it ranks val worse, and its difference has a star (*), as its own "
        "table has it: after Holm's correction, p is below 0.05.",
        _explain_shares(planted.rows),
    )
    title = "What was planted in the drawn scores, and what the study found"
    return Table(NUMBER, title, pd.DataFrame(texts), _list_values(planted.rows), {}, {}, notes, key=FILE)


def _explain_shares(rows: Sequence[PlantedRow]) -> str:
    shares = {row.effect.trait: row.share for row in rows}
    return (
        "Share of the variance: covariance of what an effect adds with the probability, over the variance of the "
        f"probability; oddness stands in two rows and counts once, together {sum(shares.values()):.1%}, and what is "
        "left is noise."
    )


def _describe_difference(row: PlantedRow) -> str:
    if row.estimate is None:
        return "not run"
    interval = "" if row.low is None or row.high is None else f" [{row.low:+.4f}, {row.high:+.4f}]"
    return f"{row.estimate:+.4f}{interval}{' *' if row.has_star else ''}"


def _list_values(rows: Sequence[PlantedRow]) -> pd.DataFrame:
    return pd.DataFrame(
        [
            {
                "effect": row.effect.name,
                "trait": row.effect.trait,
                "strength": row.strength,
                "share": row.share,
                "table": row.effect.table,
                "row": row.effect.row,
                "estimate": row.estimate,
                "low": row.low,
                "high": row.high,
                "corrected_p": row.p,
                "star": row.has_star,
                "expected": row.is_planted,
                "verdict": row.verdict,
            }
            for row in rows
        ]
    )


def describe_planted(root: Root) -> str:
    """Describe what was planted and found, for a terminal.

    Args:
        root: Root of a demo.
    Returns:
        A line an effect, and the summary; empty where the root has none.
    """
    planted = read_planted(root)
    if planted is None:
        return ""
    heads = ("what is drawn", "planted", "looked for in", "difference", "verdict")
    lines = [
        (
            row.effect.name,
            f"+{row.strength:.2f}" if row.is_planted else "no",
            row.effect.row,
            _describe_difference(row),
            row.verdict,
        )
        for row in planted.rows
    ]
    widths = [max(map(len, column)) for column in zip(heads, *lines, strict=True)]
    shown = [
        "  " + "  ".join(f"{text:<{width}}" for text, width in zip(line, widths, strict=True)).rstrip()
        for line in (heads, *lines)
    ]
    return "\n".join(["planted, and found (drawn clips, untrained networks):", *shown, planted.summary])
