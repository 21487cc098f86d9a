"""Software versions in real jobs: shards record them, mixes are rejected, a node with others stops the job."""

import shutil
from dataclasses import replace

import pyarrow.parquet as pq
import pytest

from m3ray.config.options import ExtractOptions
from m3ray.errors import M3RayError
from m3ray.storage.parquet_tables import m3ray_metadata
from m3ray.storage.root import Root
from m3ray.storage.tier_index import read_tier_index
from m3ray.storage.versions import KEY, read_environments, software_versions

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def root_of_four(jobs, tmp_path_factory):
    out = tmp_path_factory.mktemp("mixed") / "root"
    options = ExtractOptions(out=str(out), dataset="demo", limit=4, fps=2, tiers=("raw", "scene"))
    jobs.extract(options)
    return out, options


def folder_of(root, tier):
    return read_tier_index(root)[tier].path


def test_shards_say_what_their_workers_had(root_of_four):
    root = Root(str(root_of_four[0]))
    for tier in ("raw", "scene"):
        (environment,) = read_environments(root, *folder_of(root, tier))
        assert {name: environment[name] for name in software_versions()} == software_versions()
        assert environment["device"] == "cpu"
    configured = read_tier_index(root)["scene"].config["precision"]
    assert environment["precision"] == configured


def set_environment(root, tier, part, number):
    folder = folder_of(root, tier)
    for name in root.list_names(*folder, suffix=".parquet"):
        table = pq.read_table(root.path(*folder, name))
        metadata = m3ray_metadata(table.schema)
        metadata[KEY] = [{**each, part: number} for each in metadata[KEY]]
        root.write_shard(table, folder, metadata)


def test_a_mix_is_refused_before_work_and_made_where_asked_for(root_of_four, jobs, tmp_path, capsys):
    out, options = root_of_four
    root = Root(str(shutil.copytree(out, tmp_path / "copy")))
    set_environment(root, "scene", "torch", "2.0.1")
    jobs.extract(replace(options, out=root.uri))  # nothing to add
    more = replace(options, out=root.uri, limit=6)
    before = root.read_ids(*folder_of(root, "scene")).to_pylist()
    with pytest.raises(M3RayError) as caught:
        jobs.extract(more)
    assert caught.value.exit_status == 2
    assert f"PyTorch 2.0.1 then and {software_versions()['torch']} now, which changes numbers" in str(caught.value)
    assert root.read_ids(*folder_of(root, "scene")).to_pylist() == before
    jobs.extract(replace(more, mix_versions=True))
    assert "mixed, as --mix-versions asks" in capsys.readouterr().out
    environments = read_environments(root, *folder_of(root, "scene"))
    assert sorted(each["torch"] for each in environments) == ["2.0.1", software_versions()["torch"]]


def test_a_node_of_other_software_stops_the_job(jobs, tmp_path, monkeypatch):
    """The job's own software is made another: every worker then has other software than the job."""
    from m3ray.pipelines.extraction import decode_stage

    monkeypatch.setattr(decode_stage, "software_versions", lambda: {**software_versions(), "av": "9.1.0"})
    options = ExtractOptions(out=str(tmp_path / "o"), dataset="demo", limit=4, fps=2, tiers=("scene",))
    with pytest.raises(M3RayError) as caught:
        jobs.extract(options)
    assert caught.value.exit_status == 2
    assert f"has PyAV {software_versions()['av']} where the job has 9.1.0" in str(caught.value)
    root = Root(str(tmp_path / "o"))
    assert not [name for name in root.list_names("features") if root.list_names("features", name)]
    assert not root.exists("rejects") or not root.list_names("rejects")
