"""Pretrained scorers as rows of a study: what they predict, what is fitted on which clips, how they are compared."""

from dataclasses import replace

import numpy as np
import pytest
from made_roots import made_root
from made_scorers import write_scorer
from planted import planted_tiers
from trained_studies import train_study

from m3ray.config import as_json
from m3ray.errors import StudyError
from m3ray.features.load import load_data
from m3ray.model.metrics import METRICS
from m3ray.study.pretrained import add_pretrained, describe_pretrained, find_output, fit_scale, run_pretrained
from m3ray.study.store import collect_trials
from m3ray.study.study import Study
from m3ray.study.variants import Variant, pretrained_variant
from m3ray.tiers.pretrained.facts import RESMEM

FULL = Variant("M3", ("raw", "scene"))
SEEDS = (3, 4, 5)


@pytest.fixture
def held(tmp_path):
    """Data of a study whose matrix holds a scorer's tier, and the scorer's output of each clip."""
    root = made_root(tmp_path, rows=200)
    outputs = write_scorer(root)
    return load_data(root, ["raw", "scene", "resmem"]).data, outputs


def test_an_uncalibrated_row_is_the_scorer_s_output_itself(held):
    data, outputs = held
    result = run_pretrained(pretrained_variant(FULL, RESMEM), data, SEEDS)
    own = np.array([outputs[data.features.clip_ids[row]] for row in data.val])
    np.testing.assert_allclose(result.val, np.tile(own, (3, 1)), atol=1e-6)
    truth = data.scores[data.val]
    assert result.summary["spearman"] == pytest.approx(float(METRICS["spearman"](own, truth)), abs=1e-6)
    assert result.summary["mse"] == pytest.approx(float(np.mean((own - truth) ** 2)), abs=1e-6), "on its own scale"
    assert (result.summary["runs"], result.summary["spearman_std"]) == (1, None), "one model, so no sd"
    assert (result.summary["features"], result.summary["parameters"]) == (1, None)
    assert result.runs["seed"].tolist() == [3, 4, 5]
    assert result.test.shape == (3, 0)


def test_a_clip_of_the_test_split_is_predicted_too(tmp_path):
    root = made_root(tmp_path, rows=80)
    catalogue = root.read_table("catalogue.parquet")
    splits = ["test" if k % 10 == 1 else split for k, split in enumerate(catalogue["split"].to_pylist())]
    place = catalogue.column_names.index("split")
    root.write_table(catalogue.set_column(place, catalogue.schema.field("split"), [splits]), "catalogue.parquet")
    write_scorer(root, noise=0.01)
    result = run_pretrained(pretrained_variant(FULL, RESMEM), load_data(root, ["resmem"]).data, SEEDS)
    assert result.test.shape == (3, 8)
    assert float(result.summary["test_spearman"] or 0) > 0.9, "of an output that follows the score"


@pytest.mark.parametrize("calibration", ["linear", "isotonic"])
def test_a_calibration_knows_the_train_split_alone(held, calibration):
    data, _ = held
    variant = pretrained_variant(FULL, RESMEM, calibration)
    result = run_pretrained(variant, data, SEEDS)
    others = data.scores.copy()
    others[data.val] = 1 - others[data.val]
    np.testing.assert_array_equal(run_pretrained(variant, replace(data, scores=others), SEEDS).val, result.val)
    plain = run_pretrained(pretrained_variant(FULL, RESMEM), data, SEEDS)
    assert float(result.summary["mse"] or 1) < float(plain.summary["mse"] or 0)
    bias = plain.val.mean() - data.scores[data.val].mean()
    assert abs(result.val.mean() - data.scores[data.val].mean()) < 0.2 * abs(bias), "it is on the scores' scale"
    # A rising map keeps the order, but for ties of the steps.
    assert result.summary["spearman"] == pytest.approx(plain.summary["spearman"], abs=0.05)
    assert result.chosen["split"] == "train"


def test_a_line_is_that_of_weighted_least_squares():
    rng = np.random.default_rng(0)
    outputs, weights = rng.random(50), rng.uniform(0.1, 3, 50)
    scores = 0.2 + 0.5 * outputs + 0.1 * rng.standard_normal(50)
    slope, intercept = np.polyfit(outputs, scores, 1, w=np.sqrt(weights))  # NumPy's weights multiply the residuals
    scale = fit_scale("linear", outputs, scores, weights)
    np.testing.assert_allclose(scale.line, (intercept, slope), rtol=1e-9)
    slope, intercept = np.polyfit(outputs, scores, 1)
    np.testing.assert_allclose(fit_scale("linear", outputs, scores, None).line, (intercept, slope), rtol=1e-9)


