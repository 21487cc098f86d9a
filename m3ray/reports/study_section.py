"""The study on the page: its tables, the headline, and the figures of the trained variants."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from typing import Any

import pandas as pd

from m3ray.features.target import SCORE
from m3ray.features.target_columns import TARGETS_TABLE
from m3ray.reports import figures
from m3ray.reports.bundle_scores import list_bundle_scores
from m3ray.reports.caution_marks import list_cautions
from m3ray.reports.figures.predictions import FEWEST_IN_A_BIN
from m3ray.reports.headline import build_headline
from m3ray.reports.page_content import Page
from m3ray.reports.study_files import STUDY, StudyFiles, read_study
from m3ray.reports.tables.files import TABLES, name_files, write_table
from m3ray.reports.tables.folding import FoldedCell, fold_table
from m3ray.reports.tables.study import build_study_table
from m3ray.reports.tables.table import Table
from m3ray.reports.tables.table4 import build_measures_table
from m3ray.reports.tables.table5 import build_parameters_table
from m3ray.reports.tables.table7 import build_regressors_table
from m3ray.reports.tables.targets import build_targets_table, describe_target
from m3ray.storage.root import Root
from m3ray.study.caution_sources import find_study_cautions
from m3ray.study.ceiling import describe_ceiling
from m3ray.study.pretrained import describe_pretrained
from m3ray.study.regressor_results import NO_EPOCH
from m3ray.study.table_list import TableList
from m3ray.study.targets import TABLE_FILE, is_of_study, read_targets
from m3ray.study.variants import REGRESSORS_TABLE

_DOTS = " Dark dots: tenths of the predictions, with the 95 % interval of their mean truth."
UNTRAINED = "UNTRAINED weights: these numbers show that the pipeline works, not what it can do. "

# Tables that no network's weights have a part in: raw perception alone, and the settings.
_WITHOUT_NETWORKS = (1, 5)

# Why a table that was asked for has no row.
_NO_ROWS = {
    1: "raw is not among the study's tiers",
    2: "raw is not among the study's tiers",
    3: "the study has no model",
    4: "the root has no similarity tier",
    REGRESSORS_TABLE: "the train split is too small to hold fifths of it out",
}


def add_study(root: Root, page: Page) -> None:
    """Add the study's tables, headline, Figures 2 and 7, forest plot and calibration.

    Args:
        root: root that holds the study.
        page: page to fill.
    """
    study, cautions = read_study(root), find_study_cautions(root, STUDY)
    for table in build_tables(root, study):
        untrained = is_untrained(table, untrained=page.untrained)
        warned = replace(table, cautions=list_cautions(cautions, f"table{table.number}"))
        write_table(root, warned, UNTRAINED if untrained else "")
        page.tables.append(fill_cells(table) | {"untrained": untrained})
    page.tables.sort(key=lambda table: table["number"])
    page.missing += _explain_missing_tables(root, study.tables, [table["number"] for table in page.tables])
    page.headline = build_study_headline(study)
    page.bundles = list_bundle_scores(root, study.ceilings.target)
    _add_curves(root, page, study.drawn_runs)
    _add_predictions(root, page, study)
    _add_forest(root, page, study)


def build_tables(root: Root, study: StudyFiles) -> Iterator[Table]:
    """Build every table of a study.

    Args:
        root: root that holds the study.
        study: its files.
    Returns:
        The tables that have rows, by number.
    """
    full = next(v for v in study.config["variants"] if v["name"] == study.full)
    for built in (
        *_build_tables(study.trials, study.tables, study.finetuned, describe_ceiling(study.ceilings)),
        build_parameters_table(full, study.config["tiers"]),
        *_build_further_tables(root, study.config),
    ):
        yield _name_target(_describe_scorers(built, study), study.ceilings.target)


def _describe_scorers(table: Table, study: StudyFiles) -> Table:
    """Say below a table what the pretrained scorers among its rows are."""
    shown = [variant for variant in study.pretrained if variant["name"] in study.tables.variants.get(table.number, ())]
    return replace(table, notes=(*table.notes, *describe_pretrained(shown)))


def is_untrained(table: Table, *, untrained: bool) -> bool:
    """Tell whether untrained weights have a part in a table.

    Args:
        table: the table.
        untrained: whether any tier of the root came from them.
    Returns:
        Whether they do.
    """
    return untrained and table.number not in _WITHOUT_NETWORKS


def build_study_headline(study: StudyFiles) -> dict[str, str]:
    """Build the headline of a study.

    Args:
        study: its files.
    Returns:
        Name to text of each part.
    """
    clips, best = len(study.own_predictions), "epoch" in study.tables.notes
    return build_headline(study.row, study.full, clips, study.ceilings, reports_best=best)


def remove_hidden_tables(root: Root, shown: Collection[int]) -> None:
    """Remove the files of tables of an earlier study that the page does not show.

    Args:
        root: root that holds the report.
        shown: numbers of the tables that it shows.
    """
    hidden = [number for number in range(1, REGRESSORS_TABLE + 1) if number not in shown]
    names = {name for number in hidden for name in name_files(number)}
    for name in names.intersection(root.list_names(*TABLES)):
        root.delete(*TABLES, name)


def _build_further_tables(root: Root, config: Mapping[str, Any]) -> Iterator[Table]:
    """Build Table 6, where this study has more than one target."""
    crossed = read_targets(root, STUDY)
    if crossed is not None and is_of_study(root, STUDY, config):
        yield build_targets_table(*crossed)


def _name_target(table: Table, target: str) -> Table:
    """Name what the study predicts in a table's title, unless it is the score, or each row has its own."""
    if target == SCORE or table.number == TARGETS_TABLE:
        return table
    return replace(table, title=f"{table.title}. Target: {describe_target(target)}")


