"""Published data sets without a video, from the command line's options to tables, a bundle and scores."""

import json
import re

import numpy as np
import pandas as pd
import pytest
from published import memento_csv, memento_json, text_tier, videomem_csv

import m3ray
from m3ray.config.options import AblateOptions, EvaluateOptions, PredictOptions, ReproduceOptions, TrainOptions
from m3ray.errors import BundleError, ConfigError, FeatureError, SchemaError
from m3ray.reports.page import build_report
from m3ray.scoring.bundle import Bundle

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def trained(jobs, tmp_path_factory):
    """MediaEval's Memento10k with a tier of text alone: a root with a bundle."""
    folder = tmp_path_factory.mktemp("memento")
    annotations = memento_csv(folder / "data", 200, 80)
    text = text_tier(folder / "text.npz", annotations)
    jobs.train(train_options(folder, text))
    return folder, annotations, text


def train_options(folder, text, **changes):
    settings = {"out": str(folder / "out"), "tier": (f"text={text}",), "tiers": ("text",)} | changes
    return TrainOptions(dataset="memento10k", root=str(folder / "data"), runs=2, **settings)


def test_a_data_set_without_videos_trains_on_a_user_provided_tier(trained):
    folder, annotations, _ = trained
    trials = pd.read_parquet(folder / "out" / "study" / "m3s" / "trials.parquet")
    # Three hidden numbers make the score, with noise of a third of their effect's size: published.rows.
    assert trials.set_index("variant").loc["m3s", "spearman"] > 0.8
    predictions = pd.read_parquet(folder / "out" / "study" / "m3s" / "predictions.parquet")
    assert set(predictions["clip_id"]) == {name for name in annotations if len(name) == 4}, "judged on dev"
    catalogue = pd.read_parquet(folder / "out" / "catalogue.parquet")
    assert catalogue["alpha"].notna().all()
    assert (folder / "out" / "artifacts" / "missing_videos.txt").read_text().count("\n") == 280


def test_captions_make_a_model_and_the_same_scores_in_every_way(jobs, tmp_path):
    """Memento10k's captions alone: a study, and its bundle on new clips, as a job and in one process alike."""
    data, out = tmp_path / "data", tmp_path / "out"
    memento_json(data, (("train", 60), ("val", 30)))
    options = {"dataset": "memento10k", "root": str(data), "tiers": ("captions",), "runs": 2, "epochs": 2}
    jobs.train(TrainOptions(out=str(out), fit="paper", model="mlp", **options))
    jobs.ablate(AblateOptions(out=str(out), tables=(3,), runs=2, epochs=2, fit="paper"))
    assert pd.read_parquet(out / "study" / "ablation" / "trials.parquet")["variant"].iloc[0] == "captions"
    texts = ["running in a park | another", "diving", ""]
    table = pd.DataFrame({"uri": ["a.mp4", "b.mp4", "c.mp4"], "captions": texts})
    table.to_csv(tmp_path / "new.csv", index=False)
    bundle = str(out / "models" / "m3s")
    clips = {"dataset": "table", "root": str(tmp_path / "new.csv")}
    jobs.predict(PredictOptions(out=str(tmp_path / "scores"), bundle=bundle, **clips))
    scores = pd.read_parquet(tmp_path / "scores" / "predictions.parquet").set_index("clip_id")["score"]
    with m3ray.load(bundle) as scorer:
        captions = [["running in a park", "another"], "diving", None]
        rows = scorer.predict(list(scores.index), tiers={"captions": captions})
    np.testing.assert_array_equal(rows["score"], scores)
    jobs.evaluate(EvaluateOptions(out=str(tmp_path / "ev"), bundles=(bundle,), roots=(str(out),)))
    assert len(pd.read_parquet(tmp_path / "ev" / "evaluation" / "evaluation.parquet")) == 1


