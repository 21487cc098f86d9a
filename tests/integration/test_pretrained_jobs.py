"""A pretrained scorer as a bundle, through the jobs: scores without training, over time, evaluated on a root."""

import logging
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import m3ray
from m3ray.config import SlidingWindowConfig
from m3ray.config.explain_options import ExplainConfig
from m3ray.config.options import EvaluateOptions, PredictOptions
from m3ray.reports.page import build_report
from m3ray.scoring.explanations.explained_files import MAPS, OVERLAYS, read_explained, read_map
from m3ray.storage.root import Root
from m3ray.video.encode import encode_clip

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(find_spec("resmem") is None, reason="the package resmem is not installed (extra m3ray[resmem])"),
]
WINDOWS = SlidingWindowConfig(window=1, step=1)


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    """Three clips of two seconds, the last of them cut short; the table gives each a score and a split."""
    folder = tmp_path_factory.mktemp("videos")
    for number in range(3):
        pixels = np.random.default_rng(number).integers(0, 256, (20, 6, 8, 3), dtype=np.uint8)
        data = encode_clip(pixels.repeat(16, axis=1).repeat(16, axis=2), 10)
        (folder / f"{number}.mp4").write_bytes(data if number < 2 else data[:200])
    rows = [f"{folder / f'{k}.mp4'},{split},{0.2 + k / 4}" for k, split in enumerate(("test", "test", "train"))]
    (folder / "clips.csv").write_text("\n".join(["uri,split,score", *rows]) + "\n")
    return folder


def test_scores_without_training(jobs, videos, tmp_path, caplog):
    caplog.set_level(logging.INFO, logger="m3ray")
    options = {"out": str(tmp_path / "scores"), "max_rejects": "100%", "dataset": "table"}
    jobs.predict(
        PredictOptions(
            bundle="resmem", root=str(videos / "clips.csv"), over_time=True, sliding_windows=WINDOWS, **options
        )
    )
    frame = pd.read_parquet(tmp_path / "scores" / "predictions.parquet")
    assert len(frame) == 2, "the damaged one is a reject"
    assert frame["score"].between(0, 1).all()
    assert frame[["low", "high"]].isna().all(axis=None)
    assert not any(name.startswith("share_") for name in frame.columns)
    assert frame["curve"].str.len().tolist() == [2, 2]
    made = Root(str(tmp_path / "scores")).read_metadata("predictions.parquet")
    assert made["provenance"]["scorer"] == "resmem"
    assert sum("not calibrated here" in record.getMessage() for record in caplog.records) == 1
    check_in_process(frame, videos)
    evaluated = tmp_path / "across"
    roots = (str(tmp_path / "scores" / "predict"),)
    jobs.evaluate(EvaluateOptions(out=str(evaluated), bundles=("resmem",), roots=roots, max_rejects="100%"))
    table = pd.read_csv(evaluated / "evaluation" / "evaluation.csv")
    assert table[["bundle", "clips", "pretrained"]].to_numpy().tolist() == [["resmem", 2, True]]


def test_scores_are_explained_on_the_page(jobs, videos, tmp_path, caplog):
    """Two clips and a damaged one, by their shots and with maps; a second run computes no map again."""
    caplog.set_level(logging.INFO, logger="m3ray")
    root = Root(str(tmp_path / "explained"))
    options = PredictOptions(
        out=root.uri,
        bundle="resmem",
        dataset="table",
        root=str(videos / "clips.csv"),
        max_rejects="100%",
        over_time=True,
        sliding_windows=SlidingWindowConfig(by="shots"),
        explain=True,
        explanations=ExplainConfig(budget=8, grid=2, segments=2, seeds=1),
    )
    jobs.predict(options)
    scores = root.read_table("predictions.parquet").to_pandas().set_index("clip_id")["score"]
    rows = read_explained(root.subroot("explanations")).to_pandas().set_index("clip_id")
    assert rows.index.tolist() == sorted(scores.index)
    assert rows["reason"].isna().all()
    np.testing.assert_allclose(rows["score"], scores[rows.index], atol=1e-3)
    assert rows["evaluations"].between(1, 8).all()
    maps = root.list_sizes("explanations", MAPS)
    assert len(maps) == len(root.list_names("explanations", OVERLAYS)) == 2
    for clip in rows.index:
        cells = read_map(root.subroot("explanations"), clip).to_pandas()
        shares = cells["duration"] * cells["height"] * cells["width"]
        assert shares.sum() == pytest.approx(2, abs=0.11), "the parts are the whole clip of two seconds"
        assert np.isfinite(cells["effect"]).all()
    shots = root.read_table("shots.parquet").to_pandas()
    assert set(shots["clip_id"]) == set(scores.index)
    caplog.clear()
    jobs.predict(replace(options, explain_clips=("all",)))
    assert "explain: 0 clips to map, 2 have a map already" in caplog.text
    html = Path(build_report(root.uri)).read_text()
    assert html.count("Where and when it is memorable") == html.count("Shots</h4>") == 2
    assert html.count("data:image/webp;base64,") >= 4
    assert "versions scored" in html


def check_in_process(frame, videos):
    """The same scores and curves in one process, and the damaged clip as a row."""
    paths = [str(videos / f"{k}.mp4") for k in range(3)]
    with m3ray.load("resmem") as scorer:
        alone, curves = scorer.predict(paths), scorer.over_time(paths, WINDOWS)
    assert alone["reason"].isna().tolist() == [True, True, False]
    np.testing.assert_allclose(alone["score"][:2], frame["score"], atol=1e-4)
    np.testing.assert_allclose(alone["spread"][:2], frame["spread"], atol=1e-4)
    for row in range(2):
        np.testing.assert_allclose(curves["times"][row], frame["times"][row])
        np.testing.assert_allclose(curves["curve"][row], frame["curve"][row], atol=1e-4)
