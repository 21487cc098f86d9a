"""The study and the search on real Ray: killed in the middle, started again, failing in parts."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import torch
from made_roots import made_root
from made_scorers import write_scorer

from m3ray.config import SimilarityConfig
from m3ray.config.options import AblateOptions, TrainOptions, TuneOptions
from m3ray.errors import ConfigError, FeatureError
from m3ray.features.load import load_data
from m3ray.storage.catalogue_file import read_catalogue
from m3ray.storage.dataset_record import DatasetRecord
from m3ray.storage.root import Root
from m3ray.storage.root_record import write_record
from m3ray.study.trial import run_trial
from m3ray.study.variants import full_model

pytestmark = pytest.mark.integration
TOP = Path(__file__).parents[2]
BESIDE = [f"{name}, all tiers" for name in ("ensemble", "ridge", "svr", "boosting", "constant")]


def trials_of(root, name="ablation"):
    return root.read_table("study", name, "trials.parquet").to_pandas()


def test_a_study_killed_in_the_middle_keeps_its_finished_trials(tmp_path):
    root = made_root(tmp_path, rows=600)
    command = [sys.executable, "jobs/ablate.py", "--out", root.uri, "--tables", "1", "3", "--runs", "2"]
    command += ["--fit", "paper"]
    # Of its own: the test's Ray is not the job's, and dies with it.
    env = {**os.environ, "RAY_AUTH_MODE": "disabled", "RAY_ADDRESS": "local"}
    job = subprocess.Popen(
        command, cwd=TOP, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True
    )
    deadline = time.monotonic() + 360
    while time.monotonic() < deadline and not finished(root):
        time.sleep(0.05)
    os.killpg(job.pid, signal.SIGKILL)
    job.wait()
    kept, before = finished(root), []
    while kept != before:  # workers outlive their killed driver by a moment
        time.sleep(3)
        kept, before = finished(root), kept
    assert kept, "no trial had finished in six minutes"
    times = {name: (tmp_path / "study/ablation/parts" / name / "trial.json").stat().st_mtime_ns for name in kept}
    done = subprocess.run(command, cwd=TOP, env=env, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    assert f"{len(kept)} cached" in done.stdout
    assert set(finished(root)) > set(kept) or len(kept) == 10
    for name, before in times.items():
        assert (tmp_path / "study/ablation/parts" / name / "trial.json").stat().st_mtime_ns == before
    trials = trials_of(root).set_index("variant")
    assert len(trials) == 7 + 3 + len(BESIDE) - 1, "no ensemble: with --fit paper the bundle is the MLP"
    assert trials["status"].eq("done").all()
    assert trials.loc["raw without brightness", "delta_spearman"] < -0.2, "the score depends on it"
    assert (tmp_path / "report" / "tables" / "table3.tex").exists()


def finished(root):
    return [
        name
        for name in root.list_names("study", "ablation", "parts")
        if root.exists("study", "ablation", "parts", name, "trial.json")
    ]


def test_a_failing_trial_is_marked_and_the_others_stand(jobs, tmp_path, monkeypatch):
    from m3ray.pipelines.study import ablation as pipeline
    from m3ray.pipelines.study import tables

    root = made_root(tmp_path)
    whole = pipeline.run_study

    def with_a_bad_one(study, variants, on):
        variants.append(replace(variants[-1], name="bad", tiers=("nothing",)))
        return whole(study, variants, on)

    monkeypatch.setattr(tables, "run_study", with_a_bad_one)
    jobs.ablate(AblateOptions(out=root.uri, tables=(3,), runs=2, epochs=2, fit="paper"))
    trials = trials_of(root).set_index("variant")
    assert trials.loc["bad", "status"] == "failed"
    assert trials.drop("bad")["status"].eq("done").all()


def test_clips_that_lack_a_tier_stop_a_study_unless_allowed(jobs, tmp_path, capsys):
    root = made_root(tmp_path, lacking=30)
    options = {"out": root.uri, "tables": (1,), "runs": 1, "epochs": 1, "fit": "paper"}
    with pytest.raises(FeatureError, match=r"30 of 300 scored clips, c0270 among them.*--allow-missing"):
        jobs.ablate(AblateOptions(**options))
    jobs.ablate(AblateOptions(**options, allow_missing=True))
    assert "30 of 300 scored clips lack a tier" in capsys.readouterr().out


def train_preset(root, seed):
    """Mean Spearman on val of two runs of six epochs with the paper's settings, trained here and not by a search."""
    variant = full_model(("raw", "scene"))
    variant = replace(variant, training=replace(variant.training, epochs=6))
    data = load_data(root, variant.tiers).data
    trained = run_trial(variant, data, (seed, seed + 1), torch.device("cpu")).trained
    return float(trained.metrics["spearman"][:, -1].mean())


