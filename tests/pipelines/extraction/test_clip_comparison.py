"""Clips compared with what a root holds: what changed is computed again, and nothing else. No Ray runs."""

import os
import shutil

import numpy as np
import pyarrow as pa
import pytest
from digest_tier import TIERS, compute, fill, folder, holds, write_listed

from m3ray.config import TierConfigs
from m3ray.datasets.catalogue import make_catalogue, write_catalogue
from m3ray.datasets.clip_contents import add_contents
from m3ray.datasets.registry import list_clips
from m3ray.pipelines.extraction.clip_comparison import compare_with_folder, compare_with_rejects, match_ids
from m3ray.pipelines.extraction.planning import plan
from m3ray.schema import CONTENT, REJECTS, Clip, catalogue_table
from m3ray.storage.dataset_folders import DatasetOrigin
from m3ray.storage.root import Root
from m3ray.storage.shard_stamps import read_stamps


@pytest.fixture
def root(tmp_path):
    return Root(str(tmp_path / "root"))


def stamps(**clips):
    """`clip_id` and `content` of clips, as planning has them."""
    columns = {"clip_id": pa.chunked_array([list(clips)], pa.string()), CONTENT: [list(clips.values())]}
    return pa.table({**columns, CONTENT: pa.chunked_array(columns[CONTENT], pa.large_string())})


def test_ids_are_matched_with_the_first_equal_one():
    indices, matches = match_ids(pa.chunked_array([["c", "x"], ["a", "c"]]), pa.chunked_array([["a", "b"], ["c", "c"]]))
    assert (indices.tolist(), matches.tolist()) == ([0, 2, 3], [2, 0, 2])
    assert [part.tolist() for part in match_ids(pa.chunked_array([], pa.string()), pa.chunked_array([["a"]]))] == [
        [],
        [],
    ]


def test_a_folder_s_row_is_done_stale_or_lacking():
    clips = stamps(same="1:5 /same", other="1:6 /other", new="1:7 /new")
    rows = stamps(same="1:5 /same", other="1:5 /other", gone="1:5 /gone")
    status = compare_with_folder(clips, rows, np.ones(3, bool))
    assert status.done.tolist() == [True, False, False]
    assert status.stale.tolist() == [False, True, False]
    assert not status.copyable.any(), "no hash tells of equal bytes"


def test_a_row_of_equal_bytes_is_copyable_to_candidates_alone():
    clips = stamps(moved="1:9:sha256-aa /w", held="1:9:sha256-aa /x", new="1:9:sha256-bb /y")
    rows = stamps(old="1:5:sha256-aa /v")
    status = compare_with_folder(clips, rows, np.array([True, False, True]))
    assert status.copyable.tolist() == [True, False, False]
    assert not status.done.any()


def test_a_stamp_is_outdated_where_more_is_known_now():
    clips = stamps(hashed="1:5:sha256-aa /a", touched="1:6:sha256-bb /b", same="1:5 /c")
    rows = stamps(hashed="1:5 /a", touched="1:5:sha256-bb /b", same="1:5 /c")
    status = compare_with_folder(clips, rows, np.ones(3, bool))
    assert status.done.all()
    assert status.outdated_stamp.tolist() == [True, True, False]


def test_which_rejects_stay(root):
    """Those that changed, appeared, that only the storage failed, or whose stage is tried again do not."""
    rejects = [
        ("same", "decode", "damaged", "1:5 /same"), ("changed", "decode", "damaged", "1:5 /changed"),
        ("appeared", "read", "missing_file", "? /appeared"), ("storage", "read", "storage_failed", "1:5 /storage"),
        ("write_listed", "list", "link_outside", "1:5 /write_listed"), ("demuxed", "demux", "damaged", "1:5 /demuxed"),
    ]  # fmt: skip
    rows = [dict(zip(REJECTS.names, (n, f"/{n}", s, e, "words", c), strict=True)) for n, s, e, c in rejects]
    root.write_shard(pa.Table.from_pylist(rows, schema=REJECTS), ("rejects",), {})
    names = [name for name, *_ in rejects]
    now = {name: f"1:{6 if name == 'changed' else 5} /{name}" for name in names}
    clips = stamps(**now).append_column("uri", pa.array([f"/{name}" for name in names]))
    nothing = stamps().append_column("first", pa.array([], pa.large_string()))
    expected = {
        (False, ()): {"same", "write_listed", "demuxed"},
        (False, ("demux",)): {"same", "write_listed"},
        (True, ()): {"write_listed"},
    }
    for (retry, stages), stay in expected.items():
        rejected, outdated = compare_with_rejects(root, clips, nothing, retry=retry, stages=stages)
        assert {name for name, stays in zip(names, rejected, strict=True) if stays} == stay
        assert not outdated.any()


