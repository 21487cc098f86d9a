"""The search over learning rates: what one trial trains under, what is written. Tune runs in integration tests."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from trained_studies import train_study

from m3ray.config import LimitsConfig
from m3ray.config.finetuning import FinetuneConfig
from m3ray.config.options import TuneOptions
from m3ray.model.calibrated_error import calibrated_mse
from m3ray.pipelines.finetuning import search
from m3ray.pipelines.runtime.cluster import Resources
from m3ray.study.search_history import DONE, Setting

RATES = {"backbone_learning_rate": 3e-6, "head_learning_rate": 2e-5}
RAISED = LimitsConfig(max_seconds=7200.0)


@pytest.fixture
def trained(tmp_path):
    study, variant, _ = train_study(tmp_path)
    return study, variant


def outcome(spearman, mse, predictions=None):
    predictions = np.linspace(0.2, 0.8, 30) if predictions is None else predictions
    metrics = {"spearman": np.array([0.1, spearman]), "mse": np.array([0.5, mse])}
    return SimpleNamespace(metrics=metrics, predictions=predictions)


def run_trial(monkeypatch, study, variant, result):
    calls, reports = [], []

    def finetune(study, variant, heads, sources, resources, limits):
        calls.append((variant.finetuning, limits))
        return None, [result]

    monkeypatch.setattr(search, "finetune_variant", finetune)
    monkeypatch.setattr(search.tune, "report", reports.append)
    study.root.write_bytes(b"x", *study.folder, "unfrozen", "run", "step-00000001", "state.json")
    search._run_trial(RATES, study, variant, FinetuneConfig(), {}, {}, Resources(1, 0), RAISED)
    return calls, reports


def test_a_trial_trains_with_its_rates_and_reads_clips_under_the_root_s_limits(trained, monkeypatch):
    study, variant = trained
    calls, reports = run_trial(monkeypatch, study, variant, outcome(0.4, 0.2))
    assert calls == [(FinetuneConfig(**RATES), RAISED)]
    data = study.data
    expected = calibrated_mse(np.linspace(0.2, 0.8, 30)[: len(data.val)], data.scores[data.val])
    (found,) = reports
    assert (found["spearman"], found["mse"]) == (0.4, 0.2), "of the last epoch"
    assert found["calibrated_mse"] == pytest.approx(expected)
    assert "unfrozen" not in study.root.list_names(*study.folder), "its checkpoints are gone"


def test_a_training_that_diverged_is_as_bad_as_can_be(trained, monkeypatch):
    diverged = outcome(float("nan"), float("inf"), np.full(30, np.nan))
    _, reports = run_trial(monkeypatch, *trained, diverged)  # type: ignore[call-arg]
    assert np.isfinite(list(reports[0].values())).all(), "Tune takes numbers alone"
    row = search._make_row(Setting(RATES, tuple(reports), DONE))
    assert np.isnan([row[name] for name in ("spearman", "mse", "calibrated_mse", "balanced")]).all()


def test_a_best_ranking_with_a_large_error_is_not_chosen(trained, monkeypatch):
    """As for the frozen model: the choice is by both."""
    study, variant = trained
    rows = [(3e-6, 0.50, 0.010), (4e-6, 0.51, 0.012)]
    ended = [
        Setting({**RATES, "backbone_learning_rate": rate}, ({"spearman": rho, "mse": 0.1, "calibrated_mse": e},), DONE)
        for rate, rho, e in rows
    ]
    monkeypatch.setattr(search, "read_frozen_heads", lambda *_: {})
    monkeypatch.setattr(search, "resume_search", lambda *_: SimpleNamespace(ended=ended))
    options = TuneOptions(out=study.root.uri, trials=2)
    frame = search.search_finetuning(study, variant, FinetuneConfig(), {}, options, Resources(1, 0))
    assert frame["backbone_learning_rate"].tolist() == [3e-6, 4e-6]
    assert study.root.read_json(*study.folder, "unfrozen.json")["full"]["backbone_learning_rate"] == 3e-6


def test_the_whole_search_hands_the_job_s_limits_to_its_trials(trained, monkeypatch):
    study, variant = trained
    limits = []
    monkeypatch.setattr(search, "read_frozen_heads", lambda *_: {})
    monkeypatch.setattr(search, "resume_search", lambda *_: SimpleNamespace(ended=[]))
    monkeypatch.setattr(search, "make_optimiser", lambda *_: None)
    monkeypatch.setattr(search, "TrialRecorder", lambda _: None)
    monkeypatch.setattr(search, "_make_tuner", lambda trial, *_: limits.append(trial.keywords["limits"]))

    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(search, "run_to_end", stop)
    options = TuneOptions(out=study.root.uri, limits=RAISED)
    with pytest.raises(KeyboardInterrupt):
        search.search_finetuning(study, variant, FinetuneConfig(), {}, options, Resources(1, 0))
    assert limits == [RAISED]


def test_the_best_rates_are_a_file_and_options(trained, capsys):
    study, _ = trained
    search._write(study, pd.DataFrame([{**RATES, "spearman": 0.4, "mse": 0.1, "calibrated_mse": 0.1}]), "spearman")
    assert study.root.read_json(*study.folder, "unfrozen.json")["full"] == RATES
    assert study.root.read_table(*study.folder, "trials.parquet")["spearman"].to_pylist() == [0.4]
    words = "--finetune.backbone-learning-rate 3e-06 --finetune.head-learning-rate 2e-05 (spearman 0.4000 on val)"
    assert words in capsys.readouterr().out


def test_how_work_is_laid_out_does_not_make_another_search(trained):
    study, variant = trained
    identity = search._identify_search(study, variant, FinetuneConfig(), 4, "mse")
    assert identity == search._identify_search(study, variant, FinetuneConfig(micro_batch=2, workers=8), 4, "mse")
    assert identity != search._identify_search(study, variant, FinetuneConfig(epochs=9), 4, "mse")
