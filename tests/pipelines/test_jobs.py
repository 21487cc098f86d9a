"""Which stages a job calls with what, as far as that shows without Ray; tests/integration runs the jobs themselves."""

from contextlib import nullcontext
from dataclasses import replace

import numpy as np
import pytest

from m3ray.config.options import AblateOptions, EvaluateOptions, ReproduceOptions, TrainOptions, TuneOptions
from m3ray.pipelines import jobs
from m3ray.pipelines.runtime.cluster import Resources
from m3ray.request import baselines
from m3ray.request.checks import Request
from m3ray.tiers.user import UserTier


def lines_of(capsys):
    return capsys.readouterr().out.splitlines()


@pytest.mark.parametrize(
    ("job", "options", "plan"),
    [
        (jobs.ablate, AblateOptions(out="", tables=(1, 3), runs=2, dry_run=True), "tables 1, 3, 2 runs a variant"),
        (
            jobs.tune,
            TuneOptions(out="", trials=8, tiers=("raw", "scene"), runs=3, dry_run=True),
            "8 trials of raw, scene, 3 runs each",
        ),
        (
            jobs.evaluate,
            EvaluateOptions(out="", bundles=("a", "b"), roots=("r",), dry_run=True),
            "2 bundles, each on 1 roots",
        ),
    ],
    ids=["ablate", "tune", "evaluate"],
)
def test_a_dry_run_prints_the_plan_and_connects_to_no_cluster(tmp_path, monkeypatch, capsys, job, options, plan):
    monkeypatch.setattr(jobs, "connect_cluster", lambda *_, **__: pytest.fail("connected"))
    job(Request(replace(options, out=str(tmp_path / "o"))))
    lines = lines_of(capsys)
    assert lines[0] == f"plan: {plan}"
    assert lines[1].endswith("result: success: a dry run, nothing was written")
    assert not (tmp_path / "o").exists()


@pytest.fixture
def requests(monkeypatch):
    """What the extraction is asked for; it then stops, as in a dry run."""
    requests = []
    monkeypatch.setattr(jobs, "connect_cluster", lambda *_, **__: nullcontext(Resources(2, 0)))
    monkeypatch.setattr(jobs, "compute_features", lambda job, request, resources: requests.append(request))
    return requests


def user_tier(name):
    return UserTier(name, ("a",), {name: np.zeros(1, np.float32)}, True, f"{name}.csv")


@pytest.mark.parametrize(
    ("tiers", "extracted"),
    [
        (("raw", "scene", "similarity"), ("raw", "scene")),
        (("raw", "text", "similarity"), ("raw", "text")),
        (("text",), ("text",)),
        (("similarity",), ("scene", "event")),
    ],
)
def test_train_extracts_the_computed_tiers_and_those_that_similarity_compares(tmp_path, requests, tiers, extracted):
    options = TrainOptions(out=str(tmp_path / "o"), tiers=tiers)
    jobs.train(Request(options, user_tiers=(user_tier("text"),)))
    assert requests[0].options.tiers == extracted


def test_train_tells_of_a_tier_that_the_model_does_not_see(tmp_path, requests, capsys):
    options = TrainOptions(out=str(tmp_path / "o"), tiers=("raw", "text"))
    jobs.train(Request(options, user_tiers=(user_tier("text"), user_tier("sound"))))
    assert lines_of(capsys)[0] == (
        "train: tier sound was given by --tier, but --tiers does not name it: the model does not see it"
    )


def test_reproduce_computes_its_baselines_beside_the_tiers_that_the_model_sees(tmp_path, requests, monkeypatch):
    monkeypatch.setattr(baselines, "find_spec", lambda _name: object())
    options = ReproduceOptions(out=str(tmp_path / "o"), tiers=("raw", "scene"), baselines=("resmem",))
    jobs.reproduce(Request(options))
    assert requests[0].options.tiers == ("raw", "scene", "resmem")
    jobs.reproduce(Request(ReproduceOptions(out=str(tmp_path / "o"), tiers=("raw",), baselines=("none",))))
    assert requests[1].options.tiers == ("raw",)


@pytest.mark.parametrize(
    ("options", "model"),
    [
        (TrainOptions(out="o"), "auto"),
        (TrainOptions(out="o", model="svr"), "svr"),
        (ReproduceOptions(model="ensemble"), "ensemble"),
        (TrainOptions(out="o", unfrozen="small"), "mlp"),
        (ReproduceOptions(unfrozen="auto"), "mlp"),
    ],
)
def test_a_bundle_holds_the_model_that_is_asked_for_and_beside_trained_networks_the_mlp(options, model):
    assert jobs._choose_model(options) == model