def test_predict_scores_with_the_user_provided_tier_and_at_a_delay(jobs, trained):
    folder, annotations, text = trained
    out = str(folder / "out")
    jobs.predict(PredictOptions(out=out, tier=(f"text={text}",), delay=400))
    scores = pd.read_parquet(folder / "out" / "predictions.parquet").set_index("clip_id")
    assert set(scores.index) == set(annotations)
    bundle = Bundle.load(f"{out}/models/m3s")
    np.testing.assert_allclose(scores["share_text"], scores["score"] - bundle.baseline_score(), atol=1e-5)
    # The rows were made with alpha = -2e-4 - 1e-3 (1 - score): a line, so the fit must find it.
    alpha = -2e-4 - 1e-3 * (1 - scores["score"])
    expected = (scores["score"] + alpha * (400 - 80)).clip(0, 1)
    np.testing.assert_allclose(scores["score_at_delay"], expected, atol=2e-3)
    truth = pd.Series({name: row["score"] for name, row in annotations.items()})
    assert scores["score"].corr(truth[scores.index], method="spearman") > 0.8


def test_in_process_scoring_takes_the_user_provided_tier(jobs, trained):
    folder, annotations, text = trained
    jobs.predict(PredictOptions(out=str(folder / "out"), tier=(f"text={text}",)))
    batch = pd.read_parquet(folder / "out" / "predictions.parquet").set_index("clip_id")["score"]
    scorer = m3ray.load(folder / "out" / "models" / "m3s")
    names = list(annotations)[:5]
    vectors = np.stack([annotations[name]["hidden"] for name in names])
    scores = scorer.predict(names, {"text": {"text": vectors}})
    np.testing.assert_allclose(scores["score"], batch[names], atol=1e-4)
    with pytest.raises(FeatureError, match=r"sees the user-provided tier text: give.*\(5, 3\).*got nothing"):
        scorer.predict(names)
    scorer.close()


def test_predict_needs_the_tier_and_refuses_another_one(jobs, trained, tmp_path):
    folder, annotations, _ = trained
    with pytest.raises(ConfigError, match="sees text, provided by a user"):
        jobs.predict(PredictOptions(out=str(folder / "out")))
    np.savez(tmp_path / "wide.npz", clip_id=np.array(list(annotations)), text=np.zeros((len(annotations), 5)))
    with pytest.raises(BundleError, match=r"trained on another text than this: columns: \{'text': 3\} then"):
        jobs.predict(PredictOptions(out=str(folder / "out"), tier=(f"text={tmp_path / 'wide.npz'}",)))
    with pytest.raises(SchemaError, match="expected a file ending in"):
        jobs.predict(PredictOptions(out=str(folder / "out"), tier=("text=none is here",)))


def test_tiers_of_videos_need_videos(jobs, trained):
    folder, _, text = trained
    with pytest.raises(ConfigError, match=r"none of the 280 videos is there.*--videos"):
        jobs.train(train_options(folder, text, tiers=("raw", "text"), weights="untrained", out=str(folder / "raw")))


def test_a_tier_that_lacks_clips_stops_the_job(jobs, trained, tmp_path):
    folder, annotations, _ = trained
    part = text_tier(tmp_path / "part.npz", dict(list(annotations.items())[:200]))
    with pytest.raises(FeatureError, match="200 of 280 clips, 80 missing"):
        jobs.train(train_options(folder, part, out=str(tmp_path / "out")))


@pytest.mark.parametrize("dataset", ["memento10k", "videomem"])
def test_each_adapter_to_a_table_3_with_a_similarity_of_user_provided_vectors(jobs, tmp_path, dataset):
    annotations = (memento_json if dataset == "memento10k" else videomem_csv)(tmp_path / "data")
    text = text_tier(tmp_path / "text.npz", annotations)
    jobs.reproduce(
        ReproduceOptions(
            out=str(tmp_path / "out"),
            dataset=dataset,
            root=str(tmp_path / "data"),
            tier=(f"text={text}",),
            tiers=("text",),
            measure="kde",
            tables=(3,),
            runs=2,
            epochs=4,
            fit="paper",
        )
    )
    trials = pd.read_parquet(tmp_path / "out" / "study" / "ablation" / "trials.parquet")
    beside = [f"{name}, all tiers" for name in ("ridge", "svr", "boosting", "constant")]
    rows = ["text + similarity", "text", "text + similarity without text"]
    assert list(trials["variant"]) == [*rows, *beside], "no ensemble: with --fit paper the bundle is the MLP"
    tables = json.loads((tmp_path / "out" / "study" / "ablation" / "tables.json").read_text())
    assert tables["3"] == rows
    assert tables["7"] == [rows[0], *beside]
    assert len(pd.read_parquet(tmp_path / "out" / "predictions.parquet")) == 100


