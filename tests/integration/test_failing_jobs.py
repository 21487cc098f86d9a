"""Jobs with wrong, missing or degenerate input: each succeeds, or ends in one line, and keeps what others computed."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from black_clips import write_clips

from m3ray.config.options import (
    AblateOptions,
    EvaluateOptions,
    ExtractOptions,
    PredictOptions,
    ReproduceOptions,
    TrainOptions,
    TuneOptions,
)
from m3ray.errors import BundleError, ConfigError, DamagedFileError, JobFailedError, M3RayError, StudyError
from m3ray.storage.root import Root

pytestmark = pytest.mark.integration
TOP = Path(__file__).parents[2]


def listing(folder):
    """Names, sizes and times of change of everything in a folder."""
    return {
        str(path.relative_to(folder)): (path.stat().st_size if path.is_file() else None, path.stat().st_mtime_ns)
        for path in (folder, *folder.rglob("*"))
    }


@pytest.fixture
def root(demo, tmp_path):
    """A copy of the demo's root."""
    shutil.copytree(demo[0], tmp_path / "root")
    return tmp_path / "root"


@pytest.fixture
def videos(demo, tmp_path):
    """Three videos that are new to the root."""
    folder = tmp_path / "videos"
    folder.mkdir()
    for k, path in enumerate(sorted((demo[0] / "demo").glob("*.mp4"))[:3]):
        shutil.copy(path, folder / f"new{k}.mp4")
    return folder


# A dry run.


def test_a_dry_run_writes_nothing_whichever_the_job(jobs, root, videos, capsys):
    out = str(root)
    before = listing(root)
    jobs.extract(ExtractOptions(out=out, limit=16, refit_hog=True, dry_run=True))
    assert "event    2 to compute, 14 cached" in capsys.readouterr().out
    jobs.train(TrainOptions(out=out, name="new", dry_run=True))
    jobs.reproduce(ReproduceOptions(out=out, limit=16, dry_run=True))
    jobs.ablate(AblateOptions(out=out, dry_run=True))
    jobs.tune(TuneOptions(out=out, dry_run=True))
    jobs.predict(PredictOptions(out=out, root=str(videos), dry_run=True))
    assert "raw      3 to compute" in capsys.readouterr().out
    jobs.evaluate(EvaluateOptions(out=out, bundles=(f"{out}/models/m3s",), roots=(out,), dry_run=True))
    command = [sys.executable, "jobs/report.py", "--out", out, "--dry-run"]
    subprocess.run(command, cwd=TOP, check=True, capture_output=True)
    assert listing(root) == before


def test_a_dry_run_on_a_fresh_root_makes_no_folder(jobs, demo, videos, tmp_path):
    out = str(tmp_path / "none")
    before = listing(tmp_path)
    table = tmp_path / "videos"
    for options in (
        ExtractOptions(out=out, limit=2, dry_run=True),
        ExtractOptions(out=out, dataset="folder", root=str(table), tiers=("raw",), dry_run=True),
    ):
        jobs.extract(options)
    jobs.train(TrainOptions(out=out, limit=2, dry_run=True))
    jobs.reproduce(ReproduceOptions(out=out, limit=2, dry_run=True))
    jobs.predict(PredictOptions(out=out, bundle=str(demo[0] / "models" / "m3s"), root=str(table), dry_run=True))
    jobs.evaluate(
        EvaluateOptions(out=out, bundles=(str(demo[0] / "models" / "m3s"),), roots=(str(demo[0]),), dry_run=True)
    )
    assert listing(tmp_path) == before


def test_a_dry_run_from_a_command_line_needs_no_cluster(tmp_path):
    command = [sys.executable, "jobs/extract.py", "--limit", "2", "--tiers", "scene", "--dry-run"]
    env = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
    done = subprocess.run(
        [*command, "--out", str(tmp_path / "o")], cwd=TOP, env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "scene    2 to compute, 0 cached" in done.stdout
    assert "a dry run, nothing was written" in done.stdout.splitlines()[-1]
    assert list(tmp_path.iterdir()) == []


# The root's own data set.


def test_readme_s_line_for_a_tuned_model_trains_on_the_root_s_own_clips(jobs, tmp_path):
    """Without a data set it once drew the demo over a root of thousands of clips."""
    out, table = str(tmp_path / "out"), write_clips(tmp_path / "clips", 8)
    jobs.extract(ExtractOptions(out=out, dataset="table", root=str(table), tiers=("raw",), fps=6))
    before = pd.read_parquet(tmp_path / "out" / "catalogue.parquet")
    (tmp_path / "best.json").write_text(json.dumps({"training": {"hidden": [8], "epochs": 1}}))
    jobs.train(TrainOptions(out=out, config=str(tmp_path / "best.json"), name="tuned", runs=1))
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "out" / "catalogue.parquet"), before)
    facts = json.loads((tmp_path / "out" / "models" / "tuned" / "bundle.json").read_text())
    assert facts["made_by"] == "train"
    assert facts["configs"]["decode"]["fps"] == 6
    assert not (tmp_path / "out" / "demo").exists()
    with pytest.raises(ConfigError, match=r"holds the table .*clips\.csv, 8 clips; asked for is another data set"):
        jobs.extract(ExtractOptions(out=out, dataset="demo", limit=2))


