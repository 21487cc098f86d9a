"""The catalogue of a root, and what decoding adds to it."""

import shutil

import pyarrow as pa
import pytest

from m3ray.datasets.catalogue import add_video_metadata, make_catalogue, metadata_column, write_catalogue
from m3ray.datasets.clip_contents import clip_stamps
from m3ray.datasets.identity import video_keys
from m3ray.datasets.registry import list_clips
from m3ray.datasets.table import read_table
from m3ray.errors import SchemaError, StudyError
from m3ray.schema import CONTENT, Clip, catalogue_table
from m3ray.storage.catalogue_file import read_catalogue
from m3ray.storage.dataset_folders import DatasetOrigin
from m3ray.storage.root import Root


def clips(count, score=0.5):
    return catalogue_table([Clip(f"c{k}", f"/v/c{k}.mp4", score=score) for k in range(count)])


def test_splits_are_80_20_seeded_and_kept(tmp_path):
    """Each video is drawn by itself: of 2,000, 1,600 are train, give or take five deviations of 17.9."""
    root = Root(str(tmp_path))
    first = write_catalogue(root, clips(2000), seed=0).to_pandas().set_index("clip_id")["split"]
    assert abs((first == "train").sum() - 1600) < 90
    again = write_catalogue(root, clips(2100), seed=7).to_pandas().set_index("clip_id")["split"]
    assert (again[first.index] == first).all(), "clips that were drawn stay where they are"
    assert set(again.drop(first.index)) == {"train", "val"}


def test_a_catalogue_keeps_groups_together_and_their_column(tmp_path):
    root = Root(str(tmp_path))
    rows = [Clip(f"c{k}", f"/v/c{k}.mp4", score=0.5, extra={"film": f"f{k // 10}"}) for k in range(200)]
    first = write_catalogue(root, catalogue_table(rows[:150]), 0, group="film").to_pandas()
    assert (first.groupby("film")["split"].nunique() == 1).all()
    again = write_catalogue(root, catalogue_table(rows), 0, group="film").to_pandas()
    assert (again.groupby("film")["split"].nunique() == 1).all()
    assert again["split"][:150].tolist() == first["split"].tolist()
    assert again["film"].tolist() == [row.extra["film"] for row in rows]


def test_the_catalogue_keeps_the_user_s_columns_and_video_metadata(tmp_path):
    root = Root(str(tmp_path))
    table = write_catalogue(
        root, catalogue_table([Clip("a", "a", extra={"alpha": -0.1}), Clip("b", "b", extra={"alpha": None})]), 0
    )
    metadata = pa.table({"clip_id": ["b"], "frames": [7]})
    rows = add_video_metadata(add_video_metadata(table, metadata), metadata).to_pylist()
    assert [(r["clip_id"], r["alpha"], r["frames"]) for r in rows] == [("a", -0.1, None), ("b", None, 7)]
    with pytest.raises(StudyError, match="does not exist"):
        read_catalogue(Root(str(tmp_path / "other")))


DECODED = pa.table({"clip_id": ["b"], "duration": [3.0], "frames": [90], "decoder": ["pyav"]})


def test_the_user_s_own_columns_stand_beside_what_decoding_learned(tmp_path):
    mine = {"duration": "long", "frames": 4, "decoder": "me", "decoded_frames": "mine too"}
    table = catalogue_table([Clip("a", "a", extra=mine), Clip("b", "b", extra=mine)])
    for _ in range(2):
        table = add_video_metadata(table, DECODED)
        assert table.column_names[5:] == [
            *mine, "decoded_duration", "decoded_decoded_frames", "decoded_decoder",
        ]  # fmt: skip
        assert [{name: row[name] for name in mine} for row in table.to_pylist()] == [mine, mine]
        assert metadata_column(table, "frames").to_pylist() == [None, 90]
        assert metadata_column(table, "duration").to_pylist() == [None, 3.0]
    root = Root(str(tmp_path))
    root.write_table(table, "catalogue.parquet")
    assert metadata_column(read_catalogue(root), "decoder").to_pylist() == [None, "pyav"]


def test_what_decoding_learned_keeps_its_names_where_nobody_else_has_them():
    table = add_video_metadata(clips(3), DECODED)
    assert table.column_names[5:] == ["duration", "frames", "decoder"]
    assert metadata_column(table, "sampled") is None
    assert metadata_column(clips(3), "frames") is None


def test_a_catalogue_of_before_columns_were_marked_is_read_by_its_names():
    table = clips(1)
    for name in ("native_fps", "sampled", "video_bytes", "decoder"):
        table = table.append_column(name, pa.array([7]))
    assert metadata_column(table, "sampled").to_pylist() == [7]
    assert metadata_column(table, "frames") is None


def sides(table):
    """Splits of each video."""
    found = {}
    for uri, split in zip(table["uri"].to_pylist(), table["split"].to_pylist(), strict=True):
        found.setdefault(uri, set()).add(split)
    return found


def test_a_catalogue_is_split_by_video_from_run_to_run(tmp_path):
    root = Root(str(tmp_path / "root"))
    first = write_catalogue(root, catalogue_table([Clip(f"a{k}", f"/v/{k}.mp4") for k in range(10)]), 0)
    both = [Clip(f"{name}{k}", f"/v/{k}.mp4") for name in "ab" for k in range(10)]
    second = make_catalogue(root, catalogue_table(both), 1)["split"].to_pylist()
    assert second[:10] == second[10:] == first["split"].to_pylist()


