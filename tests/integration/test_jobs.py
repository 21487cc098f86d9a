"""The jobs on real Ray, as a user runs them: one session of Ray for all of this file."""

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

import m3ray
from m3ray.config import ComputeConfig, SlidingWindowConfig
from m3ray.config.options import ExtractOptions, PredictOptions, ReproduceOptions, TrainOptions
from m3ray.errors import ConfigError, M3RayError, RootBusyError, SchemaError
from m3ray.reports.page import build_report
from m3ray.storage.root import Root

pytestmark = pytest.mark.integration
TOP = Path(__file__).parents[2]
CLIPS = 14  # of the demo in conftest.py
NO_GPU = pytest.mark.skipif(torch.cuda.is_available(), reason="with a GPU these are sound")


def folder_of(out, tier):
    (folder,) = (out / "features").glob(f"{tier}-*")
    return folder


def test_every_clip_has_every_tier(demo):
    out, _ = demo
    catalogue = pd.read_parquet(out / "catalogue.parquet")
    assert len(catalogue) == CLIPS
    for tier, column, width in (("raw", "hog", 10), ("scene", "scene", 720), ("event", "event", 2048)):
        frame = pd.read_parquet(folder_of(out, tier))
        assert set(frame["clip_id"]) == set(catalogue["clip_id"])
        assert frame[column].map(len).eq(width).all()
        assert np.isfinite(np.stack(frame[column])).all()
        assert np.stack(frame[column]).std(axis=0).max() > 0, "clips differ"
    current = json.loads((out / "artifacts" / "tiers.json").read_text())
    measures = {tier for tier in current if tier.startswith("similarity")}
    assert len(measures) == 1 + 8, "every measure but kde_labels, for which no label has clips enough"
    for tier in measures:
        frame = pd.read_parquet(out / "features" / current[tier]["folder"])
        assert set(frame["clip_id"]) == set(catalogue["clip_id"])
        assert np.isfinite(np.stack(frame["similarity"])).all()
    own = pd.read_parquet(out / "features" / current["similarity"]["folder"])
    assert own["similarity"].map(len).eq(2).all()


def test_raw_features_show_what_was_drawn(demo):
    """The demo draws brightness and motion: the features must follow them."""
    out, _ = demo
    catalogue = pd.read_parquet(out / "catalogue.parquet").set_index("clip_id")
    raw = pd.read_parquet(folder_of(out, "raw")).set_index("clip_id").loc[catalogue.index]
    assert np.corrcoef(raw["brightness"], catalogue["drawn_brightness"])[0, 1] > 0.9
    sizes = [Path(uri).stat().st_size for uri in catalogue["uri"]]
    assert (raw["size_bytes"].to_numpy() < sizes).all()
    assert (raw["size_bytes"].to_numpy() > 0).all()
    assert (catalogue["sampled"] == np.ceil(catalogue["duration"] * 2 - 2e-3)).all()


def test_shards_say_how_they_were_made(demo):
    out, _ = demo
    (shard,) = folder_of(out, "event").glob("*.parquet")
    facts = json.loads(pq.read_schema(shard).metadata[b"m3ray"])
    assert facts["untrained"] is True
    assert facts["decode"]["fps"] == 2
    assert facts["identity"]["config"]["network"] == "ip"


def test_the_study_s_tables_agree_with_its_runs(demo):
    out, _ = demo
    study = out / "study" / "ablation"
    trials = pd.read_parquet(study / "trials.parquet").set_index("variant")
    runs = pd.read_parquet(study / "runs.parquet")
    # Tables 1 to 4, the full model counted once: 7 + 6 + 8, eight other measures alone and within M3, its own
    # alone; no model beside the MLP, as 11 train clips are too few to hold some out.
    assert not trials["status"].str.contains("failed").any()
    # A model of few columns may see no difference between three val clips, which the output says; the full ones do.
    assert trials.loc[["M3-S", "M3"], "status"].eq("done").all()
    assert len(trials) == 7 + 6 + 8 + 2 * 8 + 1
    assert trials.loc["M3", "features"] == 15 + 720 + 2048
    # The demo's rows have one hidden layer of 64, and not the 1,458,305 parameters of the supplement's Table 3.
    assert trials.loc["M3", "parameters"] == (15 + 720 + 2048) * 64 + 64 + 64 + 1
    beside = runs["epoch"] == 0
    assert runs[~beside].groupby("variant").size().eq(2 * 3).all()
    assert runs[beside].groupby("variant").size().eq(2).all(), "a row a run: they have no epochs"
    assert set(runs["seed"]) == {0, 1}
    last = runs[(runs["variant"] == "M3") & (runs["epoch"] == 3)]
    assert trials.loc["M3", "mse"] == pytest.approx(last["val_mse"].mean())


