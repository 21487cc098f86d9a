"""A root is put in order before an extraction and after it. Tiers are made up, no Ray runs."""

import os

import pyarrow as pa
import pytest
from digest_tier import TIERS, compute, fill, folder, holds, write, write_listed
from small_plans import make_plan, reject

from m3ray.config import TierConfigs
from m3ray.datasets.catalogue import make_catalogue, write_catalogue
from m3ray.pipelines.extraction.planning import plan
from m3ray.pipelines.extraction.root_upkeep import prepare, tidy
from m3ray.schema import Clip, catalogue_table
from m3ray.storage.dataset_folders import DatasetOrigin
from m3ray.storage.rejects import REJECTS_FOLDER, read_rejected_ids
from m3ray.storage.root import Root
from m3ray.storage.tier_index import TierEntry, update_tier_index


@pytest.fixture
def root(tmp_path):
    return Root(str(tmp_path / "root"))


def test_a_job_killed_after_old_rows_went_computes_them_next_time(root, tmp_path):
    fill(tmp_path / "v", 3)
    compute(root, write_listed(root, tmp_path / "v"))
    (tmp_path / "v" / "0" / "0000.mp4").write_bytes(b"new")
    catalogue = write_listed(root, tmp_path / "v")
    prepare(plan(root, catalogue, TIERS, TierConfigs(), retry=False))
    planned, done = compute(root, catalogue)
    assert (planned.changed, done) == (0, ["0/0000.mp4"])
    assert holds(root, catalogue)


@pytest.mark.parametrize("retry", [False, True])
def test_no_clip_whose_twin_failed_is_lost_and_none_is_tried_twice(root, tmp_path, retry):
    """Three of one damaged content, two of one sound, and one damaged that is alone: as `extract.run` goes on."""
    data = {"bad1": b"", "bad2": b"", "bad3": b"", "good1": b"fine", "good2": b"fine", "alone": b""}
    for name, content in data.items():
        (tmp_path / f"{name}.mp4").write_bytes(content)
    (tmp_path / "alone.mp4").unlink()
    rows = catalogue_table([Clip(name, f"{tmp_path}/{name}.mp4") for name in data])
    catalogue = write_catalogue(root, rows, 0, origin=DatasetOrigin(by="hash"))
    first = prepare(plan(root, catalogue, TIERS, TierConfigs(), retry=retry))
    assert first.work["clip_id"].to_pylist() == ["bad1", "good1", "alone"]
    write(first)
    rest = prepare(first.replan(only=first.duplicates))
    assert rest.work["clip_id"].to_pylist() == ["bad2", "bad3"], "just the twins of the one that failed"
    write(rest)
    tidy(first)
    features = root.read_ids("features", folder(root, "one")).to_pylist()
    assert sorted(features) == ["good1", "good2"]
    assert sorted(root.read_ids(*REJECTS_FOLDER).to_pylist()) == ["alone", "bad1", "bad2", "bad3"]


def test_rejects_are_tried_again_where_the_clip_has_changed_or_come(root, tmp_path):
    (tmp_path / "empty.mp4").write_bytes(b"")
    rows = [Clip(name, f"{tmp_path}/{name}.mp4") for name in ("absent", "empty")]

    def run():
        return compute(root, make_catalogue(root, catalogue_table(rows), 0))

    assert run()[1] == ["absent", "empty"]
    planned, done = run()
    assert (planned.rejected, done) == (2, [])
    (tmp_path / "absent.mp4").write_bytes(b"come")
    assert run()[1] == ["absent"]
    (tmp_path / "empty.mp4").write_bytes(b"")
    os.utime(tmp_path / "empty.mp4", ns=(0, 10**18))
    assert run()[1] == ["empty"]
    assert root.read_shards(*REJECTS_FOLDER)["clip_id"].to_pylist() == ["empty"]
    assert run()[0].rejected == 1


def test_rejects_of_an_older_version_stay_while_their_uri_does(root, tmp_path):
    old = {"clip_id": "a", "uri": "/v/a", "stage": "decode", "error": "damaged", "message": "words"}
    root.write_shard(pa.Table.from_pylist([old]), REJECTS_FOLDER, {})
    anything = make_catalogue(root, catalogue_table([Clip("a", "/v/a")]), 0)
    now = plan(root, anything, TIERS, TierConfigs(), retry=False).folders["facts"][1]
    update_tier_index(root, {"facts": TierEntry(now)})  # what was decoded otherwise is tried again in any case
    for uri, held in (("/v/a", 1), ("/v/b", 0)):
        catalogue = make_catalogue(root, catalogue_table([Clip("a", uri)]), 0)
        assert plan(root, catalogue, TIERS, TierConfigs(), retry=False).rejected == held


def test_a_clip_that_a_tier_failed_keeps_its_row_while_it_lacks_the_tier(tmp_path):
    root = Root(str(tmp_path))
    both = make_plan(root, "raw", "scene")
    for name, ids in (("raw", ["a", "b"]), ("scene", ["a"])):
        root.write_shard(pa.table({"clip_id": ids, "x": [1.0] * len(ids)}), both.folders[name], {})
    tidy(both)
    reject(root, "b", "tier:scene")
    tidy(make_plan(root, "raw"))
    assert read_rejected_ids(root).to_pylist() == ["b"]
    root.write_shard(pa.table({"clip_id": ["b"], "x": [1.0]}), both.folders["scene"], {})
    tidy(make_plan(root, "raw", "scene"))
    assert read_rejected_ids(root).to_pylist() == []


def test_a_link_out_of_the_folder_stays_a_reject_though_it_had_features(tmp_path):
    root = Root(str(tmp_path))
    known = make_plan(root, "raw")
    root.write_shard(pa.table({"clip_id": ["a", "b"], "x": [1.0, 1.0]}), known.folders["raw"], {})
    reject(root, "b", "list")
    tidy(known)
    assert read_rejected_ids(root).to_pylist() == ["b"]