def test_two_folders_of_equal_names_do_not_share_numbers(root, tmp_path):
    """Issue 18, 1: Monday's scores stood under Tuesday's files, with exit status 0."""
    for day, seed in (("monday", 1), ("tuesday", 2)):
        fill(tmp_path / day, 5, seed, sizes=(9, 10))
        for path in (tmp_path / day).rglob("*.mp4"):
            os.utime(path, ns=(0, 10**18))
    compute(root, write_listed(root, tmp_path / "monday"))
    catalogue = write_listed(root, tmp_path / "tuesday")
    planned, done = compute(root, catalogue)
    assert len(done) == planned.changed == planned.missing["one"] == 5
    assert planned.lines()[0] == (
        "  5 clips changed since they were computed: those and what was fitted on them are computed again"
    )
    assert holds(root, catalogue)
    assert holds(root, catalogue, "two")


def test_a_row_whose_uri_changes_is_computed_again(root, tmp_path):
    (tmp_path / "a.mp4").write_bytes(b"one")
    (tmp_path / "b.mp4").write_bytes(b"two")
    for name in "ab":
        os.utime(tmp_path / f"{name}.mp4", ns=(0, 10**18))
        catalogue = make_catalogue(root, catalogue_table([Clip("clip", f"{tmp_path}/{name}.mp4")]), 0)
        assert compute(root, catalogue)[1] == ["clip"]
        assert holds(root, catalogue)


def test_an_address_that_cannot_be_looked_at_is_computed_again_where_it_changes(root):
    for uri, again in (("https://h/a?sig=1", 1), ("https://h/a?sig=2", 0), ("https://h/b?sig=2", 1)):
        catalogue = add_contents(catalogue_table([Clip("clip", uri)]), root)
        assert len(compute(root, catalogue)[1]) == again
        assert holds(root, catalogue)


CHANGES = ("uri", "bytes", "same size", "size", "new file")


def change(path, kind, rng, clips, k):
    """One random change of clip k; what it shows is other than before in each case."""
    data = path.read_bytes()
    if kind == "uri":
        other = path.with_name(f"other-{path.name}")
        other.write_bytes(data[::-1] + b"!")
        clips[k] = (clips[k][0], str(other))
    elif kind == "bytes":
        path.write_bytes(rng.bytes(len(data) + int(rng.integers(1, 9))))
    elif kind == "size":
        path.write_bytes(data[:-1])
    elif kind == "same size":
        path.write_bytes(bytes([data[0] ^ 1]) + data[1:])
    else:  # put in its place by a rename, as copying tools do
        new = path.with_suffix(".new")
        new.write_bytes(data + b"?")
        new.rename(path)


@pytest.mark.parametrize("by", ["fast", "hash"])
def test_a_thousand_random_changes_are_all_noticed_and_nothing_else_is_computed(root, tmp_path, by):
    """Issue 18's numbers: 100 % of 1,000 changes, no false recomputation over 10 reruns."""
    fill(tmp_path / "v", 400)
    clips = [(f"c{k:04d}", str(path)) for k, path in enumerate(sorted((tmp_path / "v").rglob("*.mp4")))]

    def catalogue():
        return make_catalogue(root, catalogue_table([Clip(*clip) for clip in clips]), 0, origin=DatasetOrigin(by=by))

    assert len(compute(root, catalogue())[1]) == 400
    rng, noticed = np.random.default_rng(7), 0
    for _ in range(10):
        chosen = sorted(rng.choice(400, 100, replace=False))
        for k in chosen:
            change(tmp_path / clips[k][1], rng.choice(CHANGES), rng, clips, k)
        planned, done = compute(root, catalogue())
        assert done == [clips[k][0] for k in chosen]
        noticed += planned.changed
        planned, done = compute(root, catalogue())
        assert (planned.changed, done, planned.cached) == (0, [], {"one": 400, "two": 400})
    assert noticed == 1000
    assert holds(root, catalogue())