def test_near_duplicates_were_looked_for_and_what_if_is_of_the_bundle(demo):
    out, _ = demo
    assert set(pd.read_parquet(out / "artifacts" / "duplicates.parquet")["kind"]) <= {"content", "vectors"}
    curves = pd.read_parquet(out / "study" / "ablation" / "what_if.parquet")
    assert {"brightness", "hog_0", "size_bytes"} <= set(curves["feature"])
    assert np.isfinite(curves[["value", "effect"]]).all(axis=None)
    assert (out / "report" / "figures" / "what_if.png").exists()


def test_predictions_are_the_bundle_s(demo):
    out, _ = demo
    frame = pd.read_parquet(out / "predictions.parquet")
    assert Root(str(out)).read_metadata("predictions.parquet")["catalogue"] == "", "its clips are the root's own"
    assert len(frame) == CLIPS
    assert frame["score"].between(0, 1).all()
    assert (frame["low"] <= frame["score"]).all()
    assert (frame["score"] <= frame["high"]).all()
    shares = [c for c in frame if c.startswith("share_")]
    assert set(shares) == {"share_raw", "share_scene", "share_event", "share_similarity"}
    baseline = frame["score"] - frame[shares].sum(axis=1)
    assert np.ptp(baseline) < 1e-5, "shares sum to score minus one baseline"
    assert frame["inside"].dropna().between(0, 1).all()
    near, splits = pd.read_parquet(out / "neighbours.parquet"), frame.set_index("clip_id")["split"]
    assert set(near["clip_id"]) == set(frame["clip_id"])
    assert set(splits[near["neighbour"]]) == {"train"}
    assert (near["clip_id"] != near["neighbour"]).all()


def test_in_process_scoring_equals_the_batch_job(demo):
    out, _ = demo
    catalogue = pd.read_parquet(out / "catalogue.parquet")
    # A train clip is compared with the others in its own root, and with all where it comes in as a new one.
    catalogue = catalogue[catalogue["split"] == "val"].head(2)
    scorer = m3ray.load(out / "models" / "m3s")
    alone = scorer.predict(catalogue["uri"].tolist())
    scorer.close()
    batch = pd.read_parquet(out / "predictions.parquet").set_index("clip_id").loc[catalogue["clip_id"]]
    np.testing.assert_allclose(alone["score"], batch["score"], atol=1e-4)


def test_every_parquet_file_is_read_without_m3ray(demo):
    out, _ = demo
    files = [f for f in out.rglob("*.parquet") if "tune" not in f.parts]
    assert len(files) > 8
    for file in files:
        rows = len(pd.read_parquet(file))
        assert rows == pl.read_parquet(file).height == duckdb.sql(f"select * from '{file}'").fetchall().__len__()


def test_the_report_is_there_and_says_untrained(demo):
    out, _ = demo
    html = (out / "report" / "index.html").read_text()
    for number in (1, 2, 3, 4, 5):
        assert f"Table {number}." in html
        for ending in ("md", "csv", "tex"):
            assert (out / "report" / "tables" / f"table{number}.{ending}").stat().st_size > 0
    assert "skipped: no label has" in html
    assert "Untrained weights" in html
    assert "nan" not in html.split("<main ")[1].split("<img")[0].lower().replace("maintenance", "")


