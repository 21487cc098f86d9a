"""Figures of a root on the page, or the sentence that says why one is missing."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from made_reports import fill_page
from made_scores import scored_root, write_scores
from safetensors.numpy import save

from m3ray.config import TrainConfig
from m3ray.reports.figure_sections import add_coverage, add_over_time, add_pairs, add_search
from m3ray.reports.page_content import Page
from m3ray.scoring.bundle_metadata import BundleManifest, BundleMetadata
from m3ray.storage.root import Root
from m3ray.study.search_choice import OBJECTIVES
from m3ray.study.search_space import point_from_training


def test_curves_of_predict_beside_a_study_are_found(tmp_path):
    """predict.py leaves the study's predictions.parquet, which has no curves, and writes beside it."""
    root, page = Root(str(tmp_path)), Page({}, [], [], None, False)
    root.write_table(pa.table({"clip_id": ["a"], "score": [0.5]}), "predictions.parquet")
    add_over_time(root, page)
    assert page.missing == ["No scores over time: run m3ray predict --over-time."]
    curves = {"clip_id": ["a"], "score": [0.5], "times": [[1.5, 2.5, 3.5]], "curve": [[0.2, 0.9, 0.6]]}
    root.write_table(pa.table(curves), "predict", "predictions.parquet")
    add_over_time(root, page)
    assert len(page.figures) == 1


@pytest.mark.parametrize("folder", ["predict", "predict-0a1b"])
def test_curves_of_every_data_set_are_drawn(tmp_path, folder):
    """Those of a second data set, in predict-0a1b/, were left out."""
    root, page = scored_root(tmp_path, curves=[[0.1, 0.2], [0.3, 0.5], []]), Page({}, [], [], None, False)
    write_scores(root, ["x"], folder, (folder, "predictions.parquet"), curves=[[0.2, 0.9]])
    write_scores(root, ["y"], folder, (folder, "predictions-other.parquet"), curves=[[0.2]])
    add_over_time(root, page)
    assert [figure.key for figure in page.figures] == ["moments", "moments-2"]
    assert page.figures[1].title == f"Memorability over time: {folder}/predictions.parquet"
    assert "ResMem, not trained here" in page.figures[0].caption
    assert page.missing == [
        f"No scores over time ({root.display(folder, 'predictions-other.parquet')}): no clip has two windows."
    ]


def write_bundle(root, clips):
    """A bundle with intervals that were calibrated on so many clips, without what scores."""
    rng = np.random.default_rng(0)
    scores = rng.uniform(0.4, 0.9, clips)
    calibration = np.stack([scores, scores + rng.normal(0, 0.1, clips)]).astype(np.float32)
    manifest = BundleManifest("m3s", BundleMetadata(False, calibrated_on="val"), (), {})
    root.write_json(manifest.as_json(), "models", "m3s", "bundle.json")
    root.write_bytes(save({"calibration": calibration}), "models", "m3s", "intervals.safetensors")


def test_coverage_is_drawn_of_each_bundle_and_says_of_which_clips(tmp_path):
    root, page = Root(str(tmp_path)), Page({}, [], [], None, False)
    add_coverage(root, page)
    assert (page.figures, page.missing) == ([], [])
    write_bundle(root, 200)
    add_coverage(root, page)
    (figure,) = page.figures
    assert figure.title == "Coverage by tenth of the prediction"
    assert "(m3s: 200 clips of val, cross-validated)" in figure.caption
    data = pd.read_csv(root.path("report", "figures", "coverage.csv"))
    assert data["clips"].tolist() == [20] * 10
    assert f"In all: m3s {data['covered'].sum() / 200:.3f}" in figure.caption
    write_bundle(root, 20)
    add_coverage(root, page)
    assert page.missing == ["Coverage of the intervals of m3s: 20 clips are too few for tenths, 50 are the fewest."]


def test_a_search_and_moments_are_drawn_where_they_are(root):
    trials = pd.DataFrame(
        {
            **{name: [0.001, 0.01] for name in ("learning_rate", "gamma", "weight_decay", "strength")},
            **{name: [5, 8] for name in ("step_size", "batch")},
            "hidden": ["512x64", "64"],
            "loss": ["mse", "spearman"],
            "spearman": [0.4, 0.5],
            "complete": True,
        }
    )
    root.write_table(pa.Table.from_pandas(trials), "study", "search", "trials.parquet")
    root.write_json({"metric": "spearman"}, "study", "search", "best.json")
    frame = root.read_table("predictions.parquet").to_pandas().head(4)
    frame = frame.assign(times=[[1.0, 2.0]] * 4, curve=[[0.1, 0.2], [0.3, 0.9], [0.5, 0.5], [0.2, 0.3]])
    root.write_table(pa.Table.from_pandas(frame), "predictions.parquet")
    page = fill_page(root, add_search, add_over_time)
    assert [figure.key for figure in page.figures] == ["search", "moments"]
    assert len(pd.read_csv(root.path("report", "figures", "moments.csv"))) == 8


def test_a_search_says_what_it_chose_by_and_what_that_was_worth(root):
    point = point_from_training(TrainConfig())
    trials = pd.DataFrame([{**point, "calibrated_mse": e, "complete": True, "admissible": True} for e in (0.2, 0.1)])
    root.write_table(pa.Table.from_pandas(trials), "study", "search", "trials.parquet")
    said = {"metric": "mse", "objective": OBJECTIVES["mse"], "verdict": "no gain over what there was"}
    root.write_json(said, "study", "search", "best.json")
    (figure,) = fill_page(root, add_search).figures
    assert "colour is calibrated_mse on val" in figure.caption
    assert f"so optimistic: {OBJECTIVES['mse']}; dotted lines may not be the best." in figure.caption
    assert figure.caption.endswith("On seeds that chose nothing: no gain over what there was.")


def test_without_raw_features_the_page_says_how_to_get_them(root):
    root.write_json({}, "artifacts", "tiers.json")
    (raw,) = fill_page(root, add_pairs).missing
    assert raw == "Figure 6 (raw features and score): there is no raw tier: m3ray extract --tiers raw."
