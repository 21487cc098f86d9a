"""Tables in LaTeX, as they are written and, where LaTeX is there, as it reads them."""

import shutil
import subprocess

import numpy as np
import pandas as pd
import pytest
from made_reports import make_trials

from m3ray.reports.tables.latex import to_latex
from m3ray.reports.tables.short import shorten_table
from m3ray.reports.tables.study import build_study_table
from m3ray.reports.tables.table import Table

NAMES = ["M3-S", "M3", "M3 without raw"]
HEAD = r"""% Needs in the preamble: \usepackage{amssymb,array,booktabs,graphicx,siunitx}
% Scaled down where it is wider than its line: table* or sidewaystable (\usepackage{rotating}) give it more room.
\begin{table}
\centering
"""
SETUP = r"""\smallskip
\providecommand{\secondbest}[1]{\llap{\underline{\phantom{#1}}}}
\sisetup{detect-weight=true,retain-explicit-plus=true,group-digits=integer,group-minimum-digits=4,group-separator={,}}
\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%
"""


def test_a_table_is_written_whole():
    frame = pd.DataFrame({"Target": ["a_b", "[c]"], "Share": ["0.10 [0.05, 0.15] *", "0.20 [0.10, 0.30]"]})
    table = Table(6, "A title", frame, frame, {}, {"Share": (1,)}, ("A rho of 5 %.",), cautions=("Few clips.",))
    assert to_latex(table, "Untrained. ") == HEAD + (
        "\\caption{A title. Untrained.}\n\\label{tab:table6}\n" + SETUP + "\\begin{tabular}"
        "{l S[table-format=1.2,table-space-text-post={\\,*}] c}\n\\toprule\n"
        "Target & {Share} & 95\\,\\% interval \\\\\n\\midrule\n"
        "a\\_b & 0.10{\\,*} & $[0.05,\\;0.15]$ \\\\\n"
        "{}[c] & 0.20{\\secondbest{0.20}} & $[0.10,\\;0.30]$ \\\\\n"
        "\\bottomrule\n\\end{tabular}}\n\\par\\medskip\n\\begin{minipage}{\\linewidth}\\footnotesize\n"
        "To be read with this: Few clips.\\par\nA $\\rho$ of 5 \\%.\\par\n\\end{minipage}\n\\end{table}\n"
    )


def test_the_short_form_of_table_3_looks_like_the_paper_s():
    """Model, results, features, parameters, and ticks below "Tiers used"; its notes say of how many clips and runs."""
    short = shorten_table(build_study_table(3, make_trials(), NAMES))
    text = to_latex(short, short=True)
    assert "\\label{tab:table3-short}\n" in text
    assert "% table3_short.tex" not in text
    assert " &  &  &  &  & \\multicolumn{2}{c}{Tiers used} \\\\\n\\cmidrule(lr){6-7}\n" in text
    assert "Model & {$\\rho\\uparrow$} & {MSE$\\downarrow$} & {Features} & {Parameters} & Raw & Scene \\\\\n" in text
    assert "M3 & 0.6000 & \\bfseries 0.00660 & 2783 & 1458305 & $\\checkmark$ &  \\\\\n" in text
    assert "on val (1,500 clips, 4 runs each): means over single runs.\\par" in text


def test_a_wide_table_names_its_short_form_first():
    text = to_latex(build_study_table(3, make_trials(), NAMES))
    named = "% table3_short.tex has the paper's columns alone, and room in a column of article.\n"
    assert text.index(named) < text.index("\\begin{table}")


def test_a_table_with_a_name_of_its_own_is_labelled_by_it():
    frame = pd.DataFrame({"Parameter": ["Loss"], "M3-S": ["MSE"]})
    assert "\\label{tab:planted}\n" in to_latex(Table(8, "A title", frame, frame, {}, {}, key="planted"))


def test_without_notes_nothing_stands_below():
    frame = pd.DataFrame({"Parameter": ["Loss"], "M3-S": ["MSE"]})
    assert to_latex(Table(5, "A title", frame, frame, {}, {})).endswith("\\bottomrule\n\\end{tabular}}\n\\end{table}\n")


def make_all_kinds():
    """Tables with every kind of cell: signs, exponents, reasons, stars, deviations, marks, names that are commands."""
    trials = make_trials().assign(mse=[5.1e-8, 4.3e-7, 0.2], splits=5, splits_spearman=[0.61, 0.6, np.nan])
    trials = trials.assign(splits_spearman_std=[0.012, np.nan, 1], splits_reason=["", "", "1 of 5 splits failed"])
    trials = trials.assign(tiers=["raw+\\input{x}", "*+[y]", "raw"], test_spearman=-0.1, test_mse=0.1)
    trials.loc[2, ["status", "delta_spearman"]] = ["failed: memory_was & 100 % full", np.nan]
    table = build_study_table(3, trials.assign(full=[None, "M3-S", "M3"]), NAMES)
    settings = pd.DataFrame(
        {"Parameter": ["[a", "*b"], "M3-S": ["[512, 64, 1]", "MSE (tails: gain 2, power 4, train)"]}
    )
    return [table, shorten_table(table), Table(5, "100 % of ~ ^ \\ <b>", settings, settings, {}, {}, ("* {} ± #",))]


def has_latex():
    if shutil.which("pdflatex") is None or shutil.which("kpsewhich") is None:
        return False
    return subprocess.run(["kpsewhich", "siunitx.sty"], capture_output=True, check=False).returncode == 0


@pytest.mark.skipif(not has_latex(), reason="no LaTeX with siunitx here (Debian: apt-get install texlive-science)")
def test_latex_reads_every_kind_of_cell(tmp_path):
    parts = [to_latex(table, "Untrained & so on.", short=place == 1) for place, table in enumerate(make_all_kinds())]
    packages = r"\documentclass{article}\usepackage{amssymb,array,booktabs,graphicx,siunitx}"
    document = "\n".join([packages, r"\begin{document}", *parts, r"\end{document}", ""])
    (tmp_path / "all.tex").write_text(document, encoding="utf-8")
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "all.tex"]
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
    assert run.returncode == 0, run.stdout[-2000:]
    assert "Overfull \\hbox" not in run.stdout, "no table is wider than its line"
    assert "multiply defined" not in run.stdout
