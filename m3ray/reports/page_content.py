"""The contents of the page, and the files of a figure."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass, field
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from m3ray.reports.style import render_image
from m3ray.reports.tables import study as printed
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
    """

    key: str
    title: str
    caption: str
    alt: str
    source: str
    untrained: bool


@dataclass
class Page:
    """Contents of the page, as its template takes them.

    Args:
        details: name to value in the section on what ran.
        tiers: name, fingerprint and weights of each tier.
        rejects: count, stage, reason and an example of each kind of rejected clips.
        costs: device hours, energy, CO2 and dollars of all runs; None where no run recorded its devices.
        untrained: whether any tier came from untrained weights.
        headline: the full model's results; None without a study.
        cautions: sentences that the results are to be read with.
        tables: number, title, columns and rows of each table.
        figures: figures in the order of the page.
        clips: the most and the least memorable clips.
        clips_note: how many clips they were chosen from, and of which splits.
        missing: sentences that say what is missing and how to get it.
        note: how to read the tables.
    """

    details: dict[str, str]
    tiers: list[dict[str, str]]
    rejects: list[dict[str, Any]]
    costs: dict[str, Any] | None
    untrained: bool
    headline: dict[str, str] | None = None
    cautions: list[str] = field(default_factory=list)
    tables: list[dict[str, Any]] = field(default_factory=list)
    figures: list[PageFigure] = field(default_factory=list)
    clips: list[dict[str, Any]] = field(default_factory=list)
    clips_note: str = ""
    missing: list[str] = field(default_factory=list)
    note: str = printed.NOTE

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
        self.figures.append(PageFigure(key, title, caption, alt, source, self.untrained and weights))


FIGURES = ("report", "figures")
