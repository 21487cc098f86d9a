"""The study's files: which runs a figure draws, and how clips are counted."""

import pytest
from made_reports import make_small_root

from m3ray.reports.study_files import STUDY, read_study


def note_weights(root):
    tables = root.read_json(*STUDY, "tables.json")
    root.write_json(tables | {"notes": {"weights": "a clip weighs as many viewers as it had"}}, *STUDY, "tables.json")


def test_the_full_model_s_own_rows(tmp_path):
    study = read_study(make_small_root(tmp_path))
    assert study.full == "M3-S"
    assert study.row["spearman"] == 0.63
    assert len(study.own_predictions) == 3
    assert study.finetuned == set()


def test_figure_2_draws_table_3_where_there_is_one(tmp_path):
    root = make_small_root(tmp_path)
    root.write_json(root.read_json(*STUDY, "tables.json") | {"3": ["M3"]}, *STUDY, "tables.json")
    assert set(read_study(root).drawn_runs["variant"]) == {"M3"}
    tables = root.read_json(*STUDY, "tables.json")
    del tables["3"]
    root.write_json(tables, *STUDY, "tables.json")
    assert set(read_study(root).drawn_runs["variant"]) == {"M3-S", "M3"}


def test_a_weighed_study_has_the_tables_rho(tmp_path):
    root = make_small_root(tmp_path)
    plain = read_study(root)
    assert (plain.table_rho, plain.weighing) == (None, "")
    note_weights(root)
    study = read_study(root)
    assert study.table_rho == pytest.approx(0.65), "make_trials: 0.63 and 0.02 for the ensemble"
    assert study.weighing == ", clips weighed by their viewers"


def test_an_older_weighed_study_says_that_every_clip_is_counted_once(tmp_path):
    root = make_small_root(tmp_path)
    note_weights(root)
    trials = root.read_table(*STUDY, "trials.parquet").drop_columns(["ensemble_spearman"])
    root.write_table(trials, *STUDY, "trials.parquet")
    study = read_study(root)
    assert (study.table_rho, study.weighing) == (None, ", every clip counted once")
