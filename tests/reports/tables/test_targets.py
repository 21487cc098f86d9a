"""Table 6 as it is printed."""

import numpy as np
import pandas as pd

from m3ray.reports.tables.latex import to_latex
from m3ray.reports.tables.markdown import to_markdown
from m3ray.reports.tables.targets import build_targets_table, describe_target, name_in_words


def make_rows(test_clips=0):
    base = {"runs": 4, "clips": 1200, "test_clips": test_clips, "mse": 0.01, "status": "done", "reason": ""}
    known = {"reliability": 0.64, "ceiling": 0.79, "share": 0.75, "share_low": 0.7, "share_high": 0.8}
    unknown = dict.fromkeys(known, np.nan) | {"reason": "it is not in the data"}
    rho = {"spearman": 0.6, "spearman_std": 0.01, "ensemble_spearman": 0.62, "test_spearman": 0.5}
    undefined = dict.fromkeys(rho, np.nan) | {"status": "2 of 4 runs diverged or are constant"}
    rows = [
        base | known | rho | {"target": "score", "variant": "M3-S"},
        base | known | rho | {"target": "score", "variant": "M3", "spearman": 0.55},
        base | rho | unknown | {"target": "alpha", "variant": "M3-S"},
        base | unknown | undefined | {"target": "alpha", "variant": "M3"},
    ]
    among = pd.DataFrame({"target": ["score", "alpha"], "score": [1.0, np.nan], "alpha": [np.nan, 1.0]})
    return pd.DataFrame(rows), among


def test_a_row_is_a_target_and_a_column_a_model():
    table = build_targets_table(*make_rows())
    assert list(table.frame["Target"]) == ["score", "decay"]
    assert list(table.frame["rho of M3-S"]) == ["0.6000 ± 0.0100 [0.6200]"] * 2
    assert table.frame.loc[0, "Share, ensemble of M3-S"] == "0.75 [0.70, 0.80]"
    assert "M3-S on test" not in table.frame.columns
    assert list(build_targets_table(*make_rows(test_clips=9)).frame["M3 on test"]) == ["0.5000", "undefined"]


def test_few_clips_have_no_interval_and_the_table_says_so():
    rows, among = make_rows()
    few = rows.assign(clips=19, share_low=np.nan, share_high=np.nan)
    table = build_targets_table(few, among)
    assert table.frame.loc[0, "Share, ensemble of M3-S"] == "0.75"
    assert "No interval under 20 val clips: score, decay." in table.notes
    assert not any("No interval" in note for note in build_targets_table(rows, among).notes)


def test_targets_have_names_in_words():
    assert [name_in_words(name) for name in ("alpha", "d_prime", "hit_rate", "new")] == [
        "decay",
        "d'",
        "hit rate",
        "new",
    ]
    assert describe_target("alpha") == "decay (alpha)"
    assert describe_target("new") == "new"


def test_what_is_undefined_or_unknown_says_so():
    table = build_targets_table(*make_rows())
    assert table.frame.loc[1, "rho of M3"] == "undefined (2 of 4 runs diverged or are constant)"
    assert (table.frame.loc[1, "Ceiling"], table.frame.loc[1, "Share, ensemble of M3-S"]) == ("unknown", "")
    assert table.frame.loc[0, "~ decay"] == "undefined"
    assert "No ceiling of decay: it is not in the data." in table.notes


def test_it_is_written_like_the_others():
    table = build_targets_table(*make_rows())
    assert table.number == 6
    assert "**Table 6.** Targets by models" in to_markdown(table)
    assert "No ceiling of decay" in to_markdown(table)
    assert r"\begin{table}" in to_latex(table)
    assert {"rho_with_score", "rho_with_alpha", "ceiling"} <= set(table.values.columns)
    assert len(table.values) == 4