def test_the_run_is_recorded(demo):
    out, _ = demo
    (run,) = [p for p in (out / "runs").iterdir() if p.name != "locks"]
    summary = json.loads((run / "summary.json").read_text())
    assert (summary["status"], summary["clips"], summary["rejected"]) == ("success", CLIPS, 0)
    assert summary["clips_done"] == CLIPS
    assert set(summary["stage_seconds"]) == {"decode", "raw", "scene", "event"}
    assert json.loads((run / "config.json").read_text())["options"]["fps"] == 2
    assert "extract: 14/14 done" in (run / "log.txt").read_text()
    assert json.loads((out / "runs" / "locks" / "study.json").read_text())["released"]


def test_a_second_call_computes_just_what_is_missing(demo, jobs, capsys):
    out, options = demo
    before = {f: f.stat().st_mtime_ns for f in out.rglob("features/[rse]*-*/*.parquet")}
    jobs.reproduce(options)
    assert "nothing to compute" in capsys.readouterr().out
    assert {f: f.stat().st_mtime_ns for f in out.rglob("features/[rse]*-*/*.parquet")} == before
    jobs.extract(ExtractOptions(out=str(out), limit=CLIPS + 2, fps=2))
    output = capsys.readouterr().out
    assert f"event    2 to compute, {CLIPS} cached" in output
    assert len(pd.read_parquet(folder_of(out, "event"))) == CLIPS + 2


def make_bad_folder(tmp_path, demo):
    good = sorted((demo[0] / "demo").glob("*.mp4"))[:3]
    folder = tmp_path / "videos"
    (folder / "sub").mkdir(parents=True)
    shutil.copy(good[0], folder / "good.mp4")
    shutil.copy(good[1], folder / "sub" / "good.mp4")
    (folder / "empty.mp4").write_bytes(b"")
    (folder / "text.mp4").write_text("#EXTM3U\n/etc/passwd\n")
    (folder / "cut.mp4").write_bytes(good[2].read_bytes()[:4000])
    return folder, good[2]


def test_bad_clips_are_rejected_and_the_others_computed(demo, jobs, tmp_path, capsys):
    folder, whole = make_bad_folder(tmp_path, demo)
    options = ExtractOptions(out=str(tmp_path / "out"), dataset="folder", root=str(folder), tiers=("raw",), fps=2)
    with pytest.raises(M3RayError, match=r"3 clips are rejected, more than the 1 of --max-rejects .*truncated"):
        jobs.extract(options)
    output = capsys.readouterr().out
    assert "2 clips have features, 3 rejected, 5 in the catalogue" in output
    raw = pd.read_parquet(folder_of(tmp_path / "out", "raw"))
    assert sorted(raw["clip_id"]) == ["good.mp4", "sub/good.mp4"]
    rejects = pd.read_parquet(tmp_path / "out" / "rejects").set_index("clip_id")
    assert rejects["error"].to_dict() == {"empty.mp4": "empty_file", "text.mp4": "not_a_video", "cut.mp4": "truncated"}
    options = replace(options, max_rejects="3")
    jobs.extract(options)
    assert "3 rejected earlier" in capsys.readouterr().out, "a rerun does not stumble over them again"
    shutil.copy(whole, folder / "cut.mp4")
    jobs.extract(replace(options, max_rejects="40%", retry_rejects=True))
    assert set(pd.read_parquet(tmp_path / "out" / "rejects")["clip_id"]) == {"empty.mp4", "text.mp4"}
    assert "3 clips have features, 2 rejected" in capsys.readouterr().out


def test_a_job_whose_every_clip_fails_fails(jobs, tmp_path):
    (tmp_path / "v").mkdir()
    (tmp_path / "v" / "a.mp4").write_bytes(b"")
    options = ExtractOptions(out=str(tmp_path / "out"), dataset="folder", root=str(tmp_path / "v"), tiers=("scene",))
    with pytest.raises(M3RayError, match="every one of the 1 clips failed") as caught:
        jobs.extract(options)
    assert caught.value.exit_status == 1


