"""A study on disk: what a trial leaves, and the tables made of all of them."""

import numpy as np
import pandas as pd
import pytest
from planted import CPU, planted

from m3ray.config import TrainConfig
from m3ray.errors import StudyError
from m3ray.features.load import StudyFeatures
from m3ray.storage.root import Root
from m3ray.study.store import collect_trials, read_trial_tensors, write_trial
from m3ray.study.study import Study
from m3ray.study.trial import run_trial
from m3ray.study.variants import Variant

TRAINING = TrainConfig(hidden=(4,), epochs=2)
FULL = Variant("all", ("raw",), training=TRAINING)
LESS = Variant("without contrast", ("raw",), ("contrast",), TRAINING, "all")


@pytest.fixture
def study(tmp_path):
    return Study(Root(str(tmp_path)), "ablation", StudyFeatures(planted(100), {"raw": "raw-1"}, "key"), (0, 1))


def train(study, variant):
    result = run_trial(variant, study.data, study.seeds, CPU)
    write_trial(study, variant, result)
    return result


def test_a_trial_s_models_come_back(study):
    result = train(study, LESS)
    tensors = read_trial_tensors(study, LESS)
    assert tensors["columns"].tolist() == [0, 2]
    assert {name for name in tensors if name != "columns"} == set(result.trained.model.state_dict())
    np.testing.assert_array_equal(tensors["weights.0"], result.trained.model.weights[0].detach().numpy())


def test_the_tables_hold_every_trial_and_its_difference(study, tmp_path):
    results = {variant.name: train(study, variant) for variant in (FULL, LESS)}
    trials = collect_trials(study, [FULL, LESS, FULL]).set_index("variant")
    assert list(trials.index) == ["all", "without contrast"], "each once"
    gap = trials.loc["without contrast", "spearman"] - trials.loc["all", "spearman"]
    assert trials.loc["without contrast", "delta_spearman"] == pytest.approx(gap)
    folder = tmp_path / "study" / "ablation"
    assert len(pd.read_parquet(folder / "runs.parquet")) == 2 * 2 * 2
    predictions = pd.read_parquet(folder / "predictions.parquet")
    own = predictions[predictions["variant"] == "all"]["score"]
    np.testing.assert_allclose(own, results["all"].trained.val.mean(axis=0))
    config = study.root.read_json(*study.folder, "config.json")
    assert (config["seeds"], config["key"]) == ([0, 1], "key")
    assert [variant["name"] for variant in config["variants"]] == ["all", "without contrast"]


def test_a_variant_without_a_complete_folder_failed(study):
    train(study, FULL)
    train(study, LESS)
    study.root.delete(*study.trial_folder(LESS), "trial.json")
    trials = collect_trials(study, [FULL, LESS]).set_index("variant")
    assert trials.loc["without contrast", "status"] == "failed"
    assert pd.isna(trials.loc["without contrast", "spearman"])
    assert trials.loc["all", "status"] == "done"


def test_a_study_of_which_nothing_was_trained_is_an_error(study):
    with pytest.raises(StudyError, match="every trial failed"):
        collect_trials(study, [FULL])
