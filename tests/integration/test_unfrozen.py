"""Finetuning through Ray Train: its row in the tables, its bundle, and its resumption after kills."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import psutil
import pytest

import m3ray
from m3ray.config.finetuning import FinetuneConfig, FinetuneOverrides
from m3ray.config.options import TuneOptions
from m3ray.reports.page import build_report
from m3ray.tiers.backbones import hrnetv2_w48, ip_csn_152

pytestmark = [pytest.mark.integration, pytest.mark.slow]  # all, so that the row that they look at is trained once
TOP = Path(__file__).parents[2]
EPOCHS, FRAMES = 2, 4
NAME = "M3-S, unfrozen"


def rows_of(out):
    runs = pd.read_parquet(out / "study" / "ablation" / "runs.parquet")
    return runs[runs["variant"] == NAME].sort_values("epoch")


@pytest.fixture(scope="module")
def trained(jobs, demo, tmp_path_factory):
    """The shared demo once more, with the unfrozen row; all else is cached."""
    out = tmp_path_factory.mktemp("unfrozen") / "root"
    shutil.copytree(demo[0], out)
    options = replace(demo[1], out=str(out), unfrozen="small", finetune=FinetuneOverrides(epochs=EPOCHS, frames=FRAMES))
    jobs.reproduce(options)
    build_report(str(out))
    return out, options


def test_its_row_stands_in_table_2_and_its_curve_in_figure_2(trained):
    out, _ = trained
    trials = pd.read_parquet(out / "study" / "ablation" / "trials.parquet").set_index("variant")
    row = trials.loc[NAME]
    assert (row["runs"], row["features"], row["full"]) == (1, trials.loc["M3-S", "features"], "M3-S")
    networks = sum(p.numel() for build in (hrnetv2_w48, ip_csn_152) for p in build().parameters())
    assert row["parameters"] - trials.loc["M3-S", "parameters"] == networks
    assert len(rows_of(out)) == EPOCHS
    assert np.isfinite(rows_of(out)[["train_loss", "val_mse"]].to_numpy()).all()
    assert row["mse"] == pytest.approx(rows_of(out)["val_mse"].iloc[-1])
    table = (out / "report" / "tables" / "table2.md").read_text()
    assert f"| {NAME} |" in table
    assert "not run" not in table
    assert NAME in set(pd.read_csv(out / "report" / "figures" / "figure2.csv")["variant"])


def test_its_bundle_predicts_what_training_judged(trained):
    """New videos go through the same decoder, the finetuned networks and the frozen ones for similarity."""
    out, _ = trained
    scores = check_bundle(out)
    assert {c for c in scores if c.startswith("share_")} == {
        "share_raw",
        "share_tuned:scene",
        "share_tuned:event",
        "share_similarity",
    }
    facts = json.loads((out / "models" / "m3s-unfrozen" / "bundle.json").read_text())
    assert facts["untrained"] is True
    assert set(facts["networks"]) == {"tuned-scene.safetensors", "tuned-event.safetensors"}


def test_a_second_call_trains_nothing_and_checkpoints_are_gone(jobs, trained):
    out, options = trained
    before = rows_of(out)
    jobs.reproduce(options)
    pd.testing.assert_frame_equal(rows_of(out), before)
    assert not any((out / "study" / "ablation" / "unfrozen").iterdir())


def check_bundle(out, name="m3s-unfrozen"):
    """A bundle's scores of the val clips, from their videos, against what its training judged."""
    predictions = pd.read_parquet(out / "study" / "ablation" / "predictions.parquet")
    own = predictions[predictions["variant"] == NAME].set_index("clip_id")["score"]
    catalogue = pd.read_parquet(out / "catalogue.parquet").set_index("clip_id")
    scorer = m3ray.load(out / "models" / name)
    scores = scorer.predict([catalogue.loc[clip, "uri"] for clip in own.index])
    scorer.close()
    np.testing.assert_allclose(scores["score"], own, atol=1e-4)
    return scores


