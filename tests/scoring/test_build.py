"""A bundle made of a trained variant."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import torch
from safetensors.numpy import load, save
from scipy.stats import spearmanr
from trained_beside import plant, train_beside
from trained_studies import train_study

from m3ray.config import TierConfigs, as_json
from m3ray.errors import BundleError
from m3ray.features.matrix import Block, Features
from m3ray.features.target import Target
from m3ray.scoring import bundle_metadata
from m3ray.scoring.build import _read_artefacts, list_versions, make_bundle, select_blocks
from m3ray.scoring.bundle import Bundle, describe_bundle
from m3ray.scoring.bundle_tiers import select_features
from m3ray.storage.catalogue_file import read_catalogue
from m3ray.study.variants import Variant
from m3ray.tiers.network import WeightSource

BLOCKS = (Block("raw", ("a", "b"), True), Block("scene", ("s0", "s1"), False), Block("text", ("t",), False))


@pytest.fixture
def trained(tmp_path):
    study, variant, result = train_study(tmp_path)
    for name in ("hog_pca.safetensors", "hog_pca.json"):
        study.root.write_bytes(name.encode(), "artifacts", name)
    return study, variant, result


def bundle_of(study, variant):
    return make_bundle(study, variant, TierConfigs(), {"scene": WeightSource(seed=3)}, "small", "train")


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        ([0, 1, 2, 3, 4], BLOCKS),
        ([1, 4], (Block("raw", ("b",), True), Block("text", ("t",), False))),
        ([3], (Block("scene", ("s1",), False),)),
        ([0, 1, 4, 2, 3], (BLOCKS[0], BLOCKS[2], BLOCKS[1])),  # in the order of a variant's tiers
    ],
)
def test_blocks_are_those_of_the_columns_that_are_seen(columns, expected):
    features = Features(("c",), np.zeros((1, 5), np.float32), BLOCKS)
    assert select_blocks(features, np.array(columns)) == expected


def test_a_bundle_scores_as_the_runs_that_were_trained(trained):
    study, variant, result = trained
    bundle = bundle_of(study, variant)
    frame = bundle.score(study.data.features).set_index("clip_id")
    val = [study.data.features.clip_ids[row] for row in study.data.val]
    np.testing.assert_allclose(frame.loc[val, "score"], result.trained.val.mean(axis=0), atol=1e-6)
    errors = np.abs(result.trained.val.mean(axis=0) - study.data.scores[study.data.val])
    np.testing.assert_allclose(bundle.residuals, np.sort(errors), atol=1e-6)
    np.testing.assert_allclose(bundle.baseline, study.data.scaled[study.data.train].mean(axis=0), atol=1e-6)


def test_a_bundle_of_tiers_in_another_order_than_the_root_s_scores_as_its_runs(tmp_path):
    """A study puts the paper's tiers first, a root holds them as they were computed."""
    study, variant, result = train_study(tmp_path, tiers=("scene", "raw"))
    assert study.data.features.tiers == ("raw", "scene")
    for name in ("hog_pca.safetensors", "hog_pca.json"):
        study.root.write_bytes(name.encode(), "artifacts", name)
    bundle = bundle_of(study, variant)
    assert bundle.tiers == ("scene", "raw")
    ids = [study.data.features.clip_ids[row] for row in study.data.val]
    columns = {
        f"{block.tier}/{name}": study.data.features.values[
            study.data.val, study.data.features.columns_of(block.tier)[k]
        ]
        for block in study.data.features.blocks
        for k, name in enumerate(block.names)
    }
    scores = bundle.score(select_features(bundle, ids, columns))["score"]
    np.testing.assert_allclose(scores, result.trained.val.mean(axis=0), atol=1e-6)


def test_a_bundle_says_what_it_was_made_with(trained):
    study, variant, result = trained
    metadata = bundle_of(study, variant).metadata
    assert (metadata.seeds, metadata.made_by, metadata.untrained) == ([0, 1], "train", True)
    assert metadata.variant == as_json(variant)
    assert metadata.sources == {"scene": {"location": None, "sha256": None, "seed": 3}}
    assert list(metadata.tiers) == ["raw", "scene"]
    assert metadata.environments == {"raw": [None], "scene": [None]}, "made-up shards do not say"
    train = study.data.scores[study.data.train]
    rho = spearmanr(result.trained.val.mean(axis=0), study.data.scores[study.data.val]).statistic
    error = result.trained.val.mean(axis=0) - study.data.scores[study.data.val]
    assert metadata.trained_on == {
        "train_clips": 30,
        "val_clips": 10,
        "mean_score": float(train.mean()),
        "lowest_score": float(train.min()),
        "highest_score": float(train.max()),
        "val_spearman": pytest.approx(rho),
        "val_mse": pytest.approx(np.mean(error**2)),
        "val_mean_error": pytest.approx(error.mean()),
        "val_variance": pytest.approx(study.data.scores[study.data.val].var()),
    }
    assert (metadata.model, metadata.mixture) == ("mlp", None)
    assert (metadata.dropped_runs, metadata.calibrated_on, metadata.target) == ([], "val", None)
    assert metadata.versions == list_versions()
    assert {"torch", "ray", "pyarrow", "libavcodec"} <= set(metadata.versions)


