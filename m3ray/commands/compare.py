"""`m3ray compare`: which of several clips is more memorable, by how much, and how sure that is."""

from __future__ import annotations

import math
import shutil
import sys
from typing import TYPE_CHECKING, Any

import m3ray
from m3ray.commands.csv_file import open_csv
from m3ray.commands.options import CompareOptions
from m3ray.commands.rows import CsvWriter, JsonWriter, Row, as_json, escape_control, format_number, shorten
from m3ray.commands.score import as_rows, check_outputs, check_scorer, list_extrapolations, show_warnings
from m3ray.errors import ConfigError

if TYPE_CHECKING:
    from m3ray.scoring.open_bundle import AnyBundle

_STDOUT = "-"
_COLUMNS = ("rank", "clip_id", "score", "spread", "low", "high", "inside", "lead", "p_next", "p_best", "reason")
_MOST_NAMED = 5


def run(options: CompareOptions) -> int:
    """Compare what the options name.

    Args:
        options: clips, bundle and form of the output.
    Returns:
        The exit status. 0: at least two clips have a score; 1: fewer have.
    Raises:
        ConfigError: If there is nothing to compare, options contradict each other, or a package is missing.
    """
    check_options(options)
    with show_warnings(), m3ray.load(options.bundle, allow_other_weights=options.allow_other_weights) as scorer:
        rows = as_rows(scorer.compare(list(options.what)))
        scored = [row for row in rows if row["reason"] is None]
        columns = [name for name in _COLUMNS if rows and name in rows[0]]
        if options.json:
            _write(JsonWriter(sys.stdout, columns), rows)
        elif options.csv == _STDOUT:
            _write(CsvWriter(sys.stdout, columns), rows)
        else:
            _print_result(rows, scored, scorer.bundle)
        if options.csv not in (None, _STDOUT):
            with open_csv(str(options.csv)) as file:
                _write(CsvWriter(file, columns), rows)
            print(f"written: {options.csv}", file=sys.stderr if options.json else sys.stdout)
    if len(scored) < 2:
        print(f"error: {len(scored)} of {len(rows)} clips have a score: two or more can be compared", file=sys.stderr)
    return 0 if len(scored) > 1 else 1


def check_options(options: CompareOptions) -> None:
    """Check what can be checked before anything heavy is imported.

    Args:
        options: clips, bundle and form of the output.
    Raises:
        ConfigError: If there is nothing to compare, options contradict each other, or a package is missing.
    """
    if not options.what:
        raise ConfigError("nothing to compare: give two videos or more, as in m3ray compare cut1.mp4 cut2.mp4")
    check_outputs(options.csv, json=options.json)
    check_scorer(options.bundle)


def _write(writer: JsonWriter | CsvWriter, rows: list[dict[str, Any]]) -> None:
    for row in rows:
        # A clip without a score has no rank: pandas' own mark for that is no number.
        rank = row["rank"]
        writer.write({**row, "rank": None if row["reason"] is not None else int(rank)})


def _print_result(rows: list[dict[str, Any]], scored: list[dict[str, Any]], bundle: AnyBundle) -> None:
    """A sentence of two clips, a table of more, and below it what one must know of the numbers."""
    from m3ray.scoring.comparison import describe_pair, describe_probabilities
    from m3ray.scoring.describe_scorer import describe_origin

    if len(scored) == 2:
        print(escape_control(describe_pair(scored[0], scored[1], bundle)))
    for line in _make_table(rows) if len(rows) > 2 or len(scored) < 2 else []:
        print(line)
    name = bundle.facts.title if hasattr(bundle, "facts") else bundle.name
    print(f"\n{name}: {describe_origin(bundle)}")
    print(describe_probabilities(bundle))
    for line in [*_list_ties(scored), *list_extrapolations(bundle, scored)]:
        print(escape_control(line))


def _make_table(rows: list[dict[str, Any]]) -> list[str]:
    numbers = [name for name in ("score", "low", "high", "lead") if name == "lead" or _is_known(rows, name)]
    chances = [name for name in ("p_next", "p_best") if _is_known(rows, name)]
    names = [escape_control(str(row["clip_id"])) for row in rows]
    wide = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    longest = max([12, *map(len, names)])
    width = longest if wide is None else max(12, min(longest, wide - 6 - 9 * (len(numbers) + len(chances))))
    heads = [*numbers, *({"p_next": "> next", "p_best": "best"}[name] for name in chances)]
    lines = ["  ".join(["rank", f"{'clip':<{width}}", *(f"{head:>7}" for head in heads)])]
    for row, name in zip(rows, names, strict=True):
        shown = f"{shorten(name, width):<{width}}"
        if row["reason"] is not None:
            lines.append(f"{'-':>4}  {shown}  {'-':>7}  {escape_control(row['reason'])}")
            continue
        cells = [format_number(number, row[number]) for number in numbers]
        lines.append("  ".join([f"{int(row['rank']):>4}", shown, *cells, *(_format_chance(row[c]) for c in chances)]))
    return lines


def _is_known(rows: list[dict[str, Any]], name: str) -> bool:
    return any(as_json(row.get(name)) is not None for row in rows)


def _format_chance(value: float) -> str:
    if not math.isfinite(value):
        return f"{'-':>7}"
    text = ">99 %" if value > 0.99 else "<1 %" if value < 0.01 else f"{100 * value:.0f} %"
    return f"{text:>7}"


def _list_ties(scored: list[Row] | list[dict[str, Any]]) -> list[str]:
    """A line that names the pairs of which nothing can be said."""
    from m3ray.scoring.comparison import CANNOT_SAY

    if len(scored) < 3:
        return []
    ties = [str(int(row["rank"])) for row in scored[:-1] if row["p_next"] < CANNOT_SAY]
    if not ties:
        return []
    more = f" and {len(ties) - _MOST_NAMED} more" if len(ties) > _MOST_NAMED else ""
    named = ", ".join(ties[:_MOST_NAMED])
    return [f"cannot say who is ahead of rank {named}{more} and the next one: under {CANNOT_SAY:.0%}"]
