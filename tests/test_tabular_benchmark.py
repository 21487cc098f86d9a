"""benchmarks/tabular.py: its tables, its peers and its judgement, with numbers that can be reckoned in the head."""

import numpy as np
import pytest
import tabular
from archives import pack
from sklearn.svm import SVR
from tabular import PEERS, Medians, Result, check_goals, judge, show_errors, show_goals, show_ranks
from tabular_made import DEVIATION, MEAN, make_linear, make_scores, make_ties, make_tiny
from tabular_ours import BUNDLE, OURS
from tabular_peers import predict_boosting, predict_constant, predict_ridge, predict_svr
from tabular_shipped import MissingPackageError, list_shipped, load_column, load_texts, to_unit
from tabular_table import Table, make_columns, make_vector


def make_results(rho, mse=None, error=0.0, name="set"):
    """Three splits: each model has the given Spearman, and split k adds k hundredths to all of them."""
    mse = mse or {}
    return [
        Result(name, k, model, value + k / 100, mse.get(model, 0.5), error, 1.0)
        for k in range(3)
        for model, value in rho.items()
    ]


RHO = {"constant": float("nan"), "ridge": 0.5, "SVR": 0.6, "boosting": 0.4, "MLP, paper": 0.3, "MLP, selected": 0.4}
MSE = {"constant": 1.0, "ridge": 0.7, "SVR": 0.6, "boosting": 0.8, BUNDLE: 0.606}


def goals_of(rho, mse=MSE, error=0.0, **more):
    medians = Medians(make_results({**RHO, BUNDLE: rho, **more}, mse, error))
    return {goal.name: goal for goal in check_goals(medians, "set")}


def test_a_table_is_split_by_seed_and_scaled_on_train():
    table = Table(np.arange(200.0).reshape(100, 2), np.linspace(0, 1, 100), make_columns(2), "count")
    data = table.split(0)
    assert (len(data.train), len(data.val)) == (80, 20)
    assert np.abs(data.scaled[data.train].mean(axis=0)).max() < 1e-5
    assert np.array_equal(data.val, table.split(0).val)
    assert not np.array_equal(data.val, table.split(1).val)


