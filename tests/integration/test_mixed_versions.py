"""Real jobs on Ray: shards say what their workers had, mixes are refused, a node of other software stops a job."""

import shutil
from dataclasses import replace

import pyarrow.parquet as pq
import pytest

from m3ray.config.options import ExtractOptions
from m3ray.errors import M3RayError
from m3ray.storage.root import Root, metadata_of
from m3ray.storage.tier_index import current_tiers
from m3ray.storage.versions import KEY, environments_of, software

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def extracted(jobs, tmp_path_factory):
    out = tmp_path_factory.mktemp("mixed") / "root"
    options = ExtractOptions(out=str(out), dataset="demo", limit=4, fps=2, tiers=("raw", "scene"))
    jobs.extract(options)
    return out, options


def folder_of(root, tier):
    return "features", current_tiers(root)[tier]["folder"]


def test_shards_say_what_their_workers_had(extracted):
    root = Root(str(extracted[0]))
    for tier in ("raw", "scene"):
        (found,) = environments_of(root, *folder_of(root, tier))
        assert {name: found[name] for name in software()} == software()
        assert found["device"] == "cpu"
    configured = current_tiers(root)["scene"]["identity"]["config"]["precision"]
    assert found["precision"] == configured


def as_if_computed_with(root, tier, part, number):
    folder = folder_of(root, tier)
    for name in root.names(*folder, suffix=".parquet"):
        table = pq.read_table(root.path(*folder, name))
        metadata = metadata_of(table.schema)
        metadata[KEY] = [{**each, part: number} for each in metadata[KEY]]
        root.write_shard(table, folder, metadata)


def test_a_mix_is_refused_before_work_and_made_where_asked_for(extracted, jobs, tmp_path, capsys):
    out, options = extracted
    root = Root(str(shutil.copytree(out, tmp_path / "copy")))
    as_if_computed_with(root, "scene", "torch", "2.0.1")
    jobs.extract(replace(options, out=root.uri))  # nothing to add
    more = replace(options, out=root.uri, limit=6)
    before = root.ids(*folder_of(root, "scene")).to_pylist()
    with pytest.raises(M3RayError) as caught:
        jobs.extract(more)
    assert caught.value.exit_status == 2
    assert f"PyTorch 2.0.1 then and {software()['torch']} now, which changes numbers" in str(caught.value)
    assert root.ids(*folder_of(root, "scene")).to_pylist() == before
    jobs.extract(replace(more, mix_versions=True))
    assert "mixed, as --mix-versions asks" in capsys.readouterr().out
    found = environments_of(root, *folder_of(root, "scene"))
    assert sorted(each["torch"] for each in found) == ["2.0.1", software()["torch"]]


def test_a_node_of_other_software_stops_the_job(jobs, tmp_path, monkeypatch):
    """The job's own software is made another: every worker then has other software than the job."""
    from m3ray.pipelines.extraction import decode_stage

    monkeypatch.setattr(decode_stage, "software", lambda: {**software(), "av": "9.1.0"})
    options = ExtractOptions(out=str(tmp_path / "o"), dataset="demo", limit=4, fps=2, tiers=("scene",))
    with pytest.raises(M3RayError) as caught:
        jobs.extract(options)
    assert caught.value.exit_status == 2
    assert f"has PyAV {software()['av']} where the job has 9.1.0" in str(caught.value)
    root = Root(str(tmp_path / "o"))
    assert not [name for name in root.names("features") if root.names("features", name)]
    assert not root.exists("rejects") or not root.names("rejects")