def test_predict_leaves_the_study_s_predictions(jobs, root, videos, tmp_path, capsys):
    kept = (root / "predictions.parquet").read_bytes()
    catalogue = (root / "catalogue.parquet").read_bytes()
    jobs.predict(PredictOptions(out=str(root), root=str(videos)))
    beside = root / "predict" / "predictions.parquet"
    assert (root / "predictions.parquet").read_bytes() == kept
    assert (root / "catalogue.parquet").read_bytes() == catalogue
    assert str(beside) in capsys.readouterr().out
    assert Root(str(root)).read_metadata("predict", "predictions.parquet")["catalogue"] == "predict"
    first = pd.read_parquet(beside)
    assert sorted(first["clip_id"]) == ["new0.mp4", "new1.mp4", "new2.mp4"]
    # Another folder with a video of the same name: its own score, not the first one's.
    other = tmp_path / "other"
    other.mkdir()
    shutil.copy(videos / "new2.mp4", other / "new0.mp4")
    jobs.predict(PredictOptions(out=str(root), root=str(other)))
    pd.testing.assert_frame_equal(pd.read_parquet(beside), first)
    (apart,) = root.glob("predict-*/predictions.parquet")
    second = pd.read_parquet(apart).set_index("clip_id")["score"]
    assert list(second.index) == ["new0.mp4"]
    first = first.set_index("clip_id")["score"]
    assert second["new0.mp4"] == pytest.approx(first["new2.mp4"], abs=1e-5)
    assert first["new0.mp4"] != pytest.approx(first["new2.mp4"], abs=1e-5)
    (videos / "new1.mp4").unlink()
    jobs.predict(PredictOptions(out=str(root), root=str(videos)))
    again = pd.read_parquet(beside)
    assert sorted(again["clip_id"]) == ["new0.mp4", "new2.mp4"], "what is not asked for is not scored"


# Clips of which little can be learned.


def test_clips_that_begin_alike_go_the_whole_way(jobs, tmp_path, capsys):
    """Regression: t-SNE of equal rows was a segmentation fault."""
    out, table = tmp_path / "out", write_clips(tmp_path / "clips", 12)
    settings = {"tiers": ("scene",), "weights": "untrained", "tables": (3,), "runs": 1, "epochs": 1}
    jobs.reproduce(ReproduceOptions(out=str(out), dataset="table", root=str(table), **settings))
    assert "the vectors of all 10 train clips are equal" in capsys.readouterr().out
    assert len(pd.read_parquet(out / "predictions.parquet")) == 12
    from m3ray.reports.page import build_report

    build_report(str(out))
    assert "Table 3." in (out / "report" / "index.html").read_text()


def test_one_video_alone(jobs, demo, tmp_path, capsys):
    """It has all its features, HOG's ten numbers being 0, and a bundle scores it."""
    table = write_clips(tmp_path / "clips", 1, first=90)
    out = str(tmp_path / "out")
    jobs.extract(ExtractOptions(out=out, dataset="table", root=str(table), tiers=("raw",), fps=6))
    output = capsys.readouterr().out
    assert "hog: 10 of its 10 numbers are 0 for every clip, as the 1 first frames that its PCA was fitted on" in output
    raw = pd.read_parquet(next((tmp_path / "out" / "features").glob("raw-*")))
    assert raw["hog"].iloc[0].tolist() == [0] * 10
    assert raw["brightness"].iloc[0] > 0
    jobs.extract(ExtractOptions(out=out))
    assert "--refit-hog fits it on the 1 clips there are now" in capsys.readouterr().out
    jobs.predict(
        PredictOptions(
            out=str(tmp_path / "p"), bundle=str(demo[0] / "models" / "m3s"), dataset="table", root=str(table)
        )
    )
    assert len(pd.read_parquet(tmp_path / "p" / "predictions.parquet")) == 1
    capsys.readouterr()
    with pytest.raises(StudyError, match="1 clips have a score: training needs at least 2 in train and 2 in val"):
        jobs.reproduce(ReproduceOptions(out=out, tiers=("raw", "scene"), weights="untrained"))
    assert "extract" not in capsys.readouterr().out, "known before its features are"
    table.write_text("uri\n00.mp4\n")
    bare = {"dataset": "table", "root": str(table), "tiers": ("raw", "scene"), "weights": "untrained", "fps": 6}
    jobs.reproduce(ReproduceOptions(out=str(tmp_path / "bare"), **bare))
    output = capsys.readouterr().out
    assert output.index("study: no clip has a score") < output.index("similarity: skipped: ")