def test_similarity_fitted_anew_goes_into_the_bundle(jobs, demo, tmp_path):
    out = tmp_path / "root"
    shutil.copytree(demo[0], out)
    overrides = FinetuneOverrides(epochs=1, frames=FRAMES, refit_similarity=True)
    jobs.reproduce(replace(demo[1], out=str(out), tables=(2,), unfrozen="small", finetune=overrides))
    check_bundle(out)
    bundle = m3ray.load(out / "models" / "m3s-unfrozen").bundle
    assert [tier for tier in bundle.tiers if tier.startswith("similarity")] == ["similarity"]
    assert not {"scene", "event"} & set(bundle.tiers)
    (block,) = (block for block in bundle.blocks if block.tier == "similarity")
    assert block.names == ("similarity_tuned:scene_fractional_mean", "similarity_tuned:event_fractional_mean")


def test_rates_are_searched_with_the_same_trainer(jobs, demo, tmp_path):
    out = tmp_path / "root"
    shutil.copytree(demo[0], out)
    overrides = FinetuneOverrides(epochs=1, frames=FRAMES)
    jobs.tune(TuneOptions(out=str(out), trials=2, runs=1, epochs=3, name="rates", unfrozen="small", finetune=overrides))
    trials = pd.read_parquet(out / "study" / "rates" / "trials.parquet")
    assert len(trials) == 2
    assert FinetuneConfig().head_learning_rate in set(trials["head_learning_rate"]), "the preset's are tried first"
    best = json.loads((out / "study" / "rates" / "unfrozen.json").read_text())
    assert best["full"]["backbone_learning_rate"] == trials["backbone_learning_rate"].iloc[0]
    assert trials["spearman"].is_monotonic_decreasing


def test_killed_workers_and_drivers_change_no_curve(trained, demo, tmp_path):
    """A worker is killed after the first checkpoint, the driver in the second epoch; two workers end what one began."""
    out = tmp_path / "root"
    shutil.copytree(demo[0], out)
    command = [sys.executable, "jobs/ablate.py", "--out", str(out), "--tables", "2", "--unfrozen", "small"]
    command += ["--runs", "2", "--epochs", "3", "--finetune.epochs", str(EPOCHS), "--finetune.cache", "none"]
    command += ["--finetune.frames", str(FRAMES)]
    env = {**os.environ, "RAY_AUTH_MODE": "disabled", "RAY_ADDRESS": "local"}
    log = (tmp_path / "log").open("w")
    job = subprocess.Popen(command, cwd=TOP, env=env, stdout=log, stderr=log, start_new_session=True)
    wait_for(lambda: len(checkpoints(out)) >= 1, job, tmp_path / "log")
    worker = next(p for p in psutil.Process(job.pid).children(recursive=True) if "RayTrainWorker" in title(p))
    worker.kill()
    wait_for(lambda: count_started_groups(out) == 2, job, tmp_path / "log")
    time.sleep(1)
    os.killpg(job.pid, signal.SIGKILL)
    job.wait()
    time.sleep(3)
    done = subprocess.run(
        [*command, "--finetune.workers", "2"],
        cwd=TOP,
        env=env,
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-2000:]
    assert "2 workers x 1 micro-batches x 4 clips" in done.stdout
    scores, expected = rows_of(out), rows_of(trained[0])
    for column in ("train_loss", "val_mse", "val_mae"):
        np.testing.assert_allclose(scores[column], expected[column], rtol=1e-3)


def checkpoints(out):
    """The checkpoints that Ray Train has registered."""
    names = []
    for snapshot in (out / "study" / "ablation" / "unfrozen").glob("*/checkpoint_manager_snapshot.json"):
        text = snapshot.read_text()  # which Ray may be writing
        latest = json.loads(text).get("latest_checkpoint_result") if text.endswith("}") else None
        names += [latest["checkpoint_dir_name"]] if latest else []
    return names


def count_started_groups(out):
    """How often Ray Train has started its workers, as the run's log says."""
    (log,) = (out / "runs").glob("*-ablate-*/log.txt")
    return log.read_text().count("Started training worker group")


def title(process):
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""


def wait_for(condition, job, log):
    deadline = time.monotonic() + 600
    while not condition():
        assert job.poll() is None, log.read_text()[-3000:]
        assert time.monotonic() < deadline, log.read_text()[-3000:]
        time.sleep(0.1)