def test_without_scores_features_stay_and_the_job_says_what_to_do(demo, jobs, tmp_path, capsys):
    folder, _ = make_bad_folder(tmp_path, demo)
    options = ReproduceOptions(out=str(tmp_path / "o"), dataset="folder", root=str(folder), tiers=("raw",), fps=2)
    jobs.reproduce(replace(options, max_rejects="60%"))
    assert "A study needs scores" in capsys.readouterr().out
    assert len(pd.read_parquet(tmp_path / "o" / "catalogue.parquet")) == 5
    build_report(str(tmp_path / "o"))
    assert "No study" in (tmp_path / "o" / "report" / "index.html").read_text()


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"dataset": "folder", "root": "/none"}, SchemaError, "no folder at /none"),
        ({"dataset": "folder"}, ConfigError, "needs --root"),
        ({"tiers": ("raw", "smell")}, ConfigError, "unknown tier smell"),
        ({"weights": "nowhere.json"}, ConfigError, "expected published"),
        ({"measure": "nearest"}, ConfigError, "unknown measure"),
        pytest.param({"compute": ComputeConfig(compile=True)}, ConfigError, "compile is for GPUs", marks=NO_GPU),
        pytest.param({"compute": ComputeConfig(raw_device="cuda")}, ConfigError, "has no GPU", marks=NO_GPU),
        ({"tiers": ("torchvision:resnet5",)}, ConfigError, "did you mean"),
    ],
)
def test_impossible_requests_stop_before_anything_is_written(jobs, tmp_path, options, error, words):
    with pytest.raises(error, match=words) as caught:
        jobs.extract(ExtractOptions(out=str(tmp_path / "o"), **options))
    assert caught.value.exit_status == 2
    assert not (tmp_path / "o" / "catalogue.parquet").exists()
    assert not (tmp_path / "o" / "features").exists()


def test_two_jobs_on_a_root_refuse_each_other(jobs, tmp_path):
    from m3ray.storage.lock import hold_lock

    with hold_lock(Root(str(tmp_path)), "train"), pytest.raises(RootBusyError, match="in use by train"):
        jobs.extract(ExtractOptions(out=str(tmp_path), limit=1))


def test_a_dry_run_prints_the_plan_and_computes_nothing(jobs, tmp_path, capsys):
    jobs.extract(ExtractOptions(out=str(tmp_path), limit=2, tiers=("raw", "scene"), dry_run=True))
    output = capsys.readouterr().out
    assert "scene    2 to compute, 0 cached" in output
    assert "raw: 2 to compute, after HOG's PCA is fitted" in output
    assert list(tmp_path.iterdir()) == [], "nothing at all"


def test_long_clips_are_read_window_by_window(demo, jobs, tmp_path):
    """A clip of several windows has the raw features of the same clip in one window."""
    from m3ray.config import DecodeConfig, LimitsConfig, RawConfig
    from m3ray.pipelines.extraction.decode_stage import DecodeStage
    from m3ray.pipelines.extraction.hog_pca import read_projection
    from m3ray.pipelines.extraction.records import WORK, unpack_decoded_clips
    from m3ray.pipelines.extraction.tier_stage import TierStage
    from m3ray.tiers import RawTier, average_windows

    out, _ = demo
    clip = pd.read_parquet(out / "catalogue.parquet").iloc[0]
    tier = RawTier(RawConfig(), read_projection(Root(str(out)), "artifacts"))
    work = pa.Table.from_pylist([{"clip_id": clip["clip_id"], "uri": clip["uri"], "tiers": ["raw"]}], schema=WORK)
    values = []
    for window in (128, 5):
        decode = DecodeConfig(fps=10, window_frames=window)
        rows = [row for table in DecodeStage(decode, LimitsConfig())(work) for row in unpack_decoded_clips(table)]
        found = TierStage([tier], decode, LimitsConfig(), 2).compute(rows)
        assert [row.failure for row in found] == [None] * len(rows)
        assert (len(rows) > 1) == (window == 5)
        clip_values = average_windows(row.windows["raw"] for row in found) if len(rows) > 1 else found[0].values["raw"]
        values.append(np.concatenate([np.atleast_1d(clip_values[c]) for c in tier.schema.names[1:]]))
    np.testing.assert_allclose(values[1], values[0], rtol=1e-4, atol=1e-5)


