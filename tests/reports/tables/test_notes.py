"""The sentences below tables."""

import pandas as pd

from m3ray.reports.tables.notes import NOTE, list_notes, list_short_notes
from m3ray.reports.tables.table import Table


def make(frame, best=None, notes=(), **values):
    return Table(4, "", pd.DataFrame(frame), pd.DataFrame(values), best or {}, {}, notes)


def test_a_table_of_models_says_how_it_is_read_and_one_of_settings_does_not():
    assert list_notes(make({"rho": ["0.1"]}, {"rho": (0,)}, ("Mine.",))) == [NOTE, "Mine."]
    assert list_notes(make({"Loss": ["MSE"]}, notes=("Mine.",))) == ["Mine."]


def test_short_notes_explain_just_the_marks_that_occur():
    starred = make({"rho": ["0.1"], "Contribution": ["+0.0300 *"]}, {"rho": (0,)}, delta_clips=[1500], delta_runs=[4])
    said = " ".join(list_short_notes(starred))
    assert "on val (1,500 clips, 4 runs each)" in said
    assert "* Probability below 0.05 after Holm's correction" in said
    without = make({"rho": ["0.1"], "Contribution": ["+0.0300"]}, {"rho": (0,)})
    said = " ".join(list_short_notes(without))
    assert "* " not in said
    assert "No contribution differs from 0" in said
    assert "clips" not in said, "nobody noted how many"
    assert list_short_notes(make({"Loss": ["MSE"]})) == []
