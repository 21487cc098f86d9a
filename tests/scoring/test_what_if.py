"""Curves of the raw features, of a study's runs and of a bundle: what they are made of, and where they are kept."""

from dataclasses import replace

import numpy as np
import torch
from planted import CPU, planted

from m3ray.config import TrainConfig
from m3ray.features.load import StudyFeatures
from m3ray.features.matrix import Block
from m3ray.scoring import what_if
from m3ray.scoring.what_if import read_what_if, save_what_if
from m3ray.storage.root import Root
from m3ray.study.partial_dependence import ACCUMULATED, PARTIAL, find_quantiles
from m3ray.study.store import read_trial_tensors, write_trial
from m3ray.study.study import Study
from m3ray.study.trial import run_trial
from m3ray.study.variants import Variant

FULL = Variant("all", ("raw",), training=TrainConfig(hidden=(4,), epochs=3))


def make_study(folder, data, variant=FULL, seeds=(0, 1)):
    study = Study(Root(str(folder)), "ablation", StudyFeatures(data, {"raw": "raw-1"}, "key"), seeds)
    write_trial(study, variant, run_trial(variant, data, seeds, CPU))
    return study


def test_the_curves_are_those_of_the_study_s_runs_over_the_train_clips(tmp_path):
    data = planted(80)
    study = make_study(tmp_path, data)
    frame = save_what_if(study, FULL)
    kept, made = read_what_if(study.root, study.folder)
    assert kept.equals(frame)
    assert made == {"model": "all", "target": "score", "clips": len(data.train), "level": []}
    names = [name for block in data.features.blocks if block.tier == "raw" for name in block.names]
    assert list(dict.fromkeys(frame["feature"])) == names
    # Partial dependence by its definition, of each run, with the weights as they are on disk.
    tensors = read_trial_tensors(study, FULL)

    def predict(rows):
        hidden = np.einsum("nf,rof->rno", rows, tensors["weights.0"]) + tensors["biases.0"][:, None]
        hidden = torch.nn.functional.mish(torch.from_numpy(hidden)).numpy()
        output = np.einsum("rno,ro->rn", hidden, tensors["weights.1"][:, 0]) + tensors["biases.1"]
        return 1 / (1 + np.exp(-output))

    rows = data.scaled[data.train].astype(np.float64)
    values = find_quantiles(data.scaled[data.train][:, 0])
    curve = []
    for value in values:
        rows[:, 0] = value
        curve.append(predict(rows).mean(axis=1))
    expected = np.array(curve).mean(axis=1)
    own = frame[(frame["feature"] == names[0]) & (frame["kind"] == PARTIAL)]
    np.testing.assert_allclose(np.diff(own["effect"]), np.diff(expected), atol=1e-6)
    np.testing.assert_allclose(
        own["value"], values * data.scaling.deviation[0] + data.scaling.mean[0], rtol=1e-5, atol=1e-6
    )
    assert set(frame["kind"]) == {PARTIAL, ACCUMULATED}
    assert (frame["spread"] > 0).any()


def test_a_feature_that_the_variant_leaves_out_has_no_curve(tmp_path):
    data = planted(60)
    less = Variant("less", ("raw",), ("contrast",), FULL.training, "all")
    frame = save_what_if(make_study(tmp_path, data, less), less)
    assert "contrast" not in set(frame["feature"])
    assert "brightness" in set(frame["feature"])


class FakeBundle:
    """As much of a bundle as the curves need: one run that follows its first column."""

    name = "m3s"

    def __init__(self, blocks):
        self.blocks = blocks

    def predict_runs(self, scaled):
        return scaled[:, 0][None].astype(float)


def test_the_curves_of_a_bundle_are_its_own(tmp_path):
    data = planted(60)
    study = make_study(tmp_path, data)
    frame = save_what_if(study, FULL, FakeBundle(data.features.blocks))
    assert read_what_if(study.root, study.folder)[1]["model"] == "bundle m3s"
    first = frame[frame["feature"] == frame["feature"].iloc[0]]
    assert np.allclose(np.diff(first["effect"][:5]), np.diff(first["value"][:5]) / data.scaling.deviation[0], rtol=1e-4)
    others = frame[frame["feature"] != frame["feature"].iloc[0]]
    assert np.allclose(others["effect"], 0, atol=1e-9)
    assert frame["spread"].isna().all()  # one run


def test_without_a_raw_feature_or_a_run_there_are_none(tmp_path):
    data = planted(60)
    untrained = Study(Root(str(tmp_path / "a")), "ablation", StudyFeatures(data, {"raw": "raw-1"}, "key"), (0,))
    assert save_what_if(untrained, FULL) is None
    assert read_what_if(untrained.root, untrained.folder) is None
    features = replace(data.features, blocks=(Block("scene", ("scene_0", "scene_1", "scene_2"), False),))
    data, variant = replace(data, features=features), Variant("scene", ("scene",), training=FULL.training)
    assert save_what_if(make_study(tmp_path / "b", data, variant), variant) is None


def test_raw_features_are_found_wherever_they_stand_among_the_columns():
    blocks = [Block("scene", ("s0", "s1", "s2"), False), Block("raw", ("brightness", "contrast"), True)]
    assert list(what_if._iterate_raw(blocks)) == [("brightness", 3), ("contrast", 4)]


def test_a_run_that_diverged_is_in_no_curve_and_effects_are_in_the_target_s_units(tmp_path):
    data = planted(80)
    study = make_study(tmp_path, data)
    result = run_trial(FULL, data, (0, 1), CPU)
    rows = data.scaled[data.train]
    both = what_if._predict_runs(study, FULL, rows)(rows)
    with torch.no_grad():
        next(iter(result.trained.model.parameters()))[0] = float("nan")
    write_trial(study, FULL, result)
    one = what_if._predict_runs(study, FULL, rows)(rows)
    np.testing.assert_array_equal(one, both[1:])
    wide = replace(data, target=replace(data.target, low=-1.0, high=3.0))
    other = Study(study.root, study.name, StudyFeatures(wide, {"raw": "raw-1"}, "key"), study.seeds)
    wider = what_if._predict_runs(other, FULL, rows)(rows)
    np.testing.assert_allclose(wider, 4 * one - 1, atol=1e-6)