def test_models_are_judged_on_each_other_s_data(jobs, trained, tmp_path):
    folder, _, text = trained
    # Of another seed: clips of the same features are the same clips, and were trained on.
    annotations = videomem_csv(tmp_path / "data", 120, seed=7)
    other = text_tier(tmp_path / "text.npz", annotations)
    settings = {"dataset": "videomem", "root": str(tmp_path / "data"), "tier": (f"text={other}",), "tiers": ("text",)}
    jobs.train(TrainOptions(out=str(tmp_path / "videomem"), runs=2, epochs=5, fit="paper", **settings))
    jobs.evaluate(
        EvaluateOptions(
            out=str(tmp_path / "across"),
            bundles=(str(folder / "out" / "models" / "m3s"), str(tmp_path / "videomem" / "models" / "m3s")),
            roots=(str(folder / "out"), str(tmp_path / "videomem")),
        )
    )
    frame = pd.read_parquet(tmp_path / "across" / "evaluation" / "evaluation.parquet")
    assert frame["own"].tolist() == [True, False, False, True]
    val_clips = (pd.read_parquet(tmp_path / "videomem" / "catalogue.parquet")["split"] == "val").sum()
    assert 11 <= val_clips <= 37, "a fifth of 120 by hash, within three standard deviations of the binomial"
    assert frame["clips"].tolist() == [80, val_clips, 80, val_clips]
    # Both data sets were made with the same function of the same hidden numbers.
    assert frame["spearman"].iloc[1] > 0.7
    # On its own dev split a bundle does what its study said of the mean of its runs.
    predictions = pd.read_parquet(folder / "out" / "study" / "m3s" / "predictions.parquet")
    model = json.loads((folder / "out" / "models" / "m3s" / "bundle.json").read_text())["model"]
    predictions = predictions[predictions["variant"] == ("m3s" if model == "mlp" else f"{model}, all tiers")]
    expected = predictions["score"].corr(predictions["truth"], method="spearman")
    assert frame["spearman"].iloc[0] == pytest.approx(expected, abs=1e-4)
    assert (frame["low"] < frame["spearman"]).all()
    assert (frame["spearman"] < frame["high"]).all()
    markdown = (tmp_path / "across" / "evaluation" / "evaluation.md").read_text()
    table = [line for line in markdown.splitlines() if line.startswith("|")]
    assert len(table) == 4
    assert "rho, Spearman's rank correlation with the true scores" in markdown, "a legend below the table"
    # The viewers of both data sets are counted: published.rows.
    assert frame["ceiling"].between(0.75, 1).all()
    np.testing.assert_allclose(frame["share"], frame["spearman"] / frame["ceiling"])
    assert "\n".join(table).count("% of the ceiling") == 4
    assert text.exists()


def test_targets_weights_and_table_6_from_the_command_s_options_to_the_page(jobs, trained, tmp_path):
    """Decay is a target of its own; viewers weigh; the targets that the data have are crossed with the models."""
    folder, _, text = trained
    out = str(tmp_path / "out")
    common = {"out": out, "tier": (f"text={text}",), "tiers": ("text",), "runs": 2, "epochs": 3, "fit": "paper"}
    jobs.train(
        TrainOptions(dataset="memento10k", root=str(folder / "data"), target="alpha", weigh="responses", **common)
    )
    bundle = Bundle.load(f"{out}/models/m3s")
    assert (bundle.metadata.units.name, bundle.metadata.units.is_mapped) == ("alpha", True)
    predictions = pd.read_parquet(tmp_path / "out" / "study" / "m3s" / "predictions.parquet")
    assert predictions["truth"].max() < 0, "decay rates in their own units"
    assert predictions["score"].between(-0.002, 0).all()
    jobs.ablate(AblateOptions(out=out, target="score", tables=(3, 6), runs=2, epochs=3, fit="paper"))
    targets = pd.read_parquet(tmp_path / "out" / "study" / "ablation" / "targets.parquet")
    assert set(targets["target"]) == {"score", "alpha"}
    assert targets["spearman"].notna().all()
    build_report(out)
    page = (tmp_path / "out" / "report" / "index.html").read_text()
    assert "Table 6. Targets by models" in page
    assert re.search("of the ceiling by the runs.{1,5} mean", page)
    with pytest.raises(ConfigError, match="--target d_prime: the column is missing"):
        jobs.ablate(AblateOptions(out=out, target="d_prime"))
