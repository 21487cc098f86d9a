"""Which columns of a catalogue can be predicted, and what is said where one is missing."""

import numpy as np
import pyarrow as pa
import pytest
from made_roots import made_root

from m3ray.errors import ConfigError
from m3ray.features.target_columns import (
    check_columns,
    choose_target,
    list_crossed_targets,
    list_study_targets,
    list_targets,
    name_target,
    read_groups,
    read_numbers,
    read_responses,
)
from m3ray.storage.dataset_record import DatasetRecord
from m3ray.storage.root_record import write_record


def catalogue(**columns):
    return pa.table({"clip_id": ["a", "b", "c"], "score": [0.5, None, 0.7], **columns})


def test_short_and_long_are_readings_of_the_score():
    assert [name_target(option) for option in ("short", "long", "score", "d_prime")] == ["score"] * 3 + ["d_prime"]


def test_a_study_predicts_what_was_asked_for_else_what_its_root_was_made_for(tmp_path):
    root = made_root(tmp_path, rows=20)
    assert choose_target(root, None) == "score"
    assert choose_target(root, "alpha") == "alpha"
    write_record(root, DatasetRecord("table", "clips.csv", {"target": "d_prime"}))
    assert choose_target(root, None) == "d_prime"
    assert choose_target(root, "short") == "score"


def test_targets_without_a_value_are_none():
    table = catalogue(alpha=[None, -1e-4, None], d_prime=pa.array([None] * 3, pa.float64()), note=["x", "y", "z"])
    assert list_targets(table) == ["score", "alpha"]


@pytest.mark.parametrize(
    ("columns", "target", "weigh", "message"),
    [
        ({}, "d_prime", "none", "--target d_prime: the column is missing: here has score"),
        ({"alpha": [0.1] * 3}, "corrected", "none", "here has score, alpha"),
        ({"d_prime": pa.array([None] * 3, pa.float64())}, "d_prime", "none", "d_prime: the column has no value"),
        ({}, "score", "responses", "--weigh responses: .*give a column responses"),
        (
            {"responses": [9] * 3, "false_alarm_rate": [0.1] * 3},
            "false_alarm_rate",
            "responses",
            "give a column false_alarm_responses",
        ),
    ],
)
def test_a_missing_column_is_named_with_those_that_there_are(columns, target, weigh, message):
    with pytest.raises(ConfigError, match=message):
        check_columns(catalogue(**columns), target, weigh, "here")


def test_columns_that_are_there_pass():
    check_columns(catalogue(responses=[1, 2, 3]), "score", "responses", "here")
    check_columns(pa.table({"clip_id": ["a"]}), "score", "none", "here")


def test_numbers_stand_in_the_order_of_the_clips_and_unknown_ones_are_no_numbers():
    table = catalogue(responses=[10, None, 30], false_alarm_responses=[1, 2, 3])
    np.testing.assert_array_equal(read_responses(table, ["c", "b", "a"], "score"), [30, np.nan, 10])
    np.testing.assert_array_equal(read_responses(table, ["c"], "false_alarm_rate"), [3])
    assert read_numbers(table, ["a"], "hits") is None


def test_clips_of_one_source_share_a_number():
    table = catalogue(film=["x", None, "x"])
    numbers = read_groups(table, ["c", "b", "a"], "film")
    assert numbers[0] == numbers[2] != numbers[1]
    with pytest.raises(ConfigError, match="--group reel: there is no such column: choose from clip_id, score, film"):
        read_groups(table, ["a"], "reel")


def test_each_measure_of_what_viewers_did_is_a_target_but_for_copies_of_the_score():
    table = pa.table(
        {
            "score": [0.5, 0.6, None],
            "hit_rate": [0.5, 0.6, None],
            "d_prime": [1.0, None, 2.0],
            "alpha": pa.array([None, None, None], pa.float64()),
        }
    )
    assert list_study_targets(table, "score") == ["score", "d_prime"]
    assert list_study_targets(table.drop(["d_prime"]), "score") == []


def test_table_6_of_data_with_one_target_is_an_error_only_where_it_was_asked_for():
    table = catalogue(responses=[1, 2, 3])
    assert list_crossed_targets(table, "score", (1, 2, 3, 4), "here") == []
    with pytest.raises(ConfigError, match=r"--tables 6: here has nothing but score to predict: give a table with hits"):
        list_crossed_targets(table, "score", (3, 6), "here")
    more = catalogue(alpha=[-1e-4, None, -2e-4])
    assert list_crossed_targets(more, "score", (3,), "here") == []
    assert list_crossed_targets(more, "score", (6,), "here") == ["score", "alpha"]
    assert list_crossed_targets(more, "score", (1, 2, 3, 4), "here") == ["score", "alpha"]
