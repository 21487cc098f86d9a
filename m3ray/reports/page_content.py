"""The contents of the page, and the files of a figure."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from m3ray.reports.bundle_scores import BundleScore
from m3ray.reports.caution_marks import Mark, key_of
from m3ray.reports.style import render_image
from m3ray.reports.tables.notes import NOTE
from m3ray.storage.csv_writing import csv_bytes
from m3ray.storage.root import Root

# More rows than this are Parquet: a CSV of them would only be slow.
_MOST_CSV_ROWS = 50_000


@dataclass
class PageFigure:
    """A figure on the page.

    Args:
        key: name of its files without their endings, such as `figure2` or `forest`.
        title: one line, with the paper's number where it has one.
        caption: what it shows and what to look for.
        alt: text in place of the image, for those who cannot see it.
        source: the image as a data URI.
        untrained: whether what it draws came from untrained weights.
        places: keys of the marks that stand beside it.
    """

    key: str
    title: str
    caption: str
    alt: str
    source: str
    untrained: bool
    places: tuple[str, ...] = ()


@dataclass
class Page:
    """Contents of the page, as its template takes them.

    Args:
        details: name to value in the section on what ran.
        tiers: name, fingerprint and weights of each tier, and whether it is one of Table 4's further measures.
        rejects: count, stage, reason and an example of each kind of rejected clips.
        costs: device hours, energy, CO2 and dollars of all runs; None where no run recorded its devices.
        untrained: whether any tier came from untrained weights.
        headline: the full model's results; None without a study.
        bundles: how well the root's bundles rank val, beside the headline.
        planted: the table of what was planted in the demo and found by its study; None for other data sets.
        cautions: sentences that the results are to be read with.
        marks: key of a number, a table or a figure to the cautions that stand beside it.
        tables: number, title, columns and rows of each table.
        figures: figures in the order of the page.
        scores: each file of new clips' scores: its facts, and a table of the clips.
        clips: the most and the least memorable clips.
        clips_legend: what a card of a clip shows.
        clips_note: how many clips they were chosen from, and of which splits.
        explained: groups of clips that were looked at more closely, and are not among `clips`.
        duplicates: groups of near duplicates, with a note; None where there are none.
        missing: sentences that say what is missing and how to get it.
        note: how to read the tables.
    """

    details: dict[str, str]
    tiers: list[dict[str, Any]]
    rejects: list[dict[str, Any]]
    costs: dict[str, Any] | None
    untrained: bool
    headline: dict[str, str] | None = None
    bundles: list[BundleScore] = field(default_factory=list)
    planted: dict[str, Any] | None = None
    cautions: list[str] = field(default_factory=list)
    marks: dict[str, list[Mark]] = field(default_factory=dict)
    tables: list[dict[str, Any]] = field(default_factory=list)
    figures: list[PageFigure] = field(default_factory=list)
    scores: list[dict[str, Any]] = field(default_factory=list)
    clips: list[dict[str, Any]] = field(default_factory=list)
    clips_legend: str = ""
    clips_note: str = ""
    explained: list[dict[str, Any]] = field(default_factory=list)
    duplicates: dict[str, Any] | None = None
    missing: list[str] = field(default_factory=list)
    note: str = NOTE

    def add_figure(
        self,
        root: Root,
        plot: tuple[Figure, pd.DataFrame],
        key: str,
        title: str,
        caption: str,
        alt: str,
        *,
        weights: bool = True,
        tiers: Sequence[str] = (),
    ) -> None:
        """Write a figure as PNG and SVG with the data that it draws, and put it on the page.

        Args:
            root: root that the report is about.
            plot: the figure and the data that it draws.
            key: name of its files without their endings.
            title: one line, with the paper's number where it has one.
            caption: what it shows and what to look for.
            alt: text in place of the image, for those who cannot see it.
            weights: whether it draws numbers that depend on networks' weights.
            tiers: vector tiers whose clusters it draws, for the marks beside it.
        """
        figure, data = plot
        png = render_image(figure, "png")
        root.write_bytes(png, *FIGURES, f"{key}.png")
        root.write_bytes(render_image(figure, "svg"), *FIGURES, f"{key}.svg")
        if len(data) <= _MOST_CSV_ROWS:
            root.write_bytes(csv_bytes(data), *FIGURES, f"{key}.csv")
        else:
            buffer = io.BytesIO()
            data.to_parquet(buffer, index=False)
            root.write_bytes(buffer.getvalue(), *FIGURES, f"{key}.parquet")
        source = "data:image/png;base64," + base64.b64encode(png).decode()
        first = key.partition("-")[0]  # of a further part of the same figure, such as figure4-scene
        places = (first, *(key_of(first, tier) for tier in tiers))
        self.figures.append(PageFigure(key, title, caption, alt, source, self.untrained and weights, places))

    def list_marks(self, *places: str) -> list[Mark]:
        """List the marks of a number, a table or a figure.

        Args:
            places: its keys.
        Returns:
            The marks, in the order of the cautions.
        """
        return [mark for place in places for mark in self.marks.get(place, ())]


FIGURES = ("report", "figures")
