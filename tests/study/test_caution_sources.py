"""The warnings of a study as its root holds it."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from made_reports import make_small_root, make_trials

from m3ray.datasets.catalogue import write_catalogue
from m3ray.schema import Clip, catalogue_table
from m3ray.storage.tier_index import TierEntry, update_tier_index
from m3ray.study.caution_sources import read_cluster_cautions, read_selection_cautions, read_study_cautions
from m3ray.training.candidates import PRESET

FOLDER = ("study", "ablation")


def write_predictions(root, truth, scores):
    ids = [f"c{k}" for k in range(len(truth))]
    frame = pd.DataFrame({"variant": "M3-S", "clip_id": ids, "truth": truth, "score": scores})
    root.write_table(pa.Table.from_pandas(frame), *FOLDER, "predictions.parquet")


@pytest.fixture
def root(tmp_path):
    """A study whose 40 val clips are predicted well."""
    root = make_small_root(tmp_path)
    truth = np.linspace(0.4, 0.9, 40)
    write_predictions(root, truth, 0.65 + 0.8 * (truth - 0.65))
    return root


def write_clusters(root, measure="dbscan", **learned):
    identity = {"config": {"measure": measure}}
    update_tier_index(root, {"similarity": TierEntry("similarity-1", untrained=True, identity=identity)})
    root.write_json({"tiers": {"event": {"learned": learned}}}, "artifacts", "similarity-1.json")


def test_a_healthy_study_is_silent(root):
    assert read_study_cautions(root, FOLDER) == []


def test_the_error_is_the_one_of_the_tables(root):
    trials = make_trials()
    trials.loc[0, "mse"] = 0.9
    root.write_table(pa.Table.from_pandas(trials), *FOLDER, "trials.parquet")
    (found,) = read_study_cautions(root, FOLDER)
    assert found.startswith("M3-S: its mean squared error on val, 0.9, is above")


def test_few_val_clips(root):
    write_predictions(root, [0.4, 0.6, 0.8], [0.45, 0.6, 0.75])
    assert ["val has 3 clips" in sentence for sentence in read_study_cautions(root, FOLDER)] == [True]


def test_clusters_that_hold_nearly_all_clips(root):
    write_clusters(root, largest_share_=0.98, noise_share_=0.01, eps_=0.9)
    assert read_study_cautions(root, FOLDER) == read_cluster_cautions(root) != []
    assert "DBSCAN of event: 98.0% of the train clips are in one cluster at eps 0.9" in read_cluster_cautions(root)[0]


@pytest.mark.parametrize(
    ("measure", "learned"),
    [
        ("dbscan", {"largest_share_": 0.5, "noise_share_": 0.1, "eps_": 0.9}),
        ("dbscan", {}),  # an earlier m3ray did not keep the shares
        ("kde", {"largest_share_": 0.98, "noise_share_": 0.01}),
    ],
)
def test_other_clusters_are_no_warning(root, measure, learned):
    write_clusters(root, measure, **learned)
    assert read_cluster_cautions(root) == []


def test_clusters_whose_file_is_gone_are_no_warning(root):
    write_clusters(root, largest_share_=0.98, noise_share_=0.01)
    root.delete("artifacts", "similarity-1.json")
    assert read_cluster_cautions(root) == []


def test_a_regressor_of_the_same_tiers_that_is_better(root):
    trials = make_trials()
    better = trials.iloc[1].to_dict() | {"variant": "svr, all tiers", "delta_spearman": 0.05, "delta_p": 0.001}
    better |= {"delta_low": 0.02, "delta_high": 0.08, "spearman": 0.68}
    root.write_table(pa.Table.from_pandas(pd.concat([trials, pd.DataFrame([better])])), *FOLDER, "trials.parquet")
    assert read_study_cautions(root, FOLDER) == [], "not known as a regressor yet"
    config = root.read_json(*FOLDER, "config.json")
    config["variants"].append({"name": "svr, all tiers", "regressor": "svr", "full": "M3-S"})
    root.write_json(config, *FOLDER, "config.json")
    assert "beaten beyond noise by svr, all tiers (rho 0.6800, +0.0500)" in read_study_cautions(root, FOLDER)[0]


def test_a_weighed_study_is_judged_by_its_weights(root):
    truth = np.linspace(0.4, 0.9, 40)
    scores = 0.65 + 0.8 * (truth - 0.65) + np.where(np.arange(40) < 20, 0.3, 0.0)
    write_predictions(root, truth, scores)
    assert any("too high by 0.15" in sentence for sentence in read_study_cautions(root, FOLDER))
    tables = root.read_json(*FOLDER, "tables.json")
    root.write_json(tables | {"notes": {"weights": "by viewers"}}, *FOLDER, "tables.json")
    clips = [Clip(f"c{k}", "x", score=float(truth[k])) for k in range(40)]
    catalogue = catalogue_table(clips).append_column("responses", pa.array([1] * 20 + [99] * 20))
    write_catalogue(root, catalogue, 0)
    assert not any("on average" in sentence for sentence in read_study_cautions(root, FOLDER))


def write_choice(root, **changes):
    """What a job that chose the full model's settings leaves."""
    training = root.read_json(*FOLDER, "config.json")["variants"][0]["training"]
    gain = {"score": -0.001, "standard_error": 0.004}
    choice = {"training": training, "chosen": "linear, strong decay", "gain_over_preset": gain}
    root.write_json(choice | changes, "artifacts", "settings", "0123456789.json")


def test_a_choice_of_settings_that_gained_nothing(root):
    assert read_selection_cautions(root, FOLDER) == []
    write_choice(root)
    (found,) = read_selection_cautions(root, FOLDER)
    assert "linear, strong decay, which was chosen, scores -0.0010 (standard error 0.004)" in found


@pytest.mark.parametrize(
    "changes",
    [
        {"gain_over_preset": {"score": 0.02, "standard_error": 0.004}},
        {"gain_over_preset": None},  # the preset was not among the candidates
        {"training": {"epochs": 3}},  # of another model
    ],
)
def test_another_choice_is_no_warning(root, changes):
    write_choice(root, **changes)
    assert read_selection_cautions(root, FOLDER) == []


def test_a_choice_of_the_preset_is_no_warning(root):
    write_choice(root, chosen=f"{PRESET}, mse")
    assert read_selection_cautions(root, FOLDER) == []


def test_a_pretrained_scorer_that_is_better(root):
    name, trials = "ResMem, not trained here", make_trials()
    better = trials.iloc[1].to_dict() | {"variant": name, "delta_spearman": 0.05, "delta_p": 0.001, "delta_low": 0.02}
    better |= {"delta_high": 0.08, "spearman": 0.68}
    root.write_table(pa.Table.from_pandas(pd.concat([trials, pd.DataFrame([better])])), *FOLDER, "trials.parquet")
    config = root.read_json(*FOLDER, "config.json")
    config["variants"].append({"name": name, "pretrained": "resmem", "full": "M3-S"})
    root.write_json(config, *FOLDER, "config.json")
    assert f"beaten beyond noise by {name} (rho 0.6800, +0.0500)" in read_study_cautions(root, FOLDER)[0]
