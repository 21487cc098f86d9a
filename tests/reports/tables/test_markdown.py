"""Tables in Markdown."""

import pandas as pd

from m3ray.reports.tables.markdown import to_markdown
from m3ray.reports.tables.table import Table


def test_a_table_has_its_title_what_warns_of_it_its_rows_and_its_notes():
    frame = pd.DataFrame({"Model": ["a", "b", "c|<i>"], "Share": ["0.1", "0.2", "0.2"]})
    table = Table(6, "A title", frame, frame, {}, {"Share": (1, 2)}, ("A note.",), cautions=("Few clips | here.",))
    assert to_markdown(table, "Untrained. ") == (
        "**Table 6.** A title. Untrained.\n\n"
        "> To be read with this:\n>\n> - Few clips \\| here.\n\n"
        "| Model | Share |\n|---|---|\n"
        "| a | 0.1 |\n| b | <u>0.2</u> |\n| c\\|&lt;i&gt; | <u>0.2</u> |\n\n"
        "A note.\n"
    )


def test_all_that_is_best_is_bold():
    frame = pd.DataFrame({"rho": ["0.2", "0.2", "0.1"]})
    text = to_markdown(Table(1, "A title", frame, frame, {"rho": (0, 1)}, {"rho": (2,)}))
    assert text.splitlines()[4:7] == ["| **0.2** |", "| **0.2** |", "| <u>0.1</u> |"]
