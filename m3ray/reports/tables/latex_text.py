"""Text in LaTeX: nothing that a user named becomes a command, and long text is broken into lines."""

from __future__ import annotations

import re
import textwrap

# Names of tiers, measures and labels are users' text: none of them may become a command.
_ESCAPED = str.maketrans(
    {sign: f"\\{sign}" for sign in "&%_#${}"}
    | {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "\n": " ", "\r": " "}
    | {"<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}"}
    | {"±": r"$\pm$", "≥": r"$\geq$", "≤": r"$\leq$"}
)


def escape(text: str) -> str:
    """Escape text for LaTeX.

    Args:
        text: any text.
    Returns:
        The same text as LaTeX prints it; `rho` as a word is the Greek letter.
    """
    apart = re.sub(r"-(?=-)", "-{}", text.translate(_ESCAPED))  # two hyphens are an option's, and no dash
    return re.sub(r"\b[Rr]ho\b", r"$\\rho$", apart)


def break_lines(text: str, width: int, side: str = "l") -> str:
    """Escape text, in lines no longer than a width where its words allow that.

    Args:
        text: any text.
        width: characters a line.
        side: side of the cell that lines stand at: `l`, `c` or `r`.
    Returns:
        The text; a tabular of lines where it is longer than one.
    """
    lines = textwrap.wrap(text, width, break_long_words=False, break_on_hyphens=False)
    if len(lines) < 2:
        return escape(text)
    # A line that begins with [ or * would be taken for an option of the line break before it.
    return rf"\begin{{tabular}}[t]{{@{{}}{side}@{{}}}}" + r"\\".join(map(guard, lines)) + r"\end{tabular}"


def guard(line: str) -> str:
    """Escape text that stands behind a line break.

    Args:
        line: any text.
    Returns:
        The text, which the line break before it takes nothing of.
    """
    return ("{}" if line.startswith(("[", "*")) else "") + escape(line)
