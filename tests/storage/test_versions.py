"""Which versions change numbers, and what shards say of theirs. The rule's reasons: docs/environment.md."""

import re
from importlib.metadata import version
from pathlib import Path

import av
import cv2
import pyarrow as pa
import pytest

from m3ray.storage import compaction
from m3ray.storage.compaction import compact, keep_rows
from m3ray.storage.root import Root
from m3ray.storage.versions import (
    KEY,
    RULES,
    differences,
    filter_rejected,
    git_commit,
    merge_metadata,
    read_environments,
    read_folder_metadata,
    software_versions,
)

FOLDER = ("features", "scene-1")
NOW = {"torch": "2.14.1", "torchvision": "0.29.1", "opencv": "5.0.0", "libavcodec": "62.28.102", "numba": "0.68.1"}
NOW |= {"numpy": "2.4.6", "device": "cpu", "processor": "AVX512", "precision": "bfloat16"}


def effect(part, then, tier="scene"):
    return [d.effect for d in differences({**NOW, part: then}, NOW, tier)]


@pytest.mark.parametrize(
    ("part", "then", "expected"),
    [
        ("torch", "2.14.1", []),
        ("torch", "2.14.1+cu130", []),  # how it was built is no other release
        ("torch", "2.14.0", ["warned"]),
        ("torch", "2.13.1", ["rejected"]),
        ("torch", "3.14.1", ["rejected"]),
        ("opencv", "4.12.0", ["rejected"]),
        ("libavcodec", "62.11.100", ["rejected"]),  # FFmpeg 8.0 and 8.1
        ("libavcodec", "62.28.100", ["warned"]),
        ("numpy", "1.26.0", []),
        ("device", "gpu", ["warned"]),
        ("processor", "AVX2", []),
        ("precision", "float32", []),  # has a folder of its own
        ("numba", "0.60.0", []),  # compiles the raw tier's flow alone
    ],
)
def test_the_rule(part, then, expected):
    assert effect(part, then) == expected


@pytest.mark.parametrize(
    ("tier", "part", "expected"),
    [
        ("raw", "numba", ["warned"]),
        ("raw", "torchvision", []),
        ("torchvision:resnet18", "torchvision", ["rejected"]),
        ("event", "torchvision", []),
        ("tuned:event", "torch", ["rejected"]),
        ("facts", "libavcodec", []),
        ("similarity", "torch", []),
        ("similarity:kde", "torch", []),
        (None, "torchvision", ["rejected"]),
    ],
)
def test_a_rule_is_about_the_tiers_that_come_through_that_part(tier, part, expected):
    assert effect(part, "0.1.0", tier) == expected


def test_the_gravest_comes_first_and_names_both_versions():
    then = {**NOW, "device": "gpu", "torch": "2.13.0"}
    first, second = differences(then, NOW, "event")
    assert [first.effect, second.effect] == ["rejected", "warned"]
    assert str(first) == "PyTorch 2.13.0 then and 2.14.1 now"
    assert filter_rejected([first, second]) == [first]


def test_what_either_does_not_know_is_not_compared():
    assert differences({}, NOW) == []
    assert differences({"torch": "2.13.0"}, {"opencv": "5.0.0"}) == []


def test_software_names_the_libraries_that_are_loaded():
    found = software_versions()
    assert found["opencv"] == cv2.__version__
    assert found["torch"] == version("torch")
    assert found["libavcodec"] == ".".join(map(str, av.library_versions["libavcodec"]))
    assert {rule.part for rule in RULES} >= set(found), "each part of the software has its rule"
    found["torch"] = "changed"
    assert software_versions()["torch"] != "changed"


def test_the_commit_is_that_of_the_checkout():
    found = git_commit()
    assert found is None or re.fullmatch("[0-9a-f]{40}", found)


def shard(root, name, *environments):
    metadata = {"k": 1, **({KEY: list(environments)} if environments else {})}
    root.write_shard(pa.table({"clip_id": [name], "x": [1.0]}), FOLDER, metadata)


def test_merged_shards_say_what_all_of_them_were_computed_with(tmp_path):
    root, old, new = Root(str(tmp_path)), {**NOW, "torch": "2.13.0"}, NOW
    shard(root, "a", new)
    shard(root, "b", old)
    shard(root, "c", new)
    compact(root, *FOLDER)
    assert len(root.list_names(*FOLDER)) == 1
    assert root.read_shard_metadata(*FOLDER)["k"] == 1
    found = read_environments(root, *FOLDER)
    assert sorted(found, key=lambda e: e["torch"]) == [old, new]


def test_a_merge_with_a_shard_that_says_nothing_keeps_that_it_is_not_known(tmp_path):
    root = Root(str(tmp_path))
    shard(root, "a", NOW)
    shard(root, "b")
    assert sorted(read_environments(root, *FOLDER), key=str) == sorted([NOW, None], key=str)
    compact(root, *FOLDER)
    assert sorted(root.read_shard_metadata(*FOLDER)[KEY], key=str) == sorted([NOW, None], key=str)
    shard(root, "c", NOW)
    compact(root, *FOLDER)
    assert len(root.read_shard_metadata(*FOLDER)[KEY]) == 2, "each once"


def test_rows_that_stay_keep_what_their_own_shard_said(tmp_path, monkeypatch):
    monkeypatch.setattr(compaction, "TARGET_BYTES", 0)  # no merging
    root, old = Root(str(tmp_path)), {**NOW, "torch": "2.13.0"}
    for names, environment in ((["a", "b"], NOW), (["c", "d"], old)):
        table = pa.table({"clip_id": names, "x": [1.0, 2.0]})
        root.write_shard(table, FOLDER, {KEY: [environment]})
    masks = {name: ids.to_numpy() != "d" for name, ids in root.read_ids_by_shard(*FOLDER).items()}
    keep_rows(root, FOLDER, masks)
    said = {
        tuple(root.read_table(*FOLDER, n)["clip_id"].to_pylist()): root.read_metadata(*FOLDER, n) for n in _names(root)
    }
    assert said == {("a", "b"): {KEY: [NOW]}, ("c",): {KEY: [old]}}


def _names(root):
    return root.list_names(*FOLDER, suffix=".parquet")


def test_what_says_nothing_stays_as_it_was(tmp_path):
    assert merge_metadata([]) == {}
    assert merge_metadata([{"k": 1}, {"k": 1}]) == {"k": 1}
    assert read_environments(Root(str(tmp_path)), *FOLDER) == []
    assert read_folder_metadata(Root(str(tmp_path)), *FOLDER) == {}


def test_the_documented_table_is_the_rule():
    text = (Path(__file__).parents[2] / "docs" / "environment.md").read_text()
    rows = [line.strip("|").split("|") for line in text.splitlines() if line.startswith("| ")]
    told = [tuple(cell.strip() for cell in row) for row in rows[1:] if len(row) == 5]
    words = {0: "never", 1: "kind", 2: "release", 3: "patch"}
    assert told == [(r.label, r.scope, words[r.rejected], words[r.warned], r.why) for r in RULES]
