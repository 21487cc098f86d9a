"""Tables of benchmarks/gpu.py: its records as Markdown and as JSON."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

SMALL = "CPU, small: shows that it runs, no figure of a GPU"


def render_part(part: Mapping[str, Any], machine: Mapping[str, Any], date: str) -> str:
    """Render a part: heading, what became of it, its tables, its notes.

    Args:
        part: what `describe_part` returns.
        machine: device and versions, as a part wrote them; empty where none did.
        date: date of the measurement.
    Returns:
        Markdown.
    """
    reason = f": {part['reason']}" if part["reason"] else ""
    lines = [
        f"## {part['number']}. {part['title']}",
        "",
        f"{part['status']}{reason} ({part['seconds']:.0f} s of {part['limit']:.0f} s)",
    ]
    for name, rows in part["tables"].items():
        lines += ["", f"**{name}** ({caption(machine, date)})", "", *render_table(rows)]
    lines += ["", *(f"- {note}" for note in part["notes"])] if part["notes"] else []
    return "\n".join(lines) + "\n"


def caption(machine: Mapping[str, Any], date: str) -> str:
    """What every table says of itself: the card and the date, or that it is of no GPU at all."""
    if not machine:
        return f"device unknown, {date}"
    place = f"{machine['device']}, torch {machine['torch']}, {date}"
    return f"{SMALL}; {place}" if machine["small"] else place


def render_table(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Render rows as a Markdown table; columns come in the order in which rows first have them."""
    heads = list(dict.fromkeys(head for row in rows for head in row))
    lines = [heads, ["---"] * len(heads), *([render_cell(row.get(head)) for head in heads] for row in rows)]
    return [f"| {' | '.join(cells)} |" for cells in lines]


def render_cell(value: Any) -> str:
    """Render a value: three digits of a number, a dash for none."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    return render_number(value) if isinstance(value, float) else str(value).replace("|", "\\|")


def render_number(value: float) -> str:
    """Render a number that was measured, with three digits."""
    if math.isnan(value):
        return "not a number"
    if value and not 1e-3 <= abs(value) < 1e6:
        return f"{value:.1e}"
    decimals = next((count for count, least in ((0, 100), (1, 10), (2, 1)) if abs(value) >= least), 3)
    return f"{value:,.{decimals}f}" if value else "0"


def collect_tables(records: Iterable[Mapping[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """Collect the rows of records by table, in the order in which they came."""
    tables: dict[str, list[dict[str, Any]]] = {}
    for record in records:
        if record["kind"] == "row":
            tables.setdefault(record["table"], []).append(record["row"])
    return tables
