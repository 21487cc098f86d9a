"""Cells taken apart."""

import pytest

from m3ray.reports.tables.cells import read_cell


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("0.2661", ["0.2661"]),
        ("1,460,865", ["1,460,865"]),
        ("5.1e-08", ["5.1e-08"]),
        ("< 0.001", ["< 0.001"]),
        ("-0.0300 [-0.0500, -0.0100] *", ["-0.0300 *", "[-0.0500, -0.0100]"]),
        ("+0.0529 [-0.1035, +0.2092]", ["+0.0529", "[-0.1035, +0.2092]"]),
        ("+0.0100 (one run: no interval)", ["+0.0100", "(one run: no interval)"]),
        ("0.3115 (epoch 9)", ["0.3115", "(epoch 9)"]),
        ("0.6100 ± 0.0120 (K = 5)", ["0.6100 ± 0.0120", "(K = 5)"]),
        ("0.6000 ± 0.0100 [0.6200]", ["0.6000 ± 0.0100", "[0.6200]"]),
        ("0.6000 [0.6200] (1 of 4 runs diverged)", ["0.6000", "[0.6200]", "(1 of 4 runs diverged)"]),
    ],
)
def test_a_number_has_a_line_for_each_of_its_parts(text, lines):
    assert read_cell(text).lines == lines


@pytest.mark.parametrize(
    "text", ["", "M3-S", "1.a", "[512, 64, 1]", "undefined: 4 of 4 runs diverged", "2 clips: no interval", "0.1 0.2"]
)
def test_what_is_no_number_of_a_table_is_left_whole(text):
    assert read_cell(text) is None


def test_parts_have_names():
    cell = read_cell("-0.0300 [-0.0500, -0.0100] *")
    assert (cell.number, cell.interval, cell.star) == ("-0.0300", ("-0.0500", "-0.0100"), True)
    cell = read_cell("< 0.6000 ± 0.0100 [0.6200] (K = 5)")
    assert (cell.less, cell.deviation, cell.ensemble, cell.rest) == (True, "0.0100", "0.6200", "(K = 5)")