def test_a_bundle_names_no_weights_of_what_it_does_not_see(trained):
    """A baseline, such as ResMem, is compared with the model in the same study, and has terms of its own."""
    study, variant, _ = trained
    sources = {"resmem": WeightSource("/env/resmem/model.pt", "ab" * 32), "scene": WeightSource(seed=3)}
    metadata = make_bundle(study, variant, TierConfigs(), sources, "small", "train").metadata
    assert metadata.sources == {"scene": {"location": None, "sha256": None, "seed": 3}}


def test_a_bundle_records_its_data_and_measures_test_where_there_is_one(trained):
    study, variant, _ = trained
    assert "on_test" not in bundle_of(study, variant).metadata.data
    test, train = study.data.train[-8:], study.data.train[:-8]
    loaded = replace(study.loaded, data=replace(study.data, test=test, train=train))
    bundle = bundle_of(replace(study, loaded=loaded), variant)
    assert (bundle.metadata.data["train"], bundle.metadata.data["test"]) == (22, 8)
    ids = [study.data.features.clip_ids[row] for row in test]
    scores, truth = bundle.score(study.data.features).set_index("clip_id").loc[ids, "score"], study.data.scores[test]
    assert bundle.metadata.data["on_test"] == {
        "spearman": pytest.approx(spearmanr(scores, truth).statistic),
        "mse": pytest.approx(np.mean((scores - truth) ** 2), rel=1e-4),
        "mean_error": pytest.approx(np.mean(scores - truth), rel=1e-4),
        "variance": pytest.approx(truth.var(), rel=1e-4),
    }


def test_a_bundle_knows_its_train_clips_and_their_scores(trained):
    study, variant, _ = trained
    bundle = bundle_of(study, variant)
    reference = bundle.reference.load()
    assert reference.ids == tuple(study.data.features.clip_ids[row] for row in study.data.train)
    np.testing.assert_array_equal(reference.scores, study.data.scores[study.data.train])
    assert list(reference.spaces) == ["raw", "scene", "model"]
    runs = bundle._predict(study.data.scaled[study.data.val])
    np.testing.assert_allclose(bundle.calibration_spread, runs.std(axis=0, ddof=1), atol=1e-6)


def spoil_run(study, variant, *runs):
    """The trial's tensors as they are where runs diverged."""
    folder = study.trial_folder(variant)
    tensors = {name: value.copy() for name, value in load(study.root.read_bytes(*folder, "model.safetensors")).items()}
    for run in runs:
        tensors["weights.1"][run] = np.nan
    study.root.write_bytes(save(tensors), *folder, "model.safetensors")


def test_a_run_that_diverged_is_dropped_and_said(trained, caplog):
    """The mean over runs with one that is no number was no number, for every clip, and nothing said so."""
    study, variant, result = trained
    spoil_run(study, variant, 0)
    bundle = bundle_of(study, variant)
    frame = bundle.score(study.data.features).set_index("clip_id")
    val = [study.data.features.clip_ids[row] for row in study.data.val]
    np.testing.assert_allclose(frame.loc[val, "score"], result.trained.val[1], atol=1e-6)
    assert np.isfinite(frame.select_dtypes("number")).all(axis=None)
    assert (list(bundle.metadata.seeds), bundle.metadata.dropped_runs) == ([1], [0])
    assert np.isfinite(bundle.residuals).all()
    bundle.save(study.root, "models", "small")
    loaded = Bundle.load(study.root.display("models", "small"))
    for said in (describe_bundle(loaded), caplog.text):
        assert "1 more run diverged and was dropped (seed 0)" in said


def test_a_bundle_of_which_all_runs_diverged_is_an_error_in_words(trained):
    study, variant, _ = trained
    spoil_run(study, variant, 0, 1)
    with pytest.raises(BundleError, match="small: all 2 runs diverged"):
        bundle_of(study, variant)


def test_a_run_that_is_constant_stays(trained):
    study, variant, _ = trained
    folder = study.trial_folder(variant)
    tensors = {name: value.copy() for name, value in load(study.root.read_bytes(*folder, "model.safetensors")).items()}
    tensors["weights.1"][0] = 0
    study.root.write_bytes(save(tensors), *folder, "model.safetensors")
    assert bundle_of(study, variant).metadata.dropped_runs == []


