"""The small curve on a clip's card."""

import pytest

from m3ray.reports.sparks import make_spark


def test_a_curve_fills_its_box_from_the_lowest_to_the_highest():
    spark = make_spark([0.5, 1.5, 2.5], [0.2, 0.6, 0.4])
    assert spark["points"] == "0.0,28.0 50.0,0.0 100.0,14.0", "up is less in SVG"
    assert spark["text"] == "0.200 to 0.600, highest at 1.5 s"


def test_a_level_curve_is_a_line_and_no_division_by_zero():
    assert make_spark([1.0, 2.0], [0.5, 0.5])["points"] == "0.0,28.0 100.0,28.0"
    assert make_spark([1.0, 1.0], [0.5, 0.6])["points"].startswith("0.0,28.0")


@pytest.mark.parametrize(("times", "curve"), [(None, None), ([], []), ([0.5], [0.4]), ([1, 2], [0.5, float("nan")])])
def test_an_image_has_none(times, curve):
    assert make_spark(times, curve) is None
