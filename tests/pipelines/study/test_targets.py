"""Table 6 on a root: which targets are trained, and when. Trials run here, without Ray."""

from types import SimpleNamespace

import numpy as np
import pytest
from made_roots import made_root
from made_viewers import add_viewers, made_viewed_root

from m3ray.config import TrainConfig
from m3ray.errors import ConfigError
from m3ray.features.load import load_data
from m3ray.pipelines.runtime.cluster import Resources
from m3ray.pipelines.study import ablation
from m3ray.pipelines.study.targets import describe_weights, load_study_data, run_targets
from m3ray.study.study import Study
from m3ray.study.targets import read_targets
from m3ray.study.variants import Variant

CLUSTER, PAPER = Resources(1, 0), (1, 2, 3, 4)
TIERS = ("raw", "scene")
MODELS = [Variant("M3", TIERS, training=TrainConfig(hidden=(4,), epochs=1))]


@pytest.fixture
def trained(monkeypatch):
    """Names of what is trained, by target."""
    names = []
    monkeypatch.setattr(ablation.tune, "report", lambda _: None)

    def run_trials(work, _resources):
        for label, (study, variant) in work.items():
            names.append((study.data.target.name, variant.name))
            ablation._trial({"variant": label}, work, gpu=False)

    monkeypatch.setattr(ablation, "_run_trials", run_trials)
    return names


def make_study(root):
    return Study(root, "ablation", load_data(root, TIERS), (0,))


def test_table_6_stands_beside_all_of_the_paper_s_and_trains_nothing_twice(tmp_path, trained):
    study = make_study(made_viewed_root(tmp_path, rows=60))
    assert run_targets(study, ("scene",), MODELS, PAPER, CLUSTER)
    assert [target for target, _ in trained] == ["score", "false_alarm_rate", "corrected", "d_prime", "alpha"]
    trained.clear()
    assert run_targets(study, ("scene",), MODELS, (6,), CLUSTER)
    assert trained == []
    assert len(read_targets(study.root, study.folder)[0]) == 5


def test_all_targets_are_trained_in_one_search(tmp_path, trained, monkeypatch):
    """Each search starts workers of its own, which costs more than it takes to train a row."""
    searches, run_trials = [], ablation._run_trials
    monkeypatch.setattr(ablation, "_run_trials", lambda work, on: (searches.append(list(work)), run_trials(work, on)))
    assert run_targets(make_study(made_viewed_root(tmp_path, rows=60)), ("scene",), MODELS, (6,), CLUSTER)
    assert searches == [["M3, score", "M3, false_alarm_rate", "M3, corrected", "M3, d_prime", "M3, alpha"]]


def test_one_table_of_the_paper_s_is_made_without_it(tmp_path, trained):
    study = make_study(made_viewed_root(tmp_path, rows=60))
    assert not run_targets(study, TIERS, MODELS, (3,), CLUSTER)
    assert trained == []


def test_data_with_nothing_else_to_predict_have_none_and_say_so_where_it_was_asked_for(tmp_path, trained):
    study = make_study(made_root(tmp_path, rows=60))
    assert not run_targets(study, TIERS, MODELS, PAPER, CLUSTER)
    assert trained == []
    with pytest.raises(ConfigError, match=r"--tables 6: .* has nothing but score to predict: give a table with hits"):
        run_targets(study, TIERS, MODELS, (6,), CLUSTER)


def test_a_target_that_cannot_be_trained_on_is_left_out_with_the_reason(tmp_path, trained, capsys):
    root = add_viewers(made_viewed_root(tmp_path, rows=60), d_prime=np.full(60, 2.0))
    assert run_targets(make_study(root), ("scene",), MODELS, (6,), CLUSTER)
    assert "d_prime" not in [target for target, _ in trained]
    assert "study: Table 6 leaves d_prime out: all train values of d_prime are 2" in capsys.readouterr().out


def test_a_job_s_options_say_what_is_predicted_and_weighed(tmp_path):
    root = made_viewed_root(tmp_path, rows=60)
    options = SimpleNamespace(allow_missing=False, target="corrected", weigh="responses")
    data = load_study_data(root, TIERS, options).data
    assert data.target.name == "corrected"
    np.testing.assert_array_equal(data.weights, np.ones(60))
    assert "as many viewers as it had" in describe_weights(data)["weights"]
    alike = load_study_data(root, TIERS, SimpleNamespace(allow_missing=False, target=None, weigh="none")).data
    assert (alike.target.name, alike.weights, describe_weights(alike)) == ("score", None, {})