def _build_tables(trials: pd.DataFrame, tables: TableList, finetuned: set[str], ceiling: str) -> Iterator[Table]:
    """Build the tables of the study that have rows, by number."""
    for number, names in sorted(tables.variants.items()):
        if not names and number != 4:
            continue
        if number == 4:
            table = build_measures_table(trials, tables.measures)
        elif number == REGRESSORS_TABLE:
            table = build_regressors_table(trials, names)
        else:
            table = build_study_table(number, trials, names, finetuned=bool(finetuned & set(names)))
        if len(table.frame):
            yield replace(table, notes=(*table.notes, *tables.notes.values(), ceiling))


def _explain_missing_tables(root: Root, tables: TableList, shown: Collection[int]) -> list[str]:
    lines = [_explain_missing_table(number, tables) for number in (1, 2, 3, 4, REGRESSORS_TABLE) if number not in shown]
    if TARGETS_TABLE not in shown and root.exists(*STUDY, TABLE_FILE):
        lines.append(
            f"Table {TARGETS_TABLE} is left out: the root's is of another study (other clips, target, seeds, settings "
            f"or features): run m3ray ablate --tables {TARGETS_TABLE} beside this study's own tables."
        )
    return lines


def _explain_missing_table(number: int, tables: TableList) -> str:
    if number in tables.variants:
        return f"Table {number} is left out: {_NO_ROWS[number]}."
    return f"Table {number} was not asked for: run m3ray ablate --tables {number}; what was trained is kept."


def fill_cells(table: Table) -> dict[str, Any]:
    """Fill the cells of a table as the template takes them.

    Args:
        table: the table.
    Returns:
        Its number, title, columns, rows of cells (lines of text, and a mark), and notes.
    """
    folded = fold_table(table)
    rows: list[list[FoldedCell]] = [list(row) for row in folded.rows]
    head = {"number": table.number, "title": table.title, "columns": list(folded.columns)}
    return {**head, "rows": rows, "notes": list(table.notes)}


