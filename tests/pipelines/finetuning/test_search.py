"""The search over learning rates: what one trial trains under, what is written. Tune runs in integration tests."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from trained_studies import train_study

from m3ray.config import LimitsConfig
from m3ray.config.finetuning import FinetuneConfig
from m3ray.config.options import TuneOptions
from m3ray.pipelines.finetuning import search
from m3ray.pipelines.runtime.cluster import Resources

RATES = {"backbone_learning_rate": 3e-6, "head_learning_rate": 2e-5}
RAISED = LimitsConfig(max_seconds=7200.0)


@pytest.fixture
def trained(tmp_path):
    study, variant, _ = train_study(tmp_path)
    return study, variant


def outcome(spearman, mse):
    return SimpleNamespace(metrics={"spearman": np.array([0.1, spearman]), "mse": np.array([0.5, mse])})


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
    assert reports == [{"spearman": 0.4, "mse": 0.2}], "of the last epoch"
    assert "unfrozen" not in study.root.list_names(*study.folder), "its checkpoints are gone"


def test_a_training_that_diverged_is_as_bad_as_can_be(trained, monkeypatch):
    _, reports = run_trial(monkeypatch, *trained, outcome(float("nan"), float("inf")))  # type: ignore[call-arg]
    assert reports == [{"spearman": -1.0, "mse": 1.0}]


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
    search._write(study, pd.DataFrame([{**RATES, "spearman": 0.4, "mse": 0.1}]), "spearman")
    assert study.root.read_json(*study.folder, "unfrozen.json")["full"] == RATES
    assert study.root.read_table(*study.folder, "trials.parquet")["spearman"].to_pylist() == [0.4]
    words = "--finetune.backbone-learning-rate 3e-06 --finetune.head-learning-rate 2e-05 (spearman 0.4000 on val)"
    assert words in capsys.readouterr().out


def test_how_work_is_laid_out_does_not_make_another_search(trained):
    study, variant = trained
    identity = search._identify_search(study, variant, FinetuneConfig(), 4, "mse")
    assert identity == search._identify_search(study, variant, FinetuneConfig(micro_batch=2, workers=8), 4, "mse")
    assert identity != search._identify_search(study, variant, FinetuneConfig(epochs=9), 4, "mse")