def test_a_table_of_repeated_videos_in_a_case_seen(tmp_path):
    """shared/cases/drawn-split-leak: 30 videos with three rows each; 16 of them were drawn into both splits."""
    lines = [f"r{k},v{k // 3}.mp4,0.{1 + k % 9}" for k in range(90)]
    (tmp_path / "clips.csv").write_text("\n".join(["clip_id,uri,score", *lines]) + "\n")
    table = make_catalogue(Root(str(tmp_path / "root")), read_table(str(tmp_path / "clips.csv")).table, 0)
    assert {len(splits) for splits in sides(table).values()} == {1}
    assert set(table["split"].to_pylist()) == {"train", "val"}


def listed(folder, *, dataset="folder", limit=None, seed=0, root="/nowhere"):
    """Splits by clip of a data set in a fresh root."""
    source = str(folder)
    table = list_clips(Root(root), dataset, source, limit=limit, seed=0).table
    return dict(
        zip(
            table["clip_id"].to_pylist(),
            make_catalogue(Root(root), table, seed, origin=DatasetOrigin((source,)))["split"].to_pylist(),
            strict=True,
        )
    )


def videos(folder, numbers):
    for k in numbers:
        path = folder / f"{k % 9}" / f"{k:04d}.mp4"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")


def test_a_limit_moves_no_clip(tmp_path):
    """Issue 18, 8: `--limit 100` and then all moved 8 clips from val to train."""
    videos(tmp_path / "v", range(300))
    everything = listed(tmp_path / "v")
    some = listed(tmp_path / "v", limit=100)
    assert some == {clip: everything[clip] for clip in some}
    assert set(some.values()) == {"train", "val"}


def test_the_place_of_a_data_set_its_order_and_what_came_later_move_no_clip(tmp_path):
    videos(tmp_path / "v", range(0, 300, 2))
    early = listed(tmp_path / "v")
    videos(tmp_path / "v", range(300))
    late = listed(tmp_path / "v")
    assert early == {clip: late[clip] for clip in early}
    (tmp_path / "v").rename(tmp_path / "w")
    (tmp_path / "link").symlink_to(tmp_path / "w")
    assert listed(tmp_path / "w") == listed(tmp_path / "link") == late
    lines = [f"{clip},w/{clip}" for clip in sorted(late, reverse=True)]
    (tmp_path / "clips.csv").write_text("\n".join(["clip_id,uri", *lines]) + "\n")
    (tmp_path / "again").mkdir()
    (tmp_path / "w").rename(tmp_path / "again" / "w")
    (tmp_path / "clips.csv").rename(tmp_path / "again" / "clips.csv")
    table = listed(tmp_path / "again" / "clips.csv", dataset="table")
    shutil.copytree(tmp_path / "again", tmp_path / "copy")
    assert listed(tmp_path / "copy" / "clips.csv", dataset="table") == table


def test_clips_that_come_one_a_run_are_drawn_as_all_at_once(tmp_path):
    """Issue 18, 8: 50 clips added one a run all became train."""
    root = Root(str(tmp_path / "root"))
    for k in range(60):
        videos(tmp_path / "v", [k])
        table = list_clips(root, "folder", str(tmp_path / "v"), limit=None, seed=0).table
        found = write_catalogue(root, table, 0, origin=DatasetOrigin((str(tmp_path / "v"),)))
    one_a_run = dict(zip(found["clip_id"].to_pylist(), found["split"].to_pylist(), strict=True))
    at_once = listed(tmp_path / "v")
    # Where two or three videos are all there is, one is taken into val, and stays there.
    assert sum(one_a_run[clip] != split for clip, split in at_once.items()) <= 2
    assert sum(split == "val" for split in one_a_run.values()) > 5


@pytest.fixture
def root(tmp_path):
    return Root(str(tmp_path / "root"))


def test_the_user_s_own_column_of_that_name_stays(root, tmp_path):
    (tmp_path / "a.mp4").write_bytes(b"one")
    rows = catalogue_table([Clip("a", f"{tmp_path}/a.mp4", extra={"content": "a dog"})])
    table = write_catalogue(root, rows, 0)
    metadata = pa.table({"clip_id": ["a"], "frames": [3], CONTENT: ["3:1 /a"]})
    table = add_video_metadata(add_video_metadata(table, metadata), metadata)
    assert table.column_names[5:] == ["content", "clip_content", "frames"]
    assert table["content"].to_pylist() == ["a dog"]
    assert clip_stamps(root, table).to_pylist()[0].startswith("3:")


def test_equal_files_in_two_splits_are_a_leak_where_clips_are_known_by_their_bytes(tmp_path):
    """Their paths were compared when they were listed; their bytes are read no earlier than here."""
    for name in "ab":
        (tmp_path / name).write_bytes(b"one")
    table = catalogue_table([Clip("a", f"{tmp_path}/a", "train"), Clip("b", f"{tmp_path}/b", "test")])
    root = Root(str(tmp_path / "out"))
    videos = video_keys(table["uri"], "hash")
    with pytest.raises(SchemaError, match=r"is in train \(row 1, a\) and, as .*, in test \(row 2, b\): a leak"):
        write_catalogue(root, table, 0, videos, DatasetOrigin(by="hash"))
    assert not root.exists("catalogue.parquet")
    assert write_catalogue(root, table, 0)["split"].to_pylist() == ["train", "test"]
