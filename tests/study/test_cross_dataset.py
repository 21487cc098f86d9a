"""Intervals of a rank correlation: Bonett and Wright (2000), and their coverage."""

import math
from dataclasses import replace

import numpy as np
import pytest

from m3ray.study.cross_dataset import (
    as_markdown,
    evaluate_predictions,
    evaluation_table,
    spearman_confidence_interval,
)
from m3ray.study.reliability import Ceiling


def test_the_interval_is_the_published_formula():
    half = 1.959964 * math.sqrt((1 + 0.25 / 2) / 97)
    expected = math.tanh(math.atanh(0.5) - half), math.tanh(math.atanh(0.5) + half)
    assert spearman_confidence_interval(0.5, 100) == pytest.approx(expected)


def test_the_interval_covers():
    """Of 400 samples of a bivariate normal, about 95 % of the intervals hold its Spearman, 6 / pi asin(r / 2)."""
    rng, r = np.random.default_rng(0), 0.6
    truth, inside = 6 / math.pi * math.asin(r / 2), 0
    for _ in range(400):
        x = rng.standard_normal(80)
        found = evaluate_predictions("a", "b", "val", False, r * x + math.sqrt(1 - r * r) * rng.standard_normal(80), x)
        inside += found.low <= truth <= found.high
    assert 0.92 <= inside / 400 <= 0.98


def test_constant_predictions_are_said_to_be_undefined():
    found = evaluate_predictions("a", "b", "test", True, np.full(9, 0.5), np.linspace(0, 1, 9))
    assert found.spearman is None
    assert "undefined (9 test clips)" in as_markdown([found])


def test_what_a_bundle_was_trained_on_is_in_italics():
    x = np.linspace(0, 1, 9)
    rows = [evaluate_predictions(a, b, "val", a == b, x + 0.01, x) for a in "mv" for b in "mv"]
    lines = as_markdown(rows).splitlines()
    assert lines[0] == "| trained on | on m | on v |"
    assert lines[2].startswith("| m | *1.000 [")
    assert lines[3].split("|")[2].strip().startswith("1.000 [")


def test_untrained_weights_are_named_under_the_table():
    x = np.linspace(0, 1, 9)
    rows = [
        evaluate_predictions("m", "m", "val", True, x, x),
        replace(evaluate_predictions("v", "m", "val", False, x, x), untrained=True),
    ]
    assert as_markdown(rows).splitlines()[-1].startswith("UNTRAINED weights made the features of v:")
    assert "UNTRAINED" not in as_markdown(rows[:1])


def test_rho_stands_beside_its_ceiling():
    x = np.linspace(0, 1, 40)
    known = Ceiling(40, reliability=0.64, pearson=0.8, spearman=0.8, low=0.8, high=0.8)
    row = evaluate_predictions("m", "m", "val", True, x, x**2 + np.tile([0.3, 0], 20), known)
    assert row.share == pytest.approx(row.spearman / 0.8)
    # The interval of a known ceiling is that of rho divided by it.
    assert (row.share_low, row.share_high) == pytest.approx((row.low / 0.8, row.high / 0.8))
    text = as_markdown([row])
    assert f"{100 * row.share:.0f} [" in text
    assert "% of the ceiling 0.800 (reliability 0.640)" in text
    assert "It is that of a bundle's scores" in text, "a study's tables have another rho"


def test_an_unknown_ceiling_is_said_and_is_no_number_in_the_table():
    x = np.linspace(0, 1, 40)
    rows = [evaluate_predictions("m", "m", "val", True, x, x, Ceiling(0, 40, reason="nobody counted"))]
    assert "Ceiling unknown on m: nobody counted." in as_markdown(rows)
    table = evaluation_table(rows)
    assert np.isnan(table["ceiling"].item())
    assert (table["ceiling"].dtype, table["share"].dtype) == (float, float)


def test_bundles_of_one_root_have_a_row_each_with_what_they_predict():
    """Two bundles of one root, one of d', shared a row: the last one took the others' place."""
    truth = np.linspace(0.1, 0.9, 30)
    rows = [
        replace(evaluate_predictions("memento", "memento", "val", True, truth + shift, truth), bundle=name, **more)
        for name, shift, more in (
            ("plain", 0.1, {"ceiling": 0.9, "share": 1.1, "reliability": 0.8}),
            ("dp", 0.2, {"target": "d_prime", "no_ceiling": "d' has none"}),
        )
    ]
    text = as_markdown(rows)
    assert "| memento: plain | *1.000" in text
    assert "| memento: dp | *d_prime: 1.000" in text
    assert "Ceiling unknown on memento for d_prime: d' has none." in text
    assert evaluation_table(rows)["bundle"].tolist() == ["plain", "dp"]