def test_steps_are_scikit_learn_s():
    from sklearn.isotonic import IsotonicRegression

    rng = np.random.default_rng(1)
    outputs, weights, new = rng.random(60), rng.uniform(0.1, 3, 60), np.linspace(-1, 2, 40)
    scores = outputs**2 + 0.2 * rng.standard_normal(60)
    fitted = IsotonicRegression(out_of_bounds="clip").fit(outputs, scores, sample_weight=weights)
    np.testing.assert_allclose(fit_scale("isotonic", outputs, scores, weights)(new), fitted.predict(new), atol=1e-12)


@pytest.mark.parametrize("calibration", ["linear", "isotonic"])
def test_a_calibration_never_turns_the_order_round(calibration):
    outputs = np.linspace(0.2, 0.8, 30)
    scores = 1 - outputs
    mapped = fit_scale(calibration, outputs, scores, None)(outputs)
    np.testing.assert_allclose(mapped, scores.mean(), atol=1e-9)


@pytest.mark.parametrize("calibration", ["linear", "isotonic"])
def test_an_output_that_is_the_same_for_all_clips_becomes_the_mean(calibration):
    mapped = fit_scale(calibration, np.full(10, 0.5), np.linspace(0, 1, 10), None)(np.array([0.5, 0.9]))
    np.testing.assert_allclose(mapped, 0.5)


def test_a_line_stays_within_what_the_target_can_be(held):
    data, _ = held
    steep = replace(data, scores=np.where(data.scores > np.median(data.scores), 1, 0).astype(np.float32))
    values = run_pretrained(pretrained_variant(FULL, RESMEM, "linear"), steep, SEEDS).val
    assert values.min() >= 0
    assert values.max() <= 1


def test_the_output_is_found_among_its_spread_and_its_hidden_vector(held):
    data, _ = held
    names = [name for block in data.features.blocks for name in block.names]
    assert names[find_output(data.features, "resmem")] == "resmem"
    assert {"resmem_spread", "resmem_hidden_0"} < set(names)


def test_a_study_without_the_tier_says_what_to_run():
    with pytest.raises(StudyError, match=r"no output of resmem among the features: run jobs/extract.py --tiers resmem"):
        run_pretrained(pretrained_variant(FULL, RESMEM), planted_tiers(40), SEEDS)


def test_another_variant_is_no_pretrained_scorer(held):
    with pytest.raises(StudyError, match="M3: is no pretrained scorer"):
        run_pretrained(FULL, held[0], SEEDS)


def test_a_row_is_compared_with_every_run_of_the_full_model_and_the_model_does_not_see_it(tmp_path):
    study, full, trained = train_study(tmp_path, seeds=(0, 1, 2), rows=160)
    write_scorer(study.root)
    beside = Study(study.root, "small", load_data(study.root, ["raw", "scene", "resmem"]), study.seeds)
    assert beside.trial_folder(full) == study.trial_folder(full), "what was trained without the row is found again"
    rows = add_pretrained(beside, full, ["resmem"], "linear")
    trials = collect_trials(beside, [full, *rows]).set_index("variant")
    row = trials.loc["ResMem, calibrated on train (linear)"]
    assert trials.loc[full.name, "features"] == trained.summary["features"] == 15 + 40
    assert (row["full"], row["runs"], row["delta_runs"]) == (full.name, 1, 3)
    assert row["delta_spearman"] == pytest.approx(row["spearman"] - trials.loc[full.name, "spearman"])
    assert row["delta_low"] < row["delta_spearman"] < row["delta_high"]
    predictions = study.root.read_table("study", "small", "predictions.parquet").to_pandas()
    assert (predictions["variant"] == row.name).sum() == 40
    assert (predictions.loc[predictions["variant"] == row.name, "spread"] == 0).all()


def test_what_was_evaluated_is_kept_until_the_scorer_s_tier_changes(tmp_path, monkeypatch):
    from m3ray.study import pretrained

    study, full, _ = train_study(tmp_path, rows=60)
    write_scorer(study.root)
    beside = Study(study.root, "small", load_data(study.root, ["raw", "scene", "resmem"]), study.seeds)
    add_pretrained(beside, full, ["resmem"], "none")
    monkeypatch.setattr(pretrained, "run_pretrained", lambda *_: pytest.fail("it is not to be evaluated again"))
    (again,) = add_pretrained(beside, full, ["resmem"], "none")
    other = replace(beside, loaded=replace(beside.loaded, folders={**beside.loaded.folders, "resmem": "resmem-2"}))
    assert other.trial_folder(again) != beside.trial_folder(again)


def test_notes_say_on_what_it_was_trained_and_its_licence():
    rows = [as_json(v) for v in (FULL, pretrained_variant(FULL, RESMEM))]
    (note,) = describe_pretrained(rows)
    assert note.startswith("ResMem, not trained here: ")
    assert "images of LaMem and MemCat" in note
    assert "scale of its own" in note
    assert "noncommercial" in note
    (note,) = describe_pretrained([as_json(pretrained_variant(FULL, RESMEM, "isotonic"))])
    assert "a rising step function, fitted on the train split alone" in note