def test_settings_chosen_on_val_are_calibrated_on_the_train_split(trained, caplog):
    study, variant, _ = trained
    caplog.set_level("INFO")
    bundle = make_bundle(study, variant, TierConfigs(), {}, "small", "train", chosen_on_val=True)
    assert bundle.metadata.calibrated_on == "train, 5 folds"
    assert len(bundle.residuals) == len(study.data.train) == bundle.calibration.shape[1]
    np.testing.assert_allclose(bundle.calibration[1], study.data.scores[study.data.train])
    assert "calibrated on train, 5 folds (30 clips)" in describe_bundle(bundle)
    assert "calibrated on the train split, each fifth scored by models of the other four" in caplog.text


def test_a_bundle_of_another_target_keeps_its_units(trained):
    """Scores of -0.004 to 0.002: residuals and intervals in those units."""
    study, variant, _ = trained
    target = Target("alpha", -0.004, 0.002)
    scores = (target.low + target.span * study.data.scores).astype(np.float32)
    data = replace(study.data, target=target, scores=scores)
    mapped = replace(study, loaded=replace(study.loaded, data=data))
    plain, bundle = bundle_of(study, variant), bundle_of(mapped, variant)
    assert bundle.metadata.target == {"name": "alpha", "low": -0.004, "high": 0.002}
    np.testing.assert_allclose(bundle.residuals, target.span * plain.residuals, atol=1e-8)
    bundle.save(study.root, "models", "alpha")
    frame = Bundle.load(study.root.display("models", "alpha")).score(study.data.features)
    np.testing.assert_allclose(frame["score"], target.from_unit(plain.score(study.data.features)["score"]), atol=1e-9)
    assert frame["low"].min() < 0
    assert bundle.metadata.trained_on["val_spearman"] == pytest.approx(plain.metadata.trained_on["val_spearman"])


def test_a_bundle_takes_the_pca_of_its_raw_tier_alone(trained):
    study, variant, _ = trained
    assert bundle_of(study, variant).files["hog_pca.json"] == b"hog_pca.json"
    scene = Variant("scene", ("scene",), training=variant.training)
    assert _read_artefacts(study.root, scene) == {}


def test_a_decay_rate_is_a_line_in_the_score(trained):
    """Rates drawn by hand as 0.5 - 0.3 score; of clips outside the train split none counts."""
    study, variant, _ = trained
    assert bundle_of(study, variant).metadata.decay is None, "the catalogue has no rates"
    catalogue = read_catalogue(study.root)
    is_train = [split == "train" for split in catalogue["split"].to_pylist()]
    rates = [0.5 - 0.3 * s if t else 9.0 for s, t in zip(catalogue["score"].to_pylist(), is_train, strict=True)]
    study.root.write_table(catalogue.append_column("alpha", pa.array(rates)), "catalogue.parquet")
    decay = bundle_of(study, variant).metadata.decay
    assert (decay["intercept"], decay["slope"], decay["r"]) == pytest.approx((0.5, -0.3, -1.0), abs=1e-5)
    assert decay["clips"] == 30
    few = [rate if k < 12 else None for k, rate in enumerate(rates)]  # nine of them train
    study.root.write_table(catalogue.append_column("alpha", pa.array(few, pa.float64())), "catalogue.parquet")
    assert bundle_of(study, variant).metadata.decay is None


def test_a_bundle_says_the_same_before_it_is_saved_and_after_it_is_loaded(trained):
    study, variant, _ = trained
    bundle = bundle_of(study, variant)
    bundle.save(study.root, "models", "small")
    loaded = Bundle.load(study.root.display("models", "small"))
    assert loaded.metadata == bundle.metadata
    assert (loaded.blocks, loaded.files, loaded.networks) == (bundle.blocks, bundle.files, bundle.networks)
    pd.testing.assert_frame_equal(loaded.score(study.data.features), bundle.score(study.data.features))


@pytest.fixture
def beside(tmp_path):
    """A study with a ridge beside the MLP, and what both predict out of fold: the MLP as if it were trained well."""
    study, variant, _ = train_study(tmp_path, rows=200)
    for name in ("hog_pca.safetensors", "hog_pca.json"):
        study.root.write_bytes(name.encode(), "artifacts", name)
    train_beside(study, variant)
    plant(study, variant)
    return study, variant


def make(study, variant, **options):
    return make_bundle(study, variant, TierConfigs(), {}, "small", "train", **options)


