"""Table 6: targets by models, on made features and made viewers."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from made_viewers import add_viewers, made_viewed_root

from m3ray.config import TrainConfig, as_json
from m3ray.features.load import load_data, load_target
from m3ray.features.target_columns import list_study_targets
from m3ray.storage.catalogue_file import read_catalogue
from m3ray.study.store import write_trial
from m3ray.study.study import Study
from m3ray.study.targets import (
    collect_targets,
    correlate_targets,
    is_of_study,
    read_targets,
    select_models,
    write_made_of,
)
from m3ray.study.trial import run_trial
from m3ray.study.variants import Variant, study_variants

SMALL = TrainConfig(hidden=(8,), epochs=3)


@pytest.fixture(scope="module")
def studies(tmp_path_factory):
    """Studies on every target of one root, two models trained in each."""
    root = made_viewed_root(tmp_path_factory.mktemp("viewed"), rows=200)
    loaded = load_data(root, ("raw", "scene"))
    study = Study(root, "ablation", loaded, (0, 1))
    targets = list_study_targets(read_catalogue(root), "score")
    every = {"score": study} | {
        name: replace(study, loaded=load_target(root, loaded, name)) for name in targets if name != "score"
    }
    for own in every.values():
        for variant in models():
            write_trial(own, variant, run_trial(variant, own.data, own.seeds, torch.device("cpu")))
    return every


def models():
    return [Variant("M3", ("raw", "scene"), training=SMALL), Variant("raw, all features", ("raw",), training=SMALL)]


def test_the_models_are_the_full_one_that_without_similarity_and_raw_alone():
    tiers = ("raw", "scene", "event", "similarity", "similarity:kde")
    tables = study_variants((1, 2, 3, 4), tiers)
    rows = [*tables[3], *tables[1], *tables[2], *tables[4]]
    assert [v.name for v in select_models(tiers, rows)] == ["M3-S", "M3", "raw, all features"]
    assert [v.name for v in select_models(("raw",), study_variants([3], ("raw",))[3])] == ["M3"]
    assert [v.name for v in select_models(("text",), study_variants([3], ("text",))[3])] == ["text"]


def test_targets_are_crossed_with_models(studies):
    frame = collect_targets(studies, models())
    assert list(studies) == ["score", "false_alarm_rate", "corrected", "d_prime", "alpha"]
    assert list(frame["target"]) == [name for name in studies for _ in range(2)]
    assert set(frame["variant"]) == {"M3", "raw, all features"}
    assert frame["spearman"].notna().all()
    ceilings = frame.drop_duplicates("target").set_index("target")["ceiling"]
    assert ceilings[["score", "false_alarm_rate", "corrected"]].between(0.5, 1).all()
    assert ceilings[["d_prime", "alpha"]].isna().all()
    assert frame.loc[frame["ceiling"].isna(), "reason"].str.len().gt(20).all()
    # In the target's own units: alpha is of the order of 1e-4, d' of 1.
    mse = frame.set_index(["target", "variant"])["mse"]
    assert mse["alpha", "M3"] < 1e-6
    assert mse["d_prime", "M3"] > 1e-2
    kept, correlations = read_targets(studies["score"].root, ("study", "ablation"))
    pd.testing.assert_frame_equal(kept, frame)
    assert list(correlations["target"]) == list(studies)


def test_the_table_says_which_study_it_is_of(studies):
    """The report leaves it out beside another study's tables."""
    study = studies["score"]
    write_made_of(study, models())
    config = {"key": study.loaded.key, "seeds": [0, 1], "variants": json.loads(json.dumps(as_json(models())))}
    config["tiers"] = {name: {"folder": folder} for name, folder in study.loaded.folders.items()}
    assert is_of_study(study.root, study.folder, config)
    longer = replace(models()[0], training=replace(SMALL, epochs=4))
    others = [
        {"key": studies["alpha"].loaded.key},
        {"seeds": [0, 1, 2]},
        {"variants": json.loads(json.dumps(as_json([longer])))},
        {"variants": []},
        {"tiers": config["tiers"] | {"scene": {"folder": "scene-other"}}},
    ]
    assert not any(is_of_study(study.root, study.folder, config | other) for other in others)
    assert is_of_study(study.root, study.folder, config | {"variants": config["variants"][:1]}), "raw is Table 1's row"


def test_few_val_clips_have_a_share_without_an_interval(tmp_path):
    root = made_viewed_root(tmp_path, rows=90)
    loaded = load_data(root, ("raw", "scene"))
    study = Study(root, "ablation", replace(loaded, data=replace(loaded.data, val=loaded.data.val[:12])), (0,))
    write_trial(study, models()[0], run_trial(models()[0], study.data, study.seeds, torch.device("cpu")))
    row = collect_targets({"score": study}, models()[:1]).iloc[0]
    assert row["clips"] == 12
    assert np.isfinite(row["ensemble_spearman"])
    assert pd.isna([row["share_low"], row["share_high"]]).all()


def test_predictions_come_back_in_the_target_s_units(studies):
    study = studies["d_prime"]
    result = run_trial(models()[0], study.data, study.seeds, torch.device("cpu"))
    truth, score = result.predictions["truth"], result.predictions["score"]
    assert truth.max() > 1.5, "d' is no share"
    np.testing.assert_allclose(truth, study.data.scores[study.data.val])
    assert abs(score.mean() - truth.mean()) < 0.3
    expected = np.mean((result.trained.val - truth.to_numpy()) ** 2)
    assert result.summary["mse"] == pytest.approx(expected, rel=1e-4)
    assert result.summary["mae"] == pytest.approx(np.mean(np.abs(result.trained.val - truth.to_numpy())), rel=1e-4)


def test_a_trial_that_failed_and_a_constant_target_are_marked_undefined(studies, tmp_path):
    missing = [*models(), Variant("never trained", ("scene",), training=SMALL)]
    frame = collect_targets(studies, missing).set_index("variant")
    assert frame.loc["never trained", "spearman"].isna().all()
    assert set(frame.loc["never trained", "status"]) == {"failed"}
    root = add_viewers(made_viewed_root(tmp_path, rows=60), false_alarm_rate=np.full(60, 0.1))
    ids = read_catalogue(root)["clip_id"].to_pylist()
    among = correlate_targets(read_catalogue(root), ids, ["score", "false_alarm_rate"]).set_index("target")
    assert np.isnan(among.loc["score", "false_alarm_rate"])


def test_weights_reach_val_and_test(tmp_path):
    root = made_viewed_root(tmp_path, rows=120, test=40)
    responses = np.random.default_rng(5).integers(2, 90, 120)
    data = load_data(add_viewers(root, responses=responses), ("raw",), weigh="responses").data
    result = run_trial(Variant("M3", ("raw",), training=SMALL), data, (0, 1), torch.device("cpu"))
    for rows, predictions, name in (
        (data.val, result.trained.val, "mse"),
        (data.test, result.test, "test_mse"),
    ):
        errors = (predictions - data.scores[rows]) ** 2
        expected = np.average(errors, axis=1, weights=responses[rows]).mean()
        assert result.summary[name] == pytest.approx(expected, rel=1e-4)
        assert abs(expected - errors.mean()) > 1e-4 * expected, "clips that weigh alike have another error"
