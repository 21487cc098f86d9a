"""Figure 7 and the calibration against NumPy and SciPy."""

import numpy as np
import pandas as pd
import pytest
from matplotlib import pyplot as plt
from scipy import stats

from m3ray.reports import figures
from m3ray.reports.figures.predictions import plot_calibration
from m3ray.reports.style import house_style


def test_figure_7_ranks_each_by_itself():
    rng = np.random.default_rng(0)
    predictions = pd.DataFrame({"truth": rng.random(30), "score": rng.random(30)})
    with house_style():
        figure, data = figures.plot_distributions(predictions)
        truth, prediction = figure.axes[1].lines
        np.testing.assert_allclose(truth.get_ydata(), np.sort(predictions["truth"])[::-1])
        np.testing.assert_allclose(prediction.get_ydata(), np.sort(predictions["score"])[::-1])
        assert data["rank"].tolist() == list(range(1, 31))
    assert not plt.get_fignums(), "figures are closed"


def test_the_calibration_line_is_the_regression():
    rng = np.random.default_rng(0)
    score = rng.random(100)
    frame = pd.DataFrame({"score": score, "truth": 0.2 + 0.5 * score + rng.normal(0, 0.05, 100)})
    figure, data = figures.plot_calibration(frame)
    line = stats.linregress(frame["score"], frame["truth"])
    np.testing.assert_allclose(data["calibrated"], line.intercept + line.slope * frame["score"])
    dashed = next(drawn for drawn in figure.axes[0].lines if drawn.get_linestyle() == "--")
    np.testing.assert_allclose(dashed.get_ydata(), line.intercept + line.slope * dashed.get_xdata())
    assert len(figure.axes[0].containers) == 10, "a mean for each tenth"
    _, flat = figures.plot_calibration(frame.assign(score=0.5))
    assert flat["calibrated"].to_numpy() == pytest.approx(frame["truth"].mean()), (
        "a constant prediction divides nothing"
    )


def test_tenths_of_fewer_than_five_clips_have_no_mean():
    score = np.linspace(0, 1, 49)
    figure, _ = plot_calibration(pd.DataFrame({"score": score, "truth": score}))
    means = figure.axes[0].containers
    assert len(means) == 9, "of 49 clips nine tenths have five, the last one four"
    expected = [score[5 * k : 5 * k + 5].mean() for k in range(9)]
    assert [mean.lines[0].get_ydata()[0] for mean in means] == pytest.approx(expected)  # type: ignore[attr-defined]
