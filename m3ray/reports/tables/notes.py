"""The sentences below a table: how it is read, in full and in brief, and its own."""

from __future__ import annotations

from collections.abc import Iterator

from m3ray.reports.tables.table import Table

NOTE = (
    "Values on val after the reported epoch; rho is Spearman's rank correlation, mean over single runs, sd its "
    "standard deviation over them. Rho of the runs' mean is another number: that of the mean of their predictions, "
    "which is what a bundle of that model alone predicts (--model mlp; with --model auto, the default, a bundle may be "
    "the ensemble of Table 7); the mean has less of each run's noise, so it is mostly higher. "
    "A difference is the row less its full model, paired by seed, with one 95 % interval that counts both that "
    "other runs and that other clips would give other numbers. * marks a difference in rho on val whose probability, "
    "after Holm's correction for all those of the table (in which a row's runs count as no less varied than the mean "
    "row's), is below 0.05; any other interval holds for itself alone and has no star, whether or not it reaches 0. "
    "Best epoch: the best mean over runs on val, and optimistic, as val chose it. Best bold, second underlined; values "
    "that are equal as printed are marked alike."
)
"""How to read the tables that have models in them."""


def list_notes(table: Table) -> list[str]:
    """List the sentences below a table.

    Args:
        table: the table.
    Returns:
        How to read it, where it has models in it, and its own notes.
    """
    return [*([NOTE] if table.best else []), *table.notes]


def list_short_notes(table: Table) -> list[str]:
    """List the sentences below the short form of a table: what marks it has, and of how many runs and clips it is.

    Args:
        table: the short form.
    Returns:
        The sentences; none of a mark that the table lacks.
    """
    return list(_explain_marks(table))


def _explain_marks(table: Table) -> Iterator[str]:
    if table.best:
        yield f"Spearman's rho and mean squared error on val{_describe_counts(table)}: means over single runs."
        yield "Best bold, second best underlined."
    if "Contribution" in table.frame:
        yield "rho and MSE are those of the measure alone; the contribution is M3 with the measure less M3, in rho."
    stars = [column for column in table.frame if table.frame[column].astype(str).str.endswith(" *").any()]
    if stars:
        yield "* Probability below 0.05 after Holm's correction for all differences of the table."
    elif "Contribution" in table.frame:
        yield "No contribution differs from 0 after Holm's correction for all of the table (level 0.05)."
    yield from table.notes


def _describe_counts(table: Table) -> str:
    """Numbers of clips and runs of a table, as far as its values tell."""
    parts = []
    for name, word in (("delta_clips", "clips"), ("delta_runs", "runs each")):
        known = table.values[name].dropna() if name in table.values else []
        if len(known):
            parts.append(f"{int(max(known)):,} {word}")
    return f" ({', '.join(parts)})" if parts else ""
