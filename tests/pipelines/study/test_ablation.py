"""The study under Tune: what is trained, what is cached. Tune itself runs in tests/integration/test_study_jobs.py."""

from dataclasses import replace

import pytest
from trained_studies import train_study

from m3ray.errors import LostDeviceError
from m3ray.pipelines.runtime import devices
from m3ray.pipelines.runtime.cluster import Resources
from m3ray.pipelines.study import ablation
from m3ray.pipelines.study.ablation import run_study

CLUSTER = Resources(1, 0)


@pytest.fixture
def trained(tmp_path, monkeypatch):
    """A study with one trained variant; trials run here, and are noted."""
    study, variant, _ = train_study(tmp_path)
    names, reports = [], []
    monkeypatch.setattr(ablation.tune, "report", reports.append)

    def run_trials(work, _resources):
        for label in work:
            names.append(label)
            ablation._trial({"variant": label}, work, gpu=False)

    monkeypatch.setattr(ablation, "_run_trials", run_trials)
    return study, variant, names, reports


def test_a_variant_that_was_trained_is_not_trained_again(trained, capsys):
    study, variant, names, _ = trained
    assert run_study(study, [variant], CLUSTER)["variant"].tolist() == [variant.name]
    assert names == []
    assert "study: 1 variants x 2 runs; 1 cached" in capsys.readouterr().out


def test_what_is_missing_is_trained_once_and_joins_the_table(trained):
    study, variant, names, reports = trained
    raw = replace(variant, name="raw alone", tiers=("raw",), full=variant.name)
    table = run_study(study, [variant, raw, raw], CLUSTER).set_index("variant")
    assert names == ["raw alone"]
    assert table["features"].to_dict() == {variant.name: 55, "raw alone": 15}
    assert table.loc["raw alone", "delta_spearman"] == pytest.approx(
        table.loc["raw alone", "spearman"] - table.loc[variant.name, "spearman"]
    )
    (report,) = reports
    assert (report["features"], report["runs"]) == (15, 2)
    assert report["spearman"] == pytest.approx(table.loc["raw alone", "spearman"])
    assert run_study(study, [variant, raw], CLUSTER)["variant"].tolist() == [variant.name, "raw alone"]
    assert names == ["raw alone"]


def test_another_setting_is_another_trial(trained):
    study, variant, names, _ = trained
    longer = replace(variant, training=replace(variant.training, epochs=3))
    run_study(study, [longer], CLUSTER)
    assert names == [variant.name]


def test_a_trial_that_was_promised_a_gpu_computes_on_no_cpu(trained, monkeypatch):
    study, variant, _, reports = trained
    monkeypatch.setattr(devices, "_try_cuda", lambda: "Found no NVIDIA driver on your system")
    with pytest.raises(LostDeviceError, match="Found no NVIDIA driver"):
        ablation._trial({"variant": "x"}, {"x": (study, variant)}, gpu=True)
    assert reports == []


def test_trials_of_several_studies_are_laid_out_together_each_under_its_label(trained):
    study, variant, *_ = trained
    raw = replace(variant, name="raw alone", tiers=("raw",))
    work = {f"{name}, {target}": (study, kind) for target in "ab" for name, kind in (("all", variant), ("raw", raw))}
    on_cpus = ablation._lay_out(work, Resources(4, 0))
    assert list(on_cpus) == ["all, a", "all, b", "raw, a", "raw, b"], "the larger ones first"
    assert all(share.keys() == {"cpu"} for share in on_cpus.values())
    on_gpus = ablation._lay_out(work, Resources(16, 1))
    (share,) = {part["gpu"] for part in on_gpus.values()}
    (alone,) = {part["gpu"] for part in ablation._lay_out({"all": (study, variant)}, Resources(16, 1)).values()}
    assert share == alone / 4, "the GPU is shared by the trials of all targets"