def _add_curves(root: Root, page: Page, runs: pd.DataFrame) -> None:
    single, levels = runs["run"].nunique() == 1, (runs["epoch"] == NO_EPOCH).any()
    caption = (
        "Validation Spearman by epoch: mean over runs"
        + (" (one run: no band)" if single else ", band of one standard deviation")
        + "; a dot marks each variant's best epoch. Look for the tiers whose removal pulls the line down most."
        + (" Dotted and level: what was trained elsewhere, and so has no epochs." if levels else "")
    )
    alt = f"Line chart of validation rank correlation by epoch for {runs['variant'].nunique()} variants"
    page.add_figure(root, figures.plot_validation_curves(runs), "figure2", "Figure 2. Validation curves", caption, alt)


def _add_predictions(root: Root, page: Page, study: StudyFiles) -> None:
    own, main, ceilings = study.own_predictions, study.full, study.ceilings
    caption = (
        f"Truth and prediction of {main} on the {len(own):,} val clips: distributions, and scores by rank. "
        "A flatter prediction line means a model that dares less than the truth varies. The predictions are "
        "means over the runs, and the rho above them is theirs; the headline's and the tables' are means of "
        f"single runs, and mostly lower.{_describe_weighing(study)} {describe_ceiling(ceilings)}"
    )
    alt = "Histograms and rank plots of true and predicted memorability"
    plot = figures.plot_distributions(own, ceilings.of("val").spearman, study.table_rho, study.weighing)
    page.add_figure(root, plot, "figure7", "Figure 7. Truth and prediction", caption, alt)
    caption = (
        f"Each of the {len(own):,} val clips, predicted by {main} (mean over runs), against its true score."
        + (_DOTS if -(-len(own) // 10) >= FEWEST_IN_A_BIN else "")
        + " Where the dashed line is steeper than "
        "the grey diagonal, the model is too timid; where it is flatter, too bold."
    )
    alt = "Scatter plot of predicted against true memorability with a calibration line"
    page.add_figure(root, figures.plot_calibration(own), "calibration", "Predicted against true", caption, alt)


def _describe_weighing(study: StudyFiles) -> str:
    """How the figure counts clips, where the tables weigh them."""
    if not study.weighing:
        return ""
    how = "it counts every clip once" if study.table_rho is None else "that rho does too"
    return f" The tables weigh clips by their viewers (--weigh responses), and {how}; what is drawn counts each once."


def _add_forest(root: Root, page: Page, study: StudyFiles) -> None:
    ablations = {number: names for number, names in study.tables.variants.items() if number != REGRESSORS_TABLE}
    others = [variant["name"] for variant in study.pretrained]  # they leave nothing out, and lie far off
    figure, rows = figures.plot_forest(study.trials, ablations, study.tables.measures.own, others)
    if rows.empty:
        return
    caption = (
        "What each ablation changes in rho on val, paired by seed. The whole line is the 95 % interval over runs and "
        "clips; the thick part is what the runs alone would leave open. A star is a probability below 0.05 after "
        "Holm's correction within the table: with many lines, some miss 0 by chance."
        f"{_describe_beyond(rows)}"
    )
    alt = f"Forest plot of the differences of {len(rows)} variants to their full model"
    page.add_figure(root, (figure, rows), "forest", "Every ablation's difference", caption, alt)


def _describe_beyond(rows: pd.DataFrame) -> str:
    """Say what the forest plot's axis leaves out, and by which rule; empty where it leaves out nothing."""
    beyond = int(rows["beyond"].sum())
    if not beyond:
        return ""
    what = f"{beyond} of the {len(rows)} rows reach" if beyond > 1 else f"One of the {len(rows)} rows reaches"
    return (
        f" {what} beyond the axis, which ends three quartile ranges beyond the quartiles of all numbers drawn, so that "
        "few do not flatten the many: an arrow at its end, and the number, stand for what lies beyond."
    )
