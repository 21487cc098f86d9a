"""The curves of raw features: what is drawn of which, and where."""

import numpy as np
import pandas as pd
import pytest
from matplotlib import pyplot as plt

from m3ray.reports.figures.what_if import choose_features, plot_what_if
from m3ray.reports.style import house_style
from m3ray.study.partial_dependence import ACCUMULATED, PARTIAL


def make_curves(names=("brightness", "size_bytes"), runs=4, points=5):
    parts = []
    for k, name in enumerate(names):
        for kind, slope in ((PARTIAL, 1.0), (ACCUMULATED, 0.5)):
            value = np.linspace(1, 2, points) * (10.0 ** np.arange(points) if name == "size_bytes" else 1)
            effect = slope * (k + 1) * np.linspace(-0.1, 0.1, points)
            spread = np.full(points, 0.01 if runs > 1 else np.nan)
            columns = {"feature": name, "kind": kind, "value": value, "effect": effect, "spread": spread}
            parts.append(pd.DataFrame({**columns, "runs": runs}))
    return pd.concat(parts, ignore_index=True)


@pytest.fixture
def draw():
    figures = []

    def draw(*args):
        with house_style():
            figures.append(plot_what_if(*args))
            return figures[-1]

    yield draw
    for figure, _ in figures:
        plt.close(figure)


def test_each_feature_has_a_panel_with_both_curves_a_band_and_strokes(draw):
    curves = make_curves()
    figure, data = draw(curves, "d_prime")
    assert data is curves
    first, second = figure.axes
    assert first.get_ylabel() == "change of the d_prime"
    assert [axes.get_xlabel() for axes in figure.axes] == ["brightness, 0 to 1", "size, bytes"]
    for axes, name in ((first, "brightness"), (second, "size_bytes")):
        for kind in (PARTIAL, ACCUMULATED):
            rows = curves[(curves["feature"] == name) & (curves["kind"] == kind)]
            (line,) = (line for line in axes.lines if line.get_label() == kind)
            np.testing.assert_allclose(np.asarray(line.get_data(), float), rows[["value", "effect"]].to_numpy().T)
        (strokes,) = (line for line in axes.lines if line.get_marker() == "|")
        assert np.asarray(strokes.get_xdata(), float).tolist() == rows["value"].tolist()
        (band,) = axes.collections
        assert band.get_paths()[0].vertices[:, 1].max() == pytest.approx((rows["effect"] + 0.01).max())
    assert (first.get_xscale(), second.get_xscale()) == ("linear", "log")
    assert first.get_ylim() == second.get_ylim()
    assert [text.get_text() for text in figure.legends[0].get_texts()] == [PARTIAL, ACCUMULATED]


def test_one_run_has_no_band(draw):
    figure, _ = draw(make_curves(runs=1))
    assert not any(axes.collections for axes in figure.axes)


def test_of_hog_the_five_widest_components_are_drawn_after_the_named_features(draw):
    names = [*(f"hog_{k}" for k in range(10)), "contrast"]  # a later one's curve is wider
    assert choose_features(make_curves(names)) == ["contrast", *(f"hog_{k}" for k in range(5, 10))]
    figure, _ = draw(make_curves(names))
    assert sum(axes.get_visible() for axes in figure.axes) == 6