def test_a_search_beats_the_preset_and_goes_on_where_it_was(jobs, tmp_path, capsys):
    root = made_root(tmp_path)
    options = TuneOptions(out=root.uri, trials=8, runs=2, epochs=6, seed=2)
    jobs.tune(options)
    found = trials_of(root, "search")
    assert found["origin"].value_counts().to_dict() == {"drawn": 6, "preset": 1, "default": 1}
    complete = found[found["complete"]]
    preset = complete[complete["origin"] == "preset"]
    assert preset[["hidden", "learning_rate", "gamma", "loss"]].values.tolist() == [["512x64", 1e-3, 0.2, "mse"]]
    assert len(preset) == 1, "the preset is trained to its end, whatever ASHA thought of it"
    assert preset["spearman"].iloc[0] == pytest.approx(train_preset(root, options.seed), abs=1e-4), "as it is alone"
    near = complete[complete["calibrated_mse"] <= 1.1 * complete["calibrated_mse"].min()]
    assert found["spearman"].iloc[0] == near["spearman"].max(), "best first"
    best = json.loads((tmp_path / "study" / "search" / "best.json").read_text())
    assert best["val_spearman"] == pytest.approx(near["spearman"].max())
    fresh = best["fresh_seeds"]
    assert set(fresh) == {"best", "default", "preset", "gain_over_default", "gain_over_preset", "calibrated_mse"}
    assert fresh["preset"] == pytest.approx(train_preset(root, options.seed + 1_000), abs=1e-4)
    assert best["val_spearman"] >= train_preset(root, options.seed) - 1e-4, "the preset is among those tried"
    assert fresh["best"] > fresh["preset"], "the preset's six epochs are too few here, which a search must find out"
    capsys.readouterr()
    jobs.tune(options)
    assert "finished settings are kept" in capsys.readouterr().out
    pd.testing.assert_frame_equal(trials_of(root, "search"), found)
    with pytest.raises(ConfigError, match="begun with other trials: give this one another --name"):
        jobs.tune(replace(options, trials=9))


