"""What the page is filled with."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass, field
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from m3ray.reports.style import image
from m3ray.reports.tables import study as printed
from m3ray.storage.csv_writing import csv_bytes
from m3ray.storage.root import Root

# More rows than this are Parquet: a CSV of them would only be slow.
_MOST_CSV_ROWS = 50_000


@dataclass
class Shown:
    """A figure on the page.

    Args:
        key: its file's name, `figure2` or `forest`.
        title: a line, with the paper's number where it has one.
        caption: what to see.
        alt: what it is, for those who cannot see it.
        source: of the image, a data URI.
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
    """What the template is filled with."""

    facts: dict[str, str]
    tiers: list[dict[str, str]]
    rejects: list[dict[str, Any]]
    costs: dict[str, Any] | None
    untrained: bool
    headline: dict[str, str] | None = None
    tables: list[dict[str, Any]] = field(default_factory=list)
    figures: list[Shown] = field(default_factory=list)
    clips: list[dict[str, Any]] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    note: str = printed.NOTE

    def add_figure(
        self,
        root: Root,
        drawn: tuple[Figure, pd.DataFrame],
        key: str,
        title: str,
        caption: str,
        alt: str,
        *,
        weights: bool = True,
    ) -> None:
        """Writes a figure as PNG and SVG with the data that it draws beside it, and shows it.

        Args:
            root: of the report.
            drawn: the figure and its data.
            key: name of its files.
            title: as on `Shown`, and so are caption and alt.
            caption: what to see.
            alt: what it is.
            weights: whether it draws what networks made.
        """
        figure, data = drawn
        png = image(figure, "png")
        root.write_bytes(png, *FIGURES, f"{key}.png")
        root.write_bytes(image(figure, "svg"), *FIGURES, f"{key}.svg")
        if len(data) <= _MOST_CSV_ROWS:
            root.write_bytes(csv_bytes(data), *FIGURES, f"{key}.csv")
        else:
            buffer = io.BytesIO()
            data.to_parquet(buffer, index=False)
            root.write_bytes(buffer.getvalue(), *FIGURES, f"{key}.parquet")
        source = "data:image/png;base64," + base64.b64encode(png).decode()
        self.figures.append(Shown(key, title, caption, alt, source, self.untrained and weights))


FIGURES = ("report", "figures")
