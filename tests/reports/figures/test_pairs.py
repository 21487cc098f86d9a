"""Figure 6 says Pearson's r and p in each cell."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from m3ray.reports import figures
from m3ray.reports.figures.pairs import correlations


def test_figure_6_has_r_and_p_in_each_cell():
    rng = np.random.default_rng(0)
    x = rng.normal(size=200)
    features = pd.DataFrame({"brightness": x, "flow": 0.5 * x + rng.normal(size=200), "flat": 1.0})
    features["score"] = rng.random(200)
    figure, data = figures.plot_pairs(features)
    for row in data.itertuples():
        if "flat" in (row.x, row.y):
            assert np.isnan(row.r)
            continue
        line = stats.linregress(features[row.x], features[row.y])
        assert (row.r, row.p) == (pytest.approx(line.rvalue), pytest.approx(line.pvalue))
    assert len(data) == 6
    texts = [[t.get_text() for t in axes.texts] for axes in figure.axes]
    assert [len(t) for t in texts] == [int(k % 5 != 0) for k in range(16)], "one in each cell off the diagonal"
    first = data.iloc[0]
    assert texts[4][0].startswith(f"r = {first.r:.2f}")
    assert texts[4] == texts[1], "a pair says the same above and below"
    assert "p < 0.001" in texts[4][0]
    assert texts[2] == ["constant"]
    assert len(figure.axes[4].collections[0].get_offsets()) == 200


def test_a_constant_or_two_clips_have_no_correlation():
    features = pd.DataFrame({"x": [1.0, 2.0, 4.0], "flat": 1.0, "y": [1.0, 3.0, 2.0]})
    table = correlations(features).set_index(["x", "y"])
    assert table.index.tolist() == [("x", "flat"), ("x", "y"), ("flat", "y")]
    assert table["r"].isna().tolist() == [True, False, True]
    # r = (sum of products of deviations) / sqrt(product of their sums of squares) = 1 / sqrt(14 / 3 * 2)
    assert table.loc[("x", "y"), "r"] == pytest.approx(1 / (14 / 3 * 2) ** 0.5)
    assert correlations(features.head(2))["r"].isna().all()