def test_groups_stay_together_and_a_given_number_of_clips_is_trained_on():
    rows, scores = np.random.default_rng(0).normal(size=(90, 2)), np.linspace(0, 1, 90)
    data = Table(rows, scores, make_vector(2), "triples", groups=np.repeat(np.arange(30), 3)).split(0)
    assert not set(data.train // 3) & set(data.val // 3)
    assert len(data.train) == 72  # four fifths of 30 groups of 3
    assert len(Table(rows, scores, make_vector(2), "some", train=60).split(0).train) == 60


def test_made_scores_have_the_mean_the_deviation_and_the_signal_that_they_say():
    random = np.random.default_rng(0)
    signal = random.normal(size=100_000)
    scores = make_scores(signal, 0.25, random)
    assert scores.mean() == pytest.approx(MEAN, abs=0.002)
    assert scores.std() == pytest.approx(DEVIATION, abs=0.002)
    assert np.corrcoef(signal, scores)[0, 1] == pytest.approx(0.5, abs=0.01)  # the square root of a quarter
    assert len(np.unique(make_ties().scores)) == 5
    assert len(make_tiny().split(3).train) == 60


def test_a_column_from_the_others_is_not_among_them():
    rows = np.array([[1.0, 5, 7], [2, 6, 9], [3, 7, 8]])
    table = load_column(lambda **_: (rows, None), 1, "three")
    assert table.rows.tolist() == [[1, 7], [2, 9], [3, 8]]
    assert table.scores.tolist() == [0, 0.5, 1]
    assert to_unit(np.array([-4.0, 0, 4])).tolist() == [0, 0.5, 1]


def test_sentences_of_one_review_are_a_group(tmp_path):
    """The layout of VADER's source package: an archive in an archive."""
    lines = "".join(f"{k // 3}_{k % 3}\t{k % 5 - 2}\tword{k % 7} word{k % 11} word{k % 13}\n" for k in range(330))
    inner = pack({"hutto_ICWSM_2014/some_GroundTruth.txt": lines.encode()})
    (tmp_path / "v.tar.gz").write_bytes(pack({"v/additional_resources/hutto_ICWSM_2014.tar.gz": inner}))
    table = load_texts(tmp_path / "v.tar.gz", "some", "reviews")
    assert len(table.rows) == 330
    assert sorted(np.bincount(table.groups)) == [3] * 110
    assert set(np.round(table.scores, 3)) == {0.25, 0.375, 0.5, 0.625, 0.75}  # -2 to 2 of -4 to 4


def test_a_table_that_nothing_ships_says_what_to_do():
    with pytest.raises(MissingPackageError, match="--texts"):
        list_shipped(None)["films"]()


def test_peers_find_a_line():
    data = make_linear().split(0)
    truth = data.scores[data.val]
    errors = {p.__name__: np.mean((p(data) - truth) ** 2) for p in (predict_constant, predict_ridge, predict_boosting)}
    assert errors["predict_constant"] == pytest.approx(truth.var(), rel=0.02)
    assert errors["predict_ridge"] == pytest.approx(0.5 * truth.var(), rel=0.1)  # s = 0.5
    assert errors["predict_ridge"] < errors["predict_boosting"] < errors["predict_constant"]


def test_a_large_tables_support_vectors_are_those_of_the_usual_kernel(monkeypatch):
    monkeypatch.setattr("tabular_peers._SEARCHED", 0)
    data = make_tiny().split(0)
    train, scores = data.scaled[data.train], data.scores[data.train]
    mean, deviation = scores.mean(dtype=float), scores.std(dtype=float)
    plain = SVR(C=1.0, epsilon=0.1, gamma="scale").fit(train, (scores - mean) / deviation)
    expected = mean + deviation * plain.predict(data.scaled[data.val])
    assert np.abs(predict_svr(data) - expected).max() < 0.02 * deviation


def test_a_model_is_judged_on_val():
    result = judge("set", 0, "any", np.array([0.2, 0.3, 0.5]), np.array([0.1, 0.2, 0.4]), 2.0)
    assert (result.spearman, result.mse, result.error) == pytest.approx((1.0, 0.01, 0.1))


def test_the_bundle_may_be_three_thousandths_behind_and_one_percent_above():
    goals = goals_of(0.598)
    assert goals["Spearman"].is_hit
    assert "-0.0020 ± 0.0000 over 3 splits" in goals["Spearman"].detail
    assert all(goals[name].is_hit for name in ("MSE", "MSE, constant", "mean error"))
    worse = goals_of(0.596, {**MSE, BUNDLE: 0.607}, error=0.006)
    assert not any(worse[name].is_hit for name in ("Spearman", "MSE", "mean error"))
    assert worse["MSE, constant"].is_hit
    assert not goals_of(0.6, {**MSE, BUNDLE: 1.01})["MSE, constant"].is_hit


def test_a_bundle_without_ranks_is_behind_unless_there_are_none():
    assert not goals_of(float("nan"))["Spearman"].is_hit
    assert goals_of(float("nan"), ridge=0.01, SVR=0.02, boosting=-0.01)["Spearman"].is_hit


def test_time_is_judged_where_there_is_a_goal(monkeypatch):
    assert "time" not in goals_of(0.6)
    monkeypatch.setattr(tabular, "_SECONDS", {"set": 0.5})
    assert not goals_of(0.6)["time"].is_hit
    assert goals_of(0.6, selection=1.0)["selection"].detail == "1.0 plain trainings"


def test_tables_and_sums():
    medians = Medians(
        [*make_results({**RHO, BUNDLE: 0.7}, MSE, name="a"), *make_results({**RHO, BUNDLE: 0.5}, MSE, name="b")]
    )
    ranks, errors = (show(medians, {"a": "80 + 20 x 2", "b": ""}) for show in (show_ranks, show_errors))
    for lines in (ranks, errors):
        assert len(lines) == 4
        assert len({line.count("|") for line in lines}) == 1
    assert ranks[2].startswith("| a | 80 + 20 x 2 | 0.510 | 0.610 | 0.410 |")  # the middle split adds a hundredth
    assert "| +0.100 ± 0.000 |" in ranks[2]
    assert errors[2].startswith("| a | 1000.00 | 700.00 | 600.00 |")
    assert "| +0.0000 | +0.0000 | 1 | 1 | - | 1 |" in errors[2]  # nothing was selected
    goals = show_goals(medians)
    assert goals[0].startswith("missed: b: Spearman: 0.510, SVR 0.610")
    assert "Spearman: 1 of 2 sets" in goals
    assert goals[-1] == "ranks better than every peer on 1 of 2 sets: a"
    assert set(PEERS).isdisjoint(OURS)
