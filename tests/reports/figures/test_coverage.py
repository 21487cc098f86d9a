"""Coverage by tenth of the prediction: what is counted, and what is drawn."""

import numpy as np
import pandas as pd
import pytest
from matplotlib import pyplot as plt

from m3ray.reports.figures.coverage import count_by_tenth, plot_coverage
from m3ray.reports.style import house_style


def test_clips_are_counted_by_tenth_of_the_score():
    """By hand: 60 clips in random order, of which those of the two lowest tenths with an odd rank are not covered."""
    order = np.random.default_rng(0).permutation(60)
    covered = ~((order < 12) & (order % 2 == 1))
    frame = count_by_tenth(order / 100, covered)
    assert frame["clips"].tolist() == [6] * 10
    assert frame["covered"].tolist() == [3, 3, *[6] * 8]
    assert frame["coverage"].tolist() == [0.5, 0.5, *[1.0] * 8]
    assert frame["mean_score"].iloc[0] == pytest.approx(0.025)


def test_the_interval_is_wilson_s():
    """Wilson 1927 at 3 of 6 with z = 1.96: (p + z^2/2n +- z sqrt(p(1-p)/n + z^2/4n^2)) / (1 + z^2/n)."""
    row = count_by_tenth(np.arange(60) / 60, np.tile([True, False], 30)).iloc[0]
    z, n, p = 1.959964, 6, 0.5
    half = z * np.sqrt(p * (1 - p) / n + z**2 / (4 * n**2)) / (1 + z**2 / n)
    assert (row["low"], row["high"]) == pytest.approx((0.5 - half, 0.5 + half), abs=1e-6)


def test_each_bundle_is_drawn_with_its_error_bars_and_named():
    frame = pd.concat(
        count_by_tenth(np.arange(60) / 60, np.arange(60) % k > 0).assign(bundle=name)
        for name, k in (("m3s", 5), ("tuned", 7))
    )
    with house_style():
        figure, data = plot_coverage(frame)
    (axes,) = figure.axes
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["90 %", "m3s", "tuned"]
    assert len(data) == 20
    dots, *_ = (line for line in axes.lines if line.get_marker() == "o")
    np.testing.assert_allclose(np.asarray(dots.get_ydata(), float), frame["coverage"].to_numpy()[:10])
    low, high = axes.get_ylim()
    assert low <= frame["low"].min()
    assert high >= frame["high"].max()
    plt.close(figure)