def test_roots_of_before_contents_were_kept_go_on(root, tmp_path):
    fill(tmp_path / "v", 4)
    catalogue = write_listed(root, tmp_path / "v")
    compute(root, catalogue)
    for tier in ("one", "two"):
        where = ("features", folder(root, tier))
        table = root.read_shards(*where).drop_columns([CONTENT])
        root.delete_folder(*where)
        root.write_shard(table, where, {})
    assert compute(root, catalogue)[1] == []
    assert compute(root, catalogue.drop_columns([CONTENT]))[1] == []
    (tmp_path / "v" / "9.mp4").write_bytes(b"added")
    assert compute(root, write_listed(root, tmp_path / "v"))[1] == ["9.mp4"]
    assert read_stamps(root, "features", folder(root, "one"))[CONTENT].null_count == 4, "old and new rows in one folder"
    assert compute(root, write_listed(root, tmp_path / "v"))[1] == []


def as_older(root):
    """Makes the root one of before contents were kept: neither catalogue nor rows have any."""
    for where in (("features", folder(root, tier.name)) for tier in TIERS):
        table = root.read_shards(*where).drop_columns([CONTENT])
        root.delete_folder(*where)
        root.write_shard(table, where, {})
    table = root.read_table("catalogue.parquet")
    root.write_table(table.drop_columns([CONTENT]), "catalogue.parquet")


def test_a_clip_that_changes_in_a_root_of_before_contents_were_kept_is_noticed(root, tmp_path):
    fill(tmp_path / "v", 4)
    compute(root, write_listed(root, tmp_path / "v"))
    as_older(root)
    assert compute(root, write_listed(root, tmp_path / "v"))[1] == []
    (tmp_path / "v" / "1" / "0001.mp4").write_bytes(b"other pictures")
    catalogue = write_listed(root, tmp_path / "v")
    planned, done = compute(root, catalogue)
    assert (planned.changed, done) == (1, ["1/0001.mp4"])
    assert holds(root, catalogue)
    assert compute(root, write_listed(root, tmp_path / "v"))[1] == []


def test_a_row_of_an_older_root_whose_uri_changes_is_computed_again(root, tmp_path):
    (tmp_path / "a.mp4").write_bytes(b"one")
    (tmp_path / "b.mp4").write_bytes(b"two")

    def at(name):
        table = catalogue_table([Clip("a", f"{tmp_path}/{name}.mp4")])
        return write_catalogue(root, table, 0)

    compute(root, at("a"))
    as_older(root)
    dry = make_catalogue(root, catalogue_table([Clip("a", f"{tmp_path}/b.mp4")]), 0)
    assert plan(root, dry, TIERS, TierConfigs(), retry=False).changed == 1, "a dry run knows it, too"
    catalogue = at("b")
    assert compute(root, catalogue)[1] == ["a"]
    assert holds(root, catalogue)


def test_a_hash_that_is_learned_later_tells_other_bytes_of_one_size_and_time(root, tmp_path):
    fill(tmp_path / "v", 3)
    compute(root, write_listed(root, tmp_path / "v"))
    assert compute(root, write_listed(root, tmp_path / "v", by="hash"))[1] == []
    file = tmp_path / "v" / "1" / "0001.mp4"
    times = file.stat().st_mtime_ns
    file.write_bytes(file.read_bytes()[::-1])
    os.utime(file, ns=(times, times))
    catalogue = write_listed(root, tmp_path / "v", by="hash")
    assert compute(root, catalogue)[1] == ["1/0001.mp4"]
    assert holds(root, catalogue)


@pytest.mark.parametrize("first", ["hash", "fast"])
def test_a_file_that_was_touched_and_hashed_is_known_by_its_new_time(root, tmp_path, first):
    fill(tmp_path / "v", 3)
    for by in (first, "hash"):
        compute(root, write_listed(root, tmp_path / "v", by=by))
    os.utime(tmp_path / "v" / "1" / "0001.mp4", ns=(0, 10**18))
    for by in ("hash", "hash", "fast"):
        assert compute(root, write_listed(root, tmp_path / "v", by=by))[1] == []