def grouped_root(folder):
    """A root of clips of 30 films, with similarity fitted on the root's own train split."""
    from m3ray.pipelines.runtime.cluster import Resources
    from m3ray.pipelines.similarity.fit import fit_similarity_tier

    root = made_root(folder, rows=120)
    catalogue = read_catalogue(root)
    films = [f"film {k // 4}" for k in range(120)]
    # A film's clips stand in one split of the root too.
    splits = ["train" if k // 4 % 4 else "val" for k in range(120)]
    at = catalogue.column_names.index("split")
    catalogue = catalogue.set_column(at, "split", pa.array(splits)).append_column("film", pa.array(films))
    root.write_table(catalogue, "catalogue.parquet")
    write_record(root, DatasetRecord("table", "/clips.csv", {"group": "film"}))
    config = SimilarityConfig(measure="fractional_mean", components=5)
    fit_similarity_tier(root, catalogue, config, Resources(2, 0))
    return root, films


def test_an_ablation_in_three_splits_says_what_each_row_reached_in_them(jobs, tmp_path, capsys):
    root, films = grouped_root(tmp_path)
    outputs = write_scorer(root)
    options = AblateOptions(out=root.uri, tables=(3,), runs=2, epochs=2, folds=3, calibrate="linear")
    jobs.ablate(options)
    said = capsys.readouterr().out
    assert "similarity (fractional_mean) is fitted anew in each split: 3 fits" in said
    trials = trials_of(root).set_index("variant")
    folds = root.read_table("study", "ablation", "folds.parquet").to_pandas()
    ensemble, constant = "ensemble, all tiers", "constant, all tiers"
    assert len(folds) == 3 * (len(trials) - 1)
    assert trials.loc[ensemble, "splits_reason"] == "not trained in these splits"
    assert "predicts one score for all clips" in trials.loc[constant, "splits_reason"]
    assert np.isfinite(trials.loc[constant, "splits_mse"])
    ranked = folds[folds["variant"] != constant]
    assert ranked["reason"].isna().all()
    assert (folds["train"] + folds["val"] == 120).all()
    for name, rows in ranked.groupby("variant"):
        assert trials.loc[name, "splits_spearman"] == pytest.approx(rows["spearman"].mean())
        assert trials.loc[name, "splits_spearman_std"] == pytest.approx(rows["spearman"].std(ddof=1))
    assert trials["splits"].drop(ensemble).eq(3).all()
    check_scorer(root, trials, outputs)
    assert np.isnan(trials.loc["M3-S", "splits_delta"])
    assert np.isfinite(trials.loc["M3", "splits_delta"])
    tables = json.loads((tmp_path / "study" / "ablation" / "tables.json").read_text())
    assert "clips of one film always in one part" in tables["notes"]["splits"]
    assert folds.groupby("fold")["val"].first().sum() == len(films)
    jobs.ablate(options)
    assert f"{3 * (len(trials) - 1)} trainings cached" in capsys.readouterr().out
    pd.testing.assert_frame_equal(trials_of(root).set_index("variant"), trials)
    (tmp_path / "study" / "ablation" / "folds.parquet").unlink()
    with pytest.raises(ConfigError, match=r"--folds 31: the 120 scored clips .* are of 30 groups"):
        jobs.ablate(replace(options, folds=31))
    with pytest.raises(ConfigError, match="--folds 1: expected 0"):
        jobs.ablate(replace(options, folds=1))


def check_scorer(root, trials, outputs):
    """The row of a pretrained scorer: in Table 3, ranked as its output ranks val, seen by no model."""
    row = trials.loc["ResMem, calibrated on train (linear)"]
    catalogue = read_catalogue(root).to_pandas()
    val = catalogue[catalogue["split"] == "val"]
    own = val["clip_id"].map(outputs)
    assert row["spearman"] == pytest.approx(own.corr(val["score"], method="spearman"), abs=1e-6)
    assert (row["runs"], row["delta_runs"], row["full"]) == (1, 2, "M3-S")
    assert row["delta_low"] < row["delta_spearman"] < row["delta_high"]
    assert trials.loc["M3", "features"] == 15 + 40
    tables = root.read_json("study", "ablation", "tables.json")
    assert tables["3"][-1] == row.name
    runs = root.read_table("study", "ablation", "runs.parquet").to_pandas()
    assert runs.loc[runs["variant"] == row.name, "epoch"].tolist() == [0, 0]


def test_settings_are_chosen_for_each_row_on_request(jobs, tmp_path, capsys):
    root = made_root(tmp_path, rows=80)
    options = AblateOptions(out=root.uri, tables=(3,), runs=1, epochs=2, fit="each")
    jobs.ablate(options)
    said = capsys.readouterr().out
    assert "choosing settings for each of 3 rows, 0 cached" in said
    config = json.loads((tmp_path / "study" / "ablation" / "config.json").read_text())
    assert len(config["variants"]) == 3 + len(BESIDE)
    tables = json.loads((tmp_path / "study" / "ablation" / "tables.json").read_text())
    assert tables["notes"]["settings"] == "Settings were selected for each row on its own, among the same candidates."
    jobs.ablate(options)
    assert "choosing settings for each of 3 rows, 3 cached" in capsys.readouterr().out


@pytest.fixture(scope="module")
def tier_files(tmp_path_factory):
    """A table of 150 clips, and a tier of 6 columns of which a line gives the score, but for noise."""
    folder = tmp_path_factory.mktemp("tiers")
    rng = np.random.default_rng(0)
    values = rng.standard_normal((150, 6))
    scores = 1 / (1 + np.exp(-(values[:, 0] + 0.5 * values[:, 1] + 0.5 * rng.standard_normal(150))))
    ids = [f"c{k:03d}" for k in range(150)]
    splits = ["train" if k % 3 else "val" for k in range(150)]
    clips = pd.DataFrame({"clip_id": ids, "uri": [f"{name}.mp4" for name in ids], "score": scores, "split": splits})
    clips.to_csv(folder / "clips.csv", index=False)
    pd.DataFrame(values, columns=[f"x{k}" for k in range(6)]).assign(clip_id=ids).to_csv(folder / "text.csv")
    return folder


def train_on(folder, out, **options):
    tier = {"tier": (f"text={folder / 'text.csv'}",), "tiers": ("text",)}
    return TrainOptions(out=str(out), dataset="table", root=str(folder / "clips.csv"), runs=2, **tier, **options)


def test_a_study_has_the_models_beside_the_mlp_and_trains_them_once(jobs, tmp_path, tier_files, capsys):
    jobs.train(train_on(tier_files, tmp_path, epochs=2))
    bundle = json.loads((tmp_path / "models" / "m3s" / "bundle.json").read_text())
    trials = trials_of(Root(str(tmp_path)), "m3s").set_index("variant")
    assert list(trials.index) == ["m3s", *BESIDE]
    assert bundle["model"] == "ensemble", "a line is learned by a ridge, and by a large network in two epochs it is not"
    said = capsys.readouterr().out
    assert "ensemble, all tiers" in said
    jobs.ablate(AblateOptions(out=str(tmp_path), tables=(3,), runs=2, epochs=2))
    first = trials_of(Root(str(tmp_path))).set_index("variant")
    assert list(first.index) == ["text", *BESIDE]
    assert first["status"].eq("done").all()
    assert first.loc["ridge, all tiers", "spearman"] > 0.75
    tables = json.loads((tmp_path / "study" / "ablation" / "tables.json").read_text())
    assert tables["7"] == ["text", *BESIDE]
    assert "study: Best on val: " in capsys.readouterr().out
    jobs.ablate(AblateOptions(out=str(tmp_path), tables=(7,), runs=2, epochs=2))
    said = capsys.readouterr().out
    assert "study: 1 variants x 2 runs; 1 cached" in said
    assert "study: 5 models beside text; 5 cached" in said
    pd.testing.assert_frame_equal(trials_of(Root(str(tmp_path))).set_index("variant"), first)


def test_the_bundle_holds_what_is_asked_for(jobs, tmp_path, tier_files):
    import m3ray

    values = pd.read_csv(tier_files / "text.csv")
    for model, fit in (("ridge", "auto"), ("mlp", "paper")):
        jobs.train(train_on(tier_files, tmp_path, epochs=2, model=model, fit=fit, name=model))
        bundle = json.loads((tmp_path / "models" / model / "bundle.json").read_text())
        assert bundle["model"] == model
        predictions = Root(str(tmp_path)).read_table("study", model, "predictions.parquet").to_pandas()
        row = "ridge, all tiers" if model == "ridge" else "mlp"
        own = predictions[predictions["variant"] == row].set_index("clip_id")["score"]
        columns = {"x": values[[f"x{k}" for k in range(6)]].to_numpy(np.float32)}
        scorer = m3ray.load(str(tmp_path / "models" / model))
        scored = scorer.predict(values["clip_id"].tolist(), {"text": columns}).set_index("clip_id")["score"]
        if model == "mlp":
            np.testing.assert_allclose(scored[own.index], own, atol=1e-6)
        else:
            assert np.corrcoef(scored[own.index], own)[0, 1] > 0.99, "on the scores' scale by a rising map"
