"""The house style of every figure, in one place: readable in print, by colour-blind readers, and as vector text."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import matplotlib as mpl
from cycler import cycler

mpl.use("Agg")
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

# Okabe and Ito 2008: eight colours that stay apart under the common colour-vision deficiencies.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#999999")
LINES = ("-", "--", "-.", ":")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
# Lightness rises evenly, in grey as in colour (Nuñez et al. 2018).
SEQUENCE = "cividis"
INK, SOFT = "#333333", "#bbbbbb"
# Points of a scatter plot are pixels in the SVG too: ten thousand of them as shapes are slow to open.
POINTS: dict[str, Any] = {"rasterized": True, "linewidths": 0}

_SETTINGS = {
    "figure.dpi": 110,
    "savefig.bbox": "tight",
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.25,
    "axes.axisbelow": True,
    "legend.frameon": False,
    "svg.fonttype": "none",
    "svg.hashsalt": "m3ray",
    "axes.prop_cycle": cycler(color=COLOURS),
}


@contextmanager
def house_style() -> Iterator[None]:
    """Give figures drawn inside the block the house style, and close them at its end."""
    with mpl.rc_context(_SETTINGS):
        try:
            yield
        finally:
            plt.close("all")


def render_image(figure: Figure, kind: str) -> bytes:
    """Render a figure.

    Args:
        figure: figure to render.
        kind: file format, "png" or "svg".
    Returns:
        Bytes of the file.
    """
    buffer = io.BytesIO()
    metadata = {"Date": None} if kind == "svg" else {"Software": None}
    figure.savefig(buffer, format=kind, metadata=metadata)
    return buffer.getvalue()


def label_text(text: str, most: int = 40) -> str:
    """Text as a label that matplotlib draws literally: on one line, a dollar sign no mathematics.

    Args:
        text: name to show.
        most: length beyond which it is cut, characters.
    Returns:
        The label.
    """
    line = "".join(c if c.isprintable() else " " for c in text)
    line = line if len(line) <= most else f"{line[: most - 1]}…"
    return line.replace("$", r"\$")