def test_a_link_to_the_data_set_is_the_data_set_and_one_led_elsewhere_is_not(root, tmp_path):
    fill(tmp_path / "v", 3)
    shutil.copytree(tmp_path / "v", tmp_path / "w")  # times stay
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "v")
    compute(root, write_listed(root, tmp_path / "v"))
    assert compute(root, write_listed(root, link))[1] == []
    link.unlink()
    link.symlink_to(tmp_path / "w")
    assert len(compute(root, write_listed(root, link))[1]) == 3


def test_a_data_set_that_is_said_to_have_moved_goes_on_wherever_it_moves(root, tmp_path):
    fill(tmp_path / "v", 3)
    compute(root, write_listed(root, tmp_path / "v"))

    def move(one, other):
        shutil.move(tmp_path / one, tmp_path / other)
        before, now = f"{tmp_path}/{one}", f"{tmp_path}/{other}"
        table = list_clips(root, "folder", now, limit=None, seed=0).table
        return compute(root, write_catalogue(root, table, 0, origin=DatasetOrigin((now,), {now: before})))[1]

    assert move("v", "w") == move("w", "x") == []
    assert compute(root, write_listed(root, tmp_path / "x"))[1] == [], "and it stays known"
    (tmp_path / "x" / "1" / "0001.mp4").write_bytes(b"other pictures")
    assert compute(root, write_listed(root, tmp_path / "x"))[1] == ["1/0001.mp4"]


def test_a_copied_root_with_its_clips_below_it_computes_nothing(tmp_path):
    """The demo's clips lie under the root; a copy has other times and another place."""
    root = Root(str(tmp_path / "root"))
    fill(tmp_path / "root" / "demo", 5)
    compute(root, write_listed(root, tmp_path / "root" / "demo"))
    shutil.copytree(tmp_path / "root", tmp_path / "copy", copy_function=shutil.copyfile)
    copy = Root(str(tmp_path / "copy"))
    planned, done = compute(copy, write_listed(copy, tmp_path / "copy" / "demo"))
    assert (planned.changed, done) == (0, [])
    file = tmp_path / "copy" / "demo" / "0" / "0000.mp4"
    file.write_bytes(file.read_bytes()[::-1])
    assert compute(copy, write_listed(copy, tmp_path / "copy" / "demo"))[1] == ["0/0000.mp4"]


def test_a_replaced_object_is_computed_again_and_a_copied_bucket_is_not(s3, tmp_path):
    s3.create_bucket(Bucket="from")
    for k in range(4):
        s3.put_object(Bucket="from", Key=f"v/{k}.mp4", Body=f"clip {k}".encode())
    root = Root(str(tmp_path / "root"))
    assert len(compute(root, write_listed(root, "s3://from/v"))[1]) == 4
    s3.put_object(Bucket="from", Key="v/2.mp4", Body=b"clip 9")
    catalogue = write_listed(root, "s3://from/v")
    assert compute(root, catalogue)[1] == ["2.mp4"]
    assert holds(root, catalogue)
    s3.create_bucket(Bucket="onto")
    for k in range(4):
        s3.copy_object(Bucket="onto", Key=f"w/{k}.mp4", CopySource=f"from/v/{k}.mp4")
    planned, done = compute(root, write_listed(root, "s3://onto/w"))
    assert (planned.changed, done) == (0, [])


def test_a_root_moved_to_another_bucket_goes_on(s3):
    """With its own clips below it, as the demo's are."""
    for bucket in ("old-home", "new-home"):
        s3.create_bucket(Bucket=bucket)
    for k in range(3):
        s3.put_object(Bucket="old-home", Key=f"r/demo/{k}.mp4", Body=f"clip {k}".encode())
    root = Root("s3://old-home/r")
    assert len(compute(root, write_listed(root, "s3://old-home/r/demo"))[1]) == 3
    for page in s3.list_objects_v2(Bucket="old-home")["Contents"]:
        s3.copy_object(Bucket="new-home", Key=page["Key"], CopySource=f"old-home/{page['Key']}")
    moved = Root("s3://new-home/r")
    planned, done = compute(moved, write_listed(moved, "s3://new-home/r/demo"))
    assert (planned.changed, done) == (0, [])
