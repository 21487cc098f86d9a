"""The steps of a prediction and their order, as far as shows without Ray; tests/integration runs the job itself."""

from contextlib import nullcontext
from types import SimpleNamespace

import pandas as pd
import pyarrow as pa
import pytest

from m3ray.config import SlidingWindowConfig
from m3ray.config.explain_options import ExplainConfig
from m3ray.config.options import PredictOptions
from m3ray.errors import ConfigError
from m3ray.pipelines import jobs
from m3ray.pipelines.runtime.cluster import Resources
from m3ray.pipelines.scoring import predict as module
from m3ray.request.checks import Request

SCORES = pd.DataFrame({"clip_id": ["a"], "score": [0.5], "split": [None]})


@pytest.fixture
def steps(monkeypatch, tmp_path):
    """Names of the steps, in the order in which they are called; none does anything."""
    called = []

    def note(name, value=None):
        return lambda *_, **__: called.append(name) or value

    tier = SimpleNamespace(name="scene")
    (tmp_path / "bundle.json").write_text("{}")
    bundle = SimpleNamespace(name="m3s", uri=str(tmp_path), untrained=False, tiers=("scene",), files={})
    values = {
        "open_bundle": bundle,
        "make_bundle_tiers": (SimpleNamespace(decode=SimpleNamespace(fps=10)), [tier]),
        "write_new_catalogue": pa.table({"clip_id": ["a"], "uri": ["/a.mp4"]}),
        "compute_missing": pa.table({"clip_id": ["a"]}),
        "score_root": SCORES,
        "compute_windows": "windows",
        "compute_shots": "shots",
        "make_shots": pd.DataFrame(),
        "describe": "m3s",
    }
    quiet = ("check_user_tiers", "check_devices", "check_storage", "check_decoders", "check_weights", "check_versions")
    later = ("print_plan", "make_curves", "score_clips", "explain", "drop_other_maps", "check_reject_share")
    later += ("make_shot_curves", "write_shots")
    for name in (*values, *quiet, *later):
        monkeypatch.setattr(module, name, note(name, values.get(name)))
    monkeypatch.setattr(module.planning, "plan", note("plan"))
    monkeypatch.setattr(module, "connect_cluster", lambda *_, **__: nullcontext(Resources(2, 0)))
    return called


WORK = {
    "write_new_catalogue",
    "compute_missing",
    "compute_windows",
    "score_root",
    "drop_other_maps",
    "explain",
    "check_reject_share",
    "print_plan",
}


def run(tmp_path, **given):
    jobs.predict(Request(PredictOptions(out=str(tmp_path / "out"), root=str(tmp_path), **given)))


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, ["compute_missing", "score_root", "drop_other_maps", "check_reject_share"]),
        (
            {"over_time": True, "explain": True},
            ["compute_missing", "compute_windows", "score_root", "drop_other_maps", "explain", "check_reject_share"],
        ),
    ],
)
def test_maps_come_after_the_scores_and_before_the_rejects_end_the_job(tmp_path, steps, given, expected):
    run(tmp_path, **given)
    assert [step for step in steps if step in WORK] == ["write_new_catalogue", *expected]


def test_a_dry_run_tells_of_the_maps_and_makes_none(tmp_path, steps, capsys):
    run(tmp_path, explain=True, dry_run=True, explanations=ExplainConfig(budget=32))
    assert [step for step in steps if step in WORK] == ["write_new_catalogue", "print_plan"]
    assert "plan: maps of 1 clips, up to 32 evaluations each, 32 in all" in capsys.readouterr().out
    assert not (tmp_path / "out").exists()


def test_without_a_tier_to_compute_scores_come_at_once_and_maps_are_refused(tmp_path, steps, monkeypatch):
    monkeypatch.setattr(module, "make_bundle_tiers", lambda _: (None, []))
    run(tmp_path)
    assert [step for step in steps if step in WORK] == ["write_new_catalogue", "score_root", "drop_other_maps"]
    steps.clear()
    with pytest.raises(ConfigError, match="sees captions or user-provided tiers alone"):
        run(tmp_path, explain=True)
    assert not WORK & set(steps)


@pytest.mark.parametrize("computes", [True, False])
def test_shots_of_earlier_scores_go_where_none_are_made(tmp_path, steps, monkeypatch, computes):
    shots = tmp_path / "out" / "shots.parquet"
    shots.parent.mkdir()
    shots.write_bytes(b"earlier")
    run(tmp_path, over_time=True, sliding_windows=SlidingWindowConfig(by="shots"))
    assert "write_shots" in steps
    assert shots.exists()
    if not computes:
        monkeypatch.setattr(module, "make_bundle_tiers", lambda _: (None, []))
    run(tmp_path, over_time=computes)
    assert not shots.exists()
