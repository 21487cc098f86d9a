"""Rows are copied to clips of the same content, or dropped. Tiers are made up, no Ray runs."""

import pyarrow as pa
import pytest
from digest_tier import TIERS, compute, fill, folder, holds, write, write_listed

from m3ray.config import TierConfigs
from m3ray.datasets.catalogue import make_catalogue
from m3ray.pipelines.extraction.planning import plan
from m3ray.pipelines.extraction.root_upkeep import prepare
from m3ray.pipelines.extraction.row_updates import copy_rows, drop_stale_rows
from m3ray.schema import CONTENT, Clip, catalogue_table
from m3ray.storage.dataset_folders import DatasetOrigin
from m3ray.storage.root import Root


@pytest.fixture
def root(tmp_path):
    return Root(str(tmp_path / "root"))


def test_the_same_bytes_under_another_name_are_copied_where_a_hash_tells_them(root, tmp_path):
    fill(tmp_path / "v", 6)
    compute(root, write_listed(root, tmp_path / "v", by="hash"))
    (tmp_path / "v" / "0" / "0000.mp4").rename(tmp_path / "v" / "moved.mp4")
    one, two = tmp_path / "v" / "1" / "0001.mp4", tmp_path / "v" / "2" / "0002.mp4"
    first, second = one.read_bytes(), two.read_bytes()
    one.write_bytes(second)
    two.write_bytes(first)
    catalogue = write_listed(root, tmp_path / "v", by="hash")
    planned, done = compute(root, catalogue)
    assert done == []
    assert (planned.missing["one"], planned.cached["one"], planned.changed) == (0, 3, 2)
    assert "3 taken from clips of the same content" in planned.lines()[1]
    (missing,) = set(root.read_ids("features", folder(root, "one")).to_pylist()) - set(catalogue["clip_id"].to_pylist())
    assert missing == "0/0000.mp4", "rows of clips that are listed no more stay"
    assert holds(root, catalogue)


@pytest.mark.parametrize("shards", [1, 2])
def test_two_clips_that_change_places_do_so_whatever_shards_they_are_in(root, tmp_path, shards):
    """A copied row's shard may get the very name of the shard that holds the other one's source."""
    for name in "ab":
        (tmp_path / f"{name}.mp4").write_bytes(name.encode())
    rows = [Clip(name, f"{tmp_path}/{name}.mp4") for name in "ab"]
    for part in [rows] if shards == 1 else [rows[:1], rows[1:]]:
        catalogue = make_catalogue(root, catalogue_table(part), 0, origin=DatasetOrigin(by="hash"))
        write(prepare(plan(root, catalogue, TIERS, TierConfigs(), retry=False)))
    (tmp_path / "a.mp4").write_bytes(b"b")
    (tmp_path / "b.mp4").write_bytes(b"a")
    catalogue = make_catalogue(root, catalogue_table(rows), 0, origin=DatasetOrigin(by="hash"))
    compute(root, catalogue)
    assert holds(root, catalogue)


FOLDER = ("features", "one-1")


def write_rows(root, **contents):
    rows = pa.table({"clip_id": list(contents), "x": [float(k) for k in range(len(contents))]})
    root.write_shard(rows.append_column(CONTENT, pa.array(list(contents.values()), pa.string())), FOLDER, {"k": 1})


def stamps(**contents):
    return pa.table(
        {
            "clip_id": pa.chunked_array([list(contents)], pa.string()),
            CONTENT: pa.chunked_array([list(contents.values())], pa.large_string()),
        }
    )


def rows_of(root):
    table = root.read_shards(*FOLDER)
    return dict(zip(table["clip_id"].to_pylist(), table["x"].to_pylist(), strict=True))


def test_a_row_is_copied_with_the_target_s_stamp_and_the_shard_s_metadata(root):
    write_rows(root, a="1:5:sha256-aa /a", b="1:5:sha256-bb /b")
    copy_rows(root, FOLDER, stamps(c="1:9:sha256-bb /c", d="1:9:sha256-dd /d"))
    assert rows_of(root) == {"a": 0.0, "b": 1.0, "c": 1.0}, "no row has d's bytes: it is left to be computed"
    table = root.read_shards(*FOLDER)
    assert dict(zip(table["clip_id"].to_pylist(), table[CONTENT].to_pylist(), strict=True))["c"] == "1:9:sha256-bb /c"
    assert root.read_shard_metadata(*FOLDER)["k"] == 1


def test_rows_of_another_content_are_dropped_and_no_others(root):
    write_rows(root, same="1:5 /same", other="1:5 /other", gone="1:5 /gone")
    drop_stale_rows(root, FOLDER, stamps(same="1:5 /same", other="1:6 /other"))
    assert rows_of(root) == {"same": 0.0, "gone": 2.0}, "clips that are listed no more keep their rows"


def test_rows_that_say_nothing_of_their_content_stay(root):
    root.write_shard(pa.table({"clip_id": ["a"], "x": [1.0]}), FOLDER, {})
    drop_stale_rows(root, FOLDER, stamps(a="1:6 /a"))
    assert rows_of(root) == {"a": 1.0}