def check_curves(jobs, tmp_path, bundle, folder, whole):
    """Scores over time: in process and as a job the same; a window as long as the clip is the clip."""
    scorer = m3ray.load(bundle)
    for config in (SlidingWindowConfig(window=1, step=0.5), SlidingWindowConfig(window=60)):
        options = PredictOptions(out=str(tmp_path / "p"), bundle=bundle, root=str(folder), max_rejects="100%")
        jobs.predict(replace(options, over_time=True, sliding_windows=config))
        frame = pd.read_parquet(tmp_path / "p" / "predictions.parquet").set_index("clip_id")
        alone = scorer.over_time(folder / "good.mp4", config)
        np.testing.assert_allclose(frame.loc["good.mp4", "times"], alone["times"][0])
        np.testing.assert_allclose(frame.loc["good.mp4", "curve"], alone["curve"][0], atol=1e-4)
        if config.window == 60:
            np.testing.assert_allclose(frame["curve"].str[0], whole.set_index("clip_id")["score"], atol=1e-4)
            assert (frame["curve"].str.len() == 1).all()
        else:
            assert (frame["curve"].str.len() > 1).all()
    scorer.close()


def test_train_and_predict(demo, jobs, tmp_path):
    """A bundle of chosen tiers and a search's settings, then new videos through it, one of them broken."""
    out, _ = demo
    settings_of_search = {
        "training": {"hidden": [24], "loss": "mse_to_spearman", "epochs": 2, "learning_rate": 3e-3},
        "metric": "mse",
    }
    (tmp_path / "best.json").write_text(json.dumps(settings_of_search))
    settings = {"tiers": ("raw",), "runs": 2, "name": "rawonly", "config": str(tmp_path / "best.json")}
    jobs.train(TrainOptions(out=str(out), limit=CLIPS, fps=2, **settings))
    variant = json.loads((out / "models" / "rawonly" / "bundle.json").read_text())["variant"]
    assert (variant["training"]["hidden"], variant["training"]["loss"]) == ([24], "mse_to_spearman")
    folder, _ = make_bad_folder(tmp_path, demo)
    bundle = str(out / "models" / "rawonly")
    with pytest.raises(M3RayError, match="3 clips are rejected, more than the 1 of --max-rejects"):
        jobs.predict(PredictOptions(out=str(tmp_path / "p"), bundle=bundle, root=str(folder)))
    frame = pd.read_parquet(tmp_path / "p" / "predictions.parquet")
    assert sorted(frame["clip_id"]) == ["good.mp4", "sub/good.mp4"]
    assert len(pd.read_parquet(tmp_path / "p" / "predict" / "rejects")) == 3
    check_curves(jobs, tmp_path, bundle, folder, frame)
    original = pd.read_parquet(out / "predictions.parquet")
    columns = {"clip_id", "score", "spread", "low", "high", "share_raw", "inside", "split"}
    assert set(frame.columns) == columns < set(original.columns)


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (["jobs/extract.py", "--out", "{out}", "--dataset", "table", "--root", "{table}"], 2, "row 2: score 7"),
        (["jobs/predict.py", "--out", "{out}", "--root", "{out}"], 2, "no bundle at"),
        (["jobs/report.py", "--out", "{out}"], 2, "does not exist"),
    ],
)
def test_errors_are_one_line_and_a_status(tmp_path, arguments, status, words):
    (tmp_path / "t.csv").write_text("uri,score\na.mp4,0.5\nb.mp4,7\n")
    arguments = [a.format(out=tmp_path / "o", table=tmp_path / "t.csv") for a in arguments]
    process = subprocess.run([sys.executable, *arguments], cwd=TOP, capture_output=True, text=True, check=False)
    assert process.returncode == status, process.stderr
    assert words in process.stderr
    assert "Traceback" not in process.stderr
    assert not (tmp_path / "o" / "features").exists()
