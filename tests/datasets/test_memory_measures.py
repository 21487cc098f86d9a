"""What follows from counts: rates, corrected scores, d' and a score, each against a hand's calculation."""

from statistics import NormalDist

import numpy as np
import pytest

from m3ray.datasets.memory_measures import complete_memory
from m3ray.errors import SchemaError
from m3ray.schema import MEMORY, Clip, catalogue_table

z = NormalDist().inv_cdf


def complete(*rows, scores=None):
    given = scores or [0.8] * len(rows)
    clips = [Clip(f"c{k}", f"/{k}", score=given[k], extra=row) for k, row in enumerate(rows)]
    table, notes = complete_memory(catalogue_table(clips))
    assert all(table.schema.field(name) == MEMORY.field(name) for name in MEMORY.names if name in table.column_names)
    return table, notes


COUNTS = {"responses": 50, "hits": 40, "false_alarms": 5, "false_alarm_responses": 20}


def test_counts_tell_all_the_rest():
    table, notes = complete(COUNTS)
    row = table.to_pylist()[0]
    assert {name: row[name] for name in COUNTS} == COUNTS
    assert (row["hit_rate"], row["false_alarm_rate"]) == (0.8, 0.25)
    assert row["corrected"] == pytest.approx(0.55)
    assert row["d_prime"] == pytest.approx(z(40.5 / 51) - z(5.5 / 21))
    assert notes == (
        "responses: 50 to 50 viewers a clip, median 50",
        "derived: hit_rate, false_alarm_rate, corrected, d_prime",
    )


def test_clips_without_counts_stay_without():
    table, notes = complete(COUNTS, {}, {"responses": 10, "hits": None})
    assert table["hits"].to_pylist() == [40, None, None]
    for name in ("hit_rate", "false_alarm_rate", "corrected", "d_prime"):
        assert table[name].null_count == 2
    assert notes[0] == "responses of 2 of 3 clips: 10 to 50 viewers a clip, median 30"


def test_what_nothing_is_told_of_is_no_column():
    for row in ({}, {"year": 1999}, {"hits": None}):
        table, notes = complete(row)
        assert not {"responses", "hit_rate", "d_prime"} & set(table.column_names)
        assert notes == ()
    assert "d_prime" not in complete({"responses": 30, "hits": 10}, scores=[0.33])[0].column_names


def test_nobody_asked_is_unknown_and_not_nought():
    table, _ = complete({"responses": 0, "hits": 0}, {"responses": 10, "hits": 8})
    assert table["hit_rate"].to_pylist() == [None, 0.8]


def test_rates_alone_give_d_prime_and_that_is_said():
    table, notes = complete({"hit_rate": 1.0, "false_alarm_rate": 0.0}, COUNTS, scores=[1.0, 0.8])
    assert table["d_prime"][0].as_py() == pytest.approx(z(0.99) - z(0.01))
    assert notes[-1].endswith("d_prime; rates of 1 clips without counts are moved into (0.01, 0.99) for d_prime")


def test_given_values_stay_and_a_difference_is_said():
    table, notes = complete(COUNTS | {"hit_rate": 0.7, "corrected": 0.5})
    assert (table["hit_rate"][0].as_py(), table["corrected"][0].as_py()) == (0.7, 0.5)
    assert notes[1] == "hit_rate is another than hits / responses for 1 clips (c0: 0.700, 0.800); it stays as given"


def test_where_no_clip_has_a_score_it_is_the_hit_rate():
    table, notes = complete(COUNTS, {"responses": 10, "hits": None}, scores=[None, None])
    assert table["score"].to_pylist() == [0.8, None]
    assert notes[-1] == "score is the hit rate: 1 clips"
    table, _ = complete(COUNTS, COUNTS, scores=[0.8, None])
    assert table["score"].to_pylist() == [0.8, None], "a score that is left out is to be predicted"


def test_a_score_far_from_the_hit_rate_is_said_and_stays():
    table, notes = complete(COUNTS, COUNTS, scores=[0.55, 0.79])
    assert table["score"].to_pylist() == [0.55, 0.79]
    assert notes[-1] == (
        "the scores of 1 clips lie further than 0.1 from their hit rate (c0: 0.550, 0.800), as corrected ones do; they "
        "stay as given"
    )


@pytest.mark.parametrize(
    ("row", "words"),
    [
        (
            {"responses": 10, "hits": 12},
            "clip c1: hits 12, responses 10; expected 0 or more, and no more hits than resp",
        ),
        ({"responses": -1}, "clip c1: hits nan, responses -1"),
        ({"false_alarms": 3, "false_alarm_responses": 2}, "clip c1: false_alarms 3, false_alarm_responses 2"),
        ({"responses": 2**60}, "clip c1: hits nan, responses 1.15292e.18; expected at most 1,000,000,000 viewers"),
        ({"responses": 2**60 + 1}, "clip c1: hits nan, responses 1.15292e.18; expected at most"),
        ({"hits": -1}, "clip c1: hits -1, responses nan"),
    ],
)
def test_impossible_counts_name_the_clip(row, words):
    with pytest.raises(SchemaError, match=words):
        complete(COUNTS, row)


def test_columns_that_are_no_numbers_are_named():
    with pytest.raises(SchemaError, match="hits is a column of string, expected numbers: rename it"):
        complete({"hits": "many"})


def test_each_clip_has_its_own_rate():
    rng = np.random.default_rng(0)
    responses = rng.integers(1, 100, 1000)
    hits = rng.binomial(responses, 0.7)
    table, _ = complete(*({"responses": int(n), "hits": int(h)} for n, h in zip(responses, hits, strict=True)))
    np.testing.assert_allclose(table["hit_rate"].to_numpy(), hits / responses)
