"""A cell of a table taken apart: its number, the deviation and the interval behind it, its star, what else it says."""

from __future__ import annotations

import re
from dataclasses import dataclass

_NUMBER = r"[+-]?\d[\d,]*(?:\.\d+)?(?:e[+-]?\d+)?"
_CELL = re.compile(
    rf"(?P<less>< )?(?P<number>{_NUMBER})(?: ± (?P<deviation>{_NUMBER}))?"
    rf"(?: \[(?P<ensemble>{_NUMBER})\])?(?: \[(?P<low>{_NUMBER}), (?P<high>{_NUMBER})\])?"
    r"(?P<star> \*)?(?: (?P<rest>\(.*\)))?",
    re.DOTALL,
)


@dataclass(frozen=True)
class Cell:
    """A cell that begins with a number.

    Args:
        number: the number as printed.
        less: whether the true number is below the printed one.
        deviation: standard deviation as printed; empty where there is none.
        ensemble: number in brackets of its own; empty where there is none.
        interval: both ends as printed; None where there is no interval.
        star: whether it has a star.
        rest: remark in parentheses, with these; empty where there is none.
    """

    number: str
    less: bool
    deviation: str
    ensemble: str
    interval: tuple[str, str] | None
    star: bool
    rest: str

    @property
    def lines(self) -> list[str]:
        """The cell in lines: the number with its deviation and star, then each of its other parts."""
        deviation = f" ± {self.deviation}" if self.deviation else ""
        first = f"{'< ' if self.less else ''}{self.number}{deviation}{' *' if self.star else ''}"
        interval = "" if self.interval is None else f"[{self.interval[0]}, {self.interval[1]}]"
        return [first, *filter(None, (f"[{self.ensemble}]" if self.ensemble else "", interval, self.rest))]


def read_cell(text: str) -> Cell | None:
    """Take a cell apart.

    Args:
        text: its text.
    Returns:
        Its parts; None where it is no number, or has more behind it than a table's number has.
    """
    found = _CELL.fullmatch(text)
    if found is None:
        return None
    interval = None if found["low"] is None else (found["low"], found["high"])
    return Cell(
        found["number"],
        found["less"] is not None,
        found["deviation"] or "",
        found["ensemble"] or "",
        interval,
        found["star"] is not None,
        found["rest"] or "",
    )
