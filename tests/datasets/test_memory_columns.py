"""Columns of a table that tell what viewers did, under the names that data sets give them."""

import numpy as np
import pyarrow as pa
import pytest

from m3ray.datasets.memory_columns import (
    ALIASES,
    CORRECT_REJECTIONS,
    MISSES,
    SHORT_ALIASES,
    find_memory_columns,
    read_memory_columns,
)
from m3ray.errors import SchemaError
from m3ray.schema import MEMORY


def read(**columns):
    table = pa.table(columns)
    found, _ = read_memory_columns(table, np.arange(1, table.num_rows + 1))
    assert all(column.type == MEMORY.field(name).type for name, column in found.items())
    return {name: column.to_pylist() for name, column in found.items()}


def test_every_name_that_is_read_leads_to_one_column():
    """All but the two that are added up are columns of the catalogue."""
    assert set(ALIASES) - {MISSES, CORRECT_REJECTIONS} <= set(MEMORY.names)
    names = [name for others in (*ALIASES.values(), *SHORT_ALIASES.values()) for name in others]
    assert len(names) == len(set(names))
    for own, others in ALIASES.items():
        for name in (own, *others, own.upper(), own.replace("_", " ").title()):
            assert find_memory_columns(["uri", name]) == {own: name}


def test_numbers_are_read_from_text_and_from_numbers():
    assert read(hits=["3", "", "NA"], responses=[4.0, 5.0, None]) == {
        "responses": [4, 5, None],
        "hits": [3, None, None],
    }


def test_misses_and_correct_rejections_add_up_to_all_who_were_asked():
    found = read(hits=["3", "1", ""], misses=["1", "", "2"], false_alarms=["1", "0", "2"], CR=["9", "4", "8"])
    assert found == {
        "responses": [4, None, None],
        "hits": [3, 1, None],
        "false_alarms": [1, 0, 2],
        "false_alarm_responses": [10, 4, 10],
    }


def test_given_totals_come_before_sums():
    assert read(hits=["3", "1"], misses=["1", "1"], responses=["7", ""])["responses"] == [7, 2]


def test_memcat_s_columns():
    """Its file memcat_image_data.csv: H and FA are counts of the n_resp viewers, who all saw an image twice."""
    found = read(
        image_file=["a.jpg"],
        H=["80"],
        FA=["10"],
        n_resp=["100"],
        memorability_w_fa_correction=["0.7"],
        memorability_wo_fa_correction=["0.8"],
    )
    assert found == {
        "responses": [100],
        "hits": [80],
        "false_alarms": [10],
        "false_alarm_responses": [100],
        "hit_rate": [0.8],
        "corrected": [0.7],
    }


def test_without_memcat_s_columns_nobody_knows_who_gave_false_alarms():
    assert "false_alarm_responses" not in read(H=["80"], FA=["10"], n_resp=["100"])


def test_short_names_mean_something_beside_long_ones_alone():
    assert read(hr=["left", "right"], fa=["yes", "no"], cr=["x", "y"], h=["1", "2"]) == {}
    assert set(read(hr=["0.5"], far=["0.1"], responses=["40"])) == {"responses", "hit_rate", "false_alarm_rate"}


def test_two_names_of_one_column_are_not_guessed_at():
    with pytest.raises(SchemaError, match="columns n_resp and num_responses would both be read as responses: name the"):
        read(n_resp=["4"], num_responses=["5"])
    assert read(n_resp=["4"], num_responses=["5"], responses=["6"]) == {"responses": [6]}


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({"responses": ["4", "-1"]}, r"row 2: responses is -1, expected a whole number, 0 or more"),
        ({"n_hits": ["4.5"]}, r"row 1: n_hits \(read as hits\) is 4\.5, expected a whole number"),
        ({"hits": [2**60]}, r"row 1: hits is 1\.15292e\+18, expected at most 1,000,000,000 viewers"),
        ({"responses": ["5", "1000000001"]}, "row 2: responses is 1e.09, expected at most 1,000,000,000 viewers"),
        ({"responses": ["inf"]}, "row 1: responses is inf, expected a whole number"),
        ({"hit_rate": [80.0]}, r"row 1: hit_rate is 80, expected a share in \[0, 1\]; divide percentages by 100"),
        ({"false_alarm_rate": [-0.1]}, "row 1: false_alarm_rate is -0.1, expected a share"),
        ({"d_prime": ["inf"]}, "row 1: d_prime is inf, expected a finite number"),
        ({"misses": ["few"]}, "row 1: misses 'few' is not a number; rename the column if it is one of your own"),
        ({"hits": [True]}, "hits is a column of bool, expected numbers"),
    ],
)
def test_impossible_numbers_name_row_and_column(columns, words):
    with pytest.raises(SchemaError, match=words):
        read(**columns)


def test_a_total_that_is_another_than_its_parts_is_said():
    table = pa.table({"hits": ["8", "8"], "misses": ["2", "2"], "responses": ["30", "10"]})
    found, notes = read_memory_columns(table, np.array([2, 3]))
    assert found["responses"].to_pylist() == [30, 10]
    assert notes == ["responses is another than hits + misses in 1 rows (row 2: 30, 10); it stays as given"]
