"""How the table of an evaluation across data sets is read: a line for each mark that it has, and none for others."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from m3ray.features.target import SCORE
from m3ray.study.cautions import caution_clips

if TYPE_CHECKING:
    from m3ray.study.cross_dataset import Evaluation


def explain_table(cells: Sequence[Evaluation]) -> list[str]:
    """Explain the table.

    Args:
        cells: its cells.
    Returns:
        Lines of Markdown: what the rows and columns are, then a bullet for each mark that occurs.
    """
    return [
        "How to read it: a row is a bundle, named for what it was trained on; a column is the data set whose clips it "
        "scores. The numbers of a cell, in their order:",
        "",
        *(f"- {line}" for line in (*_explain_numbers(cells), *_explain_marks(cells))),
    ]


def _explain_numbers(cells: Sequence[Evaluation]) -> Iterator[str]:
    known = [cell for cell in cells if cell.spearman is not None]
    if known:
        yield (
            "rho, Spearman's rank correlation with the true scores, 1 at best. It is that of a bundle's scores, the "
            "mean over its runs; a study's tables have the mean of single runs, which is mostly lower."
        )
        yield (
            "[low, high]: its 95 % interval over clips: other clips of the same kind would give other numbers. It does "
            "not count that other runs would too."
        )
        yield "MSE: mean squared error, in squared units of what is predicted; lower is better."
    yield f"number of clips and their split: {_explain_splits(cells)}. Clips that trained the bundle are left out."
    if any(cell.share is not None for cell in known):
        interval = ", in brackets its 95 % interval" if any(cell.share_low is not None for cell in known) else ""
        yield (
            "N % of the ceiling: rho as a share of the highest rho that a perfect model could have with these scores"
            f"{interval}. The reliability is the share of the scores' variance that is not the viewers' chance; a "
            "share above 100 % is chance."
        )


def _explain_splits(cells: Sequence[Evaluation]) -> str:
    splits = {cell.split for cell in cells}
    words = {"test": "test, which chose nothing", "val": "val, where no test clip has a score"}
    return "; ".join(text for split, text in words.items() if split in splits)


def _explain_marks(cells: Sequence[Evaluation]) -> Iterator[str]:
    if any(cell.own for cell in cells):
        yield (
            "*italics*: the bundle was trained on this data set, on other clips than these. All else is how it does on "
            "a data set that it does not know."
        )
    if any(cell.target != SCORE for cell in cells):
        yield "a name and a colon before a cell: what is predicted, where that is not the score."
    if any(cell.spearman is None for cell in cells):
        yield "undefined: there is no rho where all predictions or all scores are equal, or under two clips are left."
    few = dict.fromkeys(
        text
        for cell in cells
        if cell.spearman is not None
        for text in caution_clips(cell.clips, f"{cell.split} of {cell.evaluated_on}")
    )
    yield from (f"to be read with this: {text}" for text in few)