def test_one_video_that_is_none(jobs, tmp_path):
    (tmp_path / "clips").mkdir()
    (tmp_path / "clips" / "a.mp4").write_bytes(b"\0" * 100)
    options = ExtractOptions(out=str(tmp_path / "out"), dataset="folder", root=str(tmp_path / "clips"))
    with pytest.raises(M3RayError, match=r"none of the 1 clips of the train split can be decoded \(a\.mp4: "):
        jobs.extract(options)


# A root that was damaged.


def test_damaged_files_of_a_root_are_named(jobs, root, videos):
    tiers = root / "artifacts" / "tiers.json"
    whole = tiers.read_bytes()
    tiers.write_bytes(whole[: len(whole) // 2])
    for job, options in (
        (jobs.extract, ExtractOptions(out=str(root))),
        (jobs.ablate, AblateOptions(out=str(root))),
        (jobs.tune, TuneOptions(out=str(root))),
    ):
        with pytest.raises(
            DamagedFileError, match=r"tiers\.json is damaged or cut short .*: delete it and run the job"
        ):
            job(options)
    tiers.write_bytes(whole)
    (shard,) = (root / "features" / json.loads(whole)["scene"]["folder"]).glob("*.parquet")
    data = shard.read_bytes()
    shard.write_bytes(data[: len(data) // 2])
    with pytest.raises(DamagedFileError, match=f"{shard.name} is damaged or cut short"):
        jobs.ablate(AblateOptions(out=str(root), tables=(3,), runs=1))
    shard.write_bytes(data)
    (root / "artifacts" / "hog_pca.safetensors").write_bytes(b"\xff" * 64)
    with pytest.raises(DamagedFileError, match=r"hog_pca\.safetensors is damaged"):
        jobs.extract(ExtractOptions(out=str(root)))
    (root / "models" / "m3s" / "model.safetensors").write_bytes(b"\0" * 9)
    with pytest.raises(BundleError, match="was changed since the bundle was written"):
        jobs.predict(PredictOptions(out=str(root), root=str(videos)))


def test_what_is_deleted_as_told_is_made_again(jobs, root, capsys):
    (root / "artifacts" / "tiers.json").unlink()
    jobs.extract(ExtractOptions(out=str(root)))
    assert "event    0 to compute, 14 cached" in capsys.readouterr().out


# Ray, and what runs in it.


def test_a_worker_that_dies_is_one_line(jobs, root, monkeypatch):
    import ray

    from m3ray.pipelines.similarity import fit

    @ray.remote(max_retries=0)
    def dying(config, train):
        os._exit(7)

    monkeypatch.setattr(fit, "_project_task", dying)
    with pytest.raises(JobFailedError) as caught:
        jobs.reproduce(ReproduceOptions(out=str(root), baselines=("none",)))
    output = str(caught.value)
    assert output.startswith(f"study under {root}: a worker process died (WorkerCrashedError")
    assert "\n" not in output
    log = Path(output.rpartition("; traceback in ")[2])
    assert root in log.parents
    assert "WorkerCrashedError" in log.read_text()


def test_what_a_worker_of_ray_data_raises_is_one_line(jobs, tmp_path, monkeypatch):
    """The disk fills up while shards are written: the error comes out of Ray Data with its traceback as text."""
    from m3ray.pipelines.extraction import dataflow

    class Full(dataflow.WriteStage):
        def __call__(self, batch):
            raise OSError(28, "No space left on device", "/root/features/raw/part.parquet")

    monkeypatch.setattr(dataflow, "WriteStage", Full)
    out = tmp_path / "out"
    with pytest.raises(JobFailedError) as caught:
        jobs.extract(ExtractOptions(out=str(out), limit=2, tiers=("scene",), fps=2))
    output = str(caught.value)
    assert output.startswith(f"extract under {out}: the disk is full (OSError: [Errno 28] No space left on device")
    assert "\n" not in output
    assert "run the same command again" in output


def test_a_machine_that_is_odd(tmp_path):
    """A home that nobody can write, and a terminal that knows no Japanese."""
    table = write_clips(tmp_path / "映像", 3, first=40)
    env = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    env |= {"HOME": "/proc/nowhere", "PYTHONIOENCODING": "ascii"}
    command = [sys.executable, "jobs/extract.py", "--dataset", "table", "--root", str(table), "--tiers", "raw"]
    done = subprocess.run(
        [*command, "--fps", "6", "--out", str(tmp_path / "結果")], cwd=TOP, env=env, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr.decode()[-2000:]
    assert b"3 clips have features, 0 rejected" in done.stdout
    assert r"\u7d50\u679c" in done.stdout.decode("ascii")
    assert (tmp_path / "結果" / "catalogue.parquet").exists()