@pytest.mark.parametrize(("model", "runs"), [("auto", "2 runs"), ("ensemble", "2 runs"), ("ridge", "no MLP")])
def test_a_bundle_of_an_ensemble_or_a_regressor_survives_a_round_trip(beside, model, runs):
    study, variant = beside
    bundle = make(study, variant, model=model)
    bundle.save(study.root, "models", "small")
    loaded = Bundle.load(study.root.display("models", "small"))
    assert loaded.metadata == bundle.metadata
    frame = loaded.score(study.data.features)
    pd.testing.assert_frame_equal(frame, bundle.score(study.data.features))
    shares = frame[["share_raw", "share_scene"]].sum(axis=1)
    np.testing.assert_allclose(shares, frame["score"] - loaded.baseline_score(), atol=1e-9)
    assert frame["share_raw"].std() > 0
    assert (frame["spread"].max() > 0) == (runs == "2 runs")
    assert (frame["low"] <= frame["score"]).all()
    line = describe_bundle(loaded)
    assert f"55 features, {runs}" in line
    assert loaded.metadata.model_summary in line
    assert loaded.metadata.model == {"auto": "ensemble"}.get(model, model)
    values = study.root.read_json("models", "small", "bundle.json")
    assert (values["format"], values["model"]) == (2, loaded.metadata.model)
    assert set(values["out_of_fold"]["alone"]) == {"mlp", "ridge"}


def test_a_bundle_of_an_ensemble_says_on_val_what_evaluation_finds(beside):
    study, variant = beside
    bundle = make(study, variant)
    frame = bundle.score(study.data.features).set_index("clip_id")
    val = [study.data.features.clip_ids[row] for row in study.data.val]
    truth, score = study.data.scores[study.data.val].astype(float), frame.loc[val, "score"].to_numpy()
    facts = bundle.metadata.trained_on
    assert facts["val_mse"] == pytest.approx(np.mean((score - truth) ** 2))
    assert facts["val_mse"] < facts["val_variance"]
    assert facts["val_mean_error"] == pytest.approx(np.mean(score - truth))
    np.testing.assert_allclose(bundle.residuals, np.sort(np.abs(score - truth)), atol=1e-6)


def test_an_ensembles_intervals_are_calibrated_out_of_fold_where_val_chose(beside):
    study, variant = beside
    bundle = make(study, variant, chosen_on_val=True)
    assert bundle.metadata.calibrated_on == "train, 5 folds"
    error = bundle.calibration[0] - bundle.calibration[1]
    assert np.mean(error.astype(float) ** 2) == pytest.approx(bundle.metadata.out_of_fold["ensemble"]["mse"], rel=1e-4)
    assert make(study, variant, chosen_on_val=True, model="ridge").metadata.calibrated_on == "val"


def test_with_the_papers_settings_a_bundle_is_what_it_was_before(beside):
    """The same scores, and the same format, which an older version reads."""
    study, variant = beside
    plain = make(study, variant, fit="paper")
    assert plain.mixture is None
    plain.save(study.root, "models", "small")
    assert study.root.read_json("models", "small", "bundle.json")["format"] == 1
    assert not study.root.exists("models", "small", "regressors.safetensors")
    with torch.no_grad():
        scaled = torch.from_numpy(study.data.scaled)
        expected = plain.model(scaled).double().numpy().mean(axis=0)
    np.testing.assert_array_equal(plain.score(study.data.features)["score"], expected)


def test_an_ensemble_of_another_target_keeps_its_units(beside):
    study, variant = beside
    target = Target("alpha", -0.004, 0.002)
    data = study.data
    mapped = replace(data, target=target, scores=(target.low + target.span * data.scores.astype(float)))
    other = replace(study, loaded=replace(study.loaded, data=mapped))
    plain, bundle = make(study, variant), make(other, variant)
    expected = target.from_unit(plain.score(data.features)["score"])
    np.testing.assert_allclose(bundle.score(data.features)["score"], expected, atol=1e-8)


def test_an_older_version_refuses_a_bundle_with_regressors(beside, monkeypatch):
    """One that reads format 1 alone would score with the MLP by itself."""
    study, variant = beside
    make(study, variant).save(study.root, "models", "small")
    monkeypatch.setattr(bundle_metadata, "FORMAT", 1)
    with pytest.raises(BundleError, match="has format 2, this m3ray reads up to 1: upgrade m3ray"):
        Bundle.load(study.root.display("models", "small"))


def test_a_damaged_file_of_regressors_is_refused(beside):
    study, variant = beside
    make(study, variant).save(study.root, "models", "small")
    study.root.write_bytes(b"x", "models", "small", "regressors.safetensors")
    with pytest.raises(BundleError, match=r"regressors\.safetensors was changed since"):
        Bundle.load(study.root.display("models", "small"))
