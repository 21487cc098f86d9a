"""One environment a folder: what workers note, what a job refuses. No cluster."""

import platform

import pyarrow as pa
import pytest
from mean_tier import FOLDERS, MeanTier

from m3ray.config import ComputeConfig, DecodeConfig, LimitsConfig
from m3ray.console import LineKeeper
from m3ray.errors import ConfigError
from m3ray.pipelines.extraction import version_checks as versions
from m3ray.pipelines.extraction.decode_stage import DecodeStage
from m3ray.pipelines.extraction.planning import Plan
from m3ray.pipelines.extraction.records import WORK
from m3ray.pipelines.extraction.tier_stage import TierStage
from m3ray.pipelines.extraction.version_checks import check_software, check_versions, check_worker
from m3ray.pipelines.runtime.cluster import Resources
from m3ray.storage.root import Root
from m3ray.storage.versions import KEY, software_versions

CPU, GPU = Resources(2, 0), Resources(2, 1, 1)


def other(part, number):
    return {**software_versions(), part: number}


def make_plan(root, *asked):
    rows = [{"clip_id": "b", "uri": "/b", "tiers": list(asked)}]
    return Plan(root, (MeanTier(), MeanTier("raw")), FOLDERS, pa.Table.from_pylist(rows, schema=WORK), {}, {}, 0)


def make_root(tmp_path, environment, folder="mean"):
    root = Root(str(tmp_path))
    metadata = {} if environment is None else {KEY: [environment]}
    root.write_shard(pa.table({"clip_id": ["a"], "mean": [1.0]}), FOLDERS[folder], metadata)
    return root


def check(root, *asked, on=CPU, mix=False):
    with LineKeeper() as log:
        check_versions(make_plan(root, *asked), ComputeConfig(), on, mix=mix)
    return log.lines


def test_the_same_versions_are_silent(tmp_path):
    assert check(make_root(tmp_path, {**software_versions(), "device": "cpu", "precision": "bfloat16"}), "mean") == []
    assert check(Root(str(tmp_path / "fresh")), "mean", "raw") == []


def test_a_mix_that_changes_numbers_is_refused_in_a_line_that_names_both(tmp_path):
    root = make_root(tmp_path, other("torch", "2.0.1"))
    with pytest.raises(ConfigError) as caught:
        check(root, "mean")
    assert caught.value.exit_status == 2
    now = software_versions()["torch"]
    assert f"features/mean-1: computed with PyTorch 2.0.1 then and {now} now" in str(caught.value)
    assert "requirements.lock" in str(caught.value)
    assert "--mix-versions" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_mix_is_made_when_asked_for_and_said(tmp_path):
    (line,) = check(make_root(tmp_path, other("opencv", "3.4.0")), "mean", mix=True)
    assert "OpenCV 3.4.0 then" in line
    assert "--mix-versions" in line


def test_a_folder_that_nothing_is_added_to_is_not_asked(tmp_path):
    assert check(make_root(tmp_path, other("torch", "2.0.1")), "raw") == []


def test_another_kind_of_device_is_warned_of_once(tmp_path):
    root = make_root(tmp_path, {**software_versions(), "device": "cpu"})
    root.write_shard(pa.table({"clip_id": ["a"]}), FOLDERS["raw"], {KEY: [{**software_versions(), "device": "cpu"}]})
    (line,) = check(root, "mean", "raw", on=GPU)
    assert "features/mean-1, features/raw-1: computed with device cpu then and gpu now" in line
    assert check(root, "mean", "raw") == []


def test_shards_of_an_older_m3ray_are_not_known_and_not_refused(tmp_path):
    root = make_root(tmp_path, None)
    make_root(tmp_path, None, "raw")
    (line,) = check(root, "mean", "raw")
    assert "mean, raw do not say what they were computed with" in line


def test_a_worker_with_other_software_refuses(monkeypatch):
    check_worker(software_versions())
    check_worker(other("numpy", "1.0.0"))
    check_worker(
        other("torch", software_versions()["torch"].rpartition(".")[0] + ".77")
    )  # a patch: no other numbers foreseen
    with pytest.raises(ConfigError) as caught:
        check_worker(other("av", "9.1.0"))
    assert f"node {platform.node()} has PyAV {software_versions()['av']} where the job has 9.1.0" in str(caught.value)
    with pytest.raises(ConfigError, match="PyTorch"):
        TierStage([MeanTier()], DecodeConfig(), LimitsConfig(), 1, software=other("torch", "2.0.1"))
    stage = DecodeStage(DecodeConfig(), LimitsConfig())
    monkeypatch.setattr(
        versions, "software_versions", lambda: other("libswscale", "1.0.0")
    )  # of the node it travelled to
    with pytest.raises(ConfigError, match=r"libswscale 1\.0\.0 where the job has"):
        next(stage(WORK.empty_table()))


def test_preflight_compares_what_a_worker_of_each_kind_of_node_told():
    check_software(software_versions(), {}, "the workers of a")  # one that did not tell
    with pytest.raises(ConfigError, match=r"the workers of gpu_spot: 16 CPUs has OpenCV 3\.4\.0 where the job has"):
        check_software(software_versions(), other("opencv", "3.4.0"), "the workers of gpu_spot: 16 CPUs")
