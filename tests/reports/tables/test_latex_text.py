"""Text in LaTeX."""

import pytest

from m3ray.reports.tables.latex_text import break_lines, escape, guard


@pytest.mark.parametrize(
    ("text", "printed"),
    [
        ("size_bytes & 5 % #1 {x} $", r"size\_bytes \& 5 \% \#1 \{x\} \$"),
        ("~^\\", r"\textasciitilde{}\textasciicircum{}\textbackslash{}"),
        ("p < 0.05 > |x|", r"p \textless{} 0.05 \textgreater{} \textbar{}x\textbar{}"),
        ("0.6 ± 0.1\nR", r"0.6 $\pm$ 0.1 R"),
        ("--folds 5, M3-S", "-{}-folds 5, M3-S"),
        ("rho of rhodium; Rho", r"$\rho$ of rhodium; $\rho$"),
    ],
)
def test_no_sign_of_a_name_becomes_a_command(text, printed):
    assert escape(text) == printed


def test_long_text_has_lines_and_what_is_escaped_is_not_cut():
    assert break_lines("short_name", 14) == r"short\_name"
    assert break_lines("Difference to full", 14, "c") == (
        r"\begin{tabular}[t]{@{}c@{}}Difference to\\full\end{tabular}"
    )
    assert break_lines("a_name_longer_than_a_line", 10) == r"a\_name\_longer\_than\_a\_line"


def test_no_line_break_takes_what_stands_behind_it_for_an_option():
    r"""`\\[1cm]` is a break of one centimetre, and `\\*` one without a new page."""
    assert guard("[512, 64]") == "{}[512, 64]"
    assert guard("* marks") == "{}* marks"
    assert r"\\{}[x]" in break_lines("aaaa [x]", 5)
