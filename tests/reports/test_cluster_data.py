"""Clusters as the figures draw them."""

import numpy as np
import pandas as pd
import pytest
from made_reports import fill_page, replace_column

from m3ray.reports.cluster_data import Clusters, _project, choose_extremes
from m3ray.reports.cluster_section import add_clusters


def test_a_train_split_that_changed_draws_no_wrong_clusters(root):
    replace_column(root, "split", ["train"] * 240)
    page = fill_page(root, add_clusters)
    assert "the train split has changed since DBSCAN was fitted" in page.missing[0]
    assert not page.figures


def test_extremes_are_chosen_by_mean_and_noise_is_none_of_them():
    scored = pd.DataFrame({"cluster": [-1, -1, -1, 0, 0, 1, 1, 2], "score": [1, 1, 1, 0.5, 0.7, 0.2, 0.4, 0.5]})
    assert choose_extremes(scored) == [0, 1]
    assert choose_extremes(scored[scored["cluster"] < 1]) == [0], "one cluster is both"
    assert choose_extremes(scored[scored["cluster"] < 0]) == []


def test_extremes_are_of_the_fifteen_largest():
    rows = [(k, 0.5) for k in range(15) for _ in range(2)] + [(15, 0.9)]
    assert 15 not in choose_extremes(pd.DataFrame(rows, columns=["cluster", "score"])), "the best, but a cluster of one"


def test_scores_are_joined_on_the_main_tier_s_clusters():
    points = pd.DataFrame({"tier": ["scene", "event", "event"], "clip_id": ["a", "a", "b"], "cluster": [7, 1, 2]})
    catalogue = pd.DataFrame(
        {"clip_id": ["a", "b", "c"], "score": [0.5, np.nan, 0.1], "labels": [["x"], [], []], "uri": ["u", "v", "w"]}
    )
    rows = Clusters(points.assign(x=0.0, y=0.0), "event").join_scores(catalogue).to_dict("records")
    assert rows == [{"clip_id": "a", "cluster": 1, "score": 0.5, "labels": ["x"], "uri": "u"}], "b has no score"


def test_the_plane_is_seen_from_its_widest_side():
    """Points on a line through space lie on one axis, in their order and at their distances."""
    steps = np.array([0.0, 1.0, 3.0, 7.0])
    flat = _project(steps[:, None] * np.array([[1.0, 2.0, 2.0]]) / 3 + 5)
    assert np.abs(np.diff(flat["x"])) == pytest.approx(np.diff(steps))
    assert flat["y"] == pytest.approx(0, abs=1e-9)


def test_a_plane_of_one_dimension_is_a_line_and_of_two_itself():
    line = np.array([[0.0], [2.0], [7.0]])
    assert np.abs(np.diff(_project(line)["x"])) == pytest.approx([2, 5])
    assert _project(line)["y"] == pytest.approx(0)
    square = np.array([[0.0, 0.0], [4.0, 0.0], [0.0, 1.0]])
    drawn = np.column_stack(list(_project(square).values()))
    distances = np.linalg.norm(drawn[:, None] - drawn[None], axis=-1)
    assert distances == pytest.approx(np.linalg.norm(square[:, None] - square[None], axis=-1))
