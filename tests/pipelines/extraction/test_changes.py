"""Planning against contents: what changed is computed again, and nothing else. Tiers are made up, no Ray runs."""

import os
import shutil

import numpy as np
import pyarrow as pa
import pytest
from digest_tier import TIERS, compute, fill, folder, holds, listed, write

from m3ray.config import ComputeConfig, MomentConfig, SimilarityConfig, TierConfigs
from m3ray.datasets.catalogue import make_catalogue, read_catalogue, with_facts, write_catalogue
from m3ray.datasets.clip_contents import stamps_of, with_contents
from m3ray.datasets.registry import list_clips
from m3ray.datasets.splits import clips_to_fit
from m3ray.features.load import load_data
from m3ray.pipelines.extraction.changes import changed_fit, note_fitted
from m3ray.pipelines.extraction.planning import plan, prepare, tidy
from m3ray.pipelines.extraction.records import work_of
from m3ray.pipelines.runtime.cluster import Resources
from m3ray.pipelines.scoring import over_time
from m3ray.pipelines.similarity.inputs import Clips
from m3ray.schema import CONTENT, Clip, catalogue_table, vector_schema
from m3ray.scoring.score_root import shared_ids
from m3ray.storage.homes import Origin
from m3ray.storage.root import Root
from m3ray.storage.tier_index import REJECTS, changed_since_fit, note_fit, remember_tiers, stamped, tier_table


@pytest.fixture
def root(tmp_path):
    return Root(str(tmp_path / "root"))


def test_two_folders_of_equal_names_do_not_share_numbers(root, tmp_path):
    """Issue 18, 1: Monday's scores stood under Tuesday's files, with exit status 0."""
    for day, seed in (("monday", 1), ("tuesday", 2)):
        fill(tmp_path / day, 5, seed, sizes=(9, 10))
        for path in (tmp_path / day).rglob("*.mp4"):
            os.utime(path, ns=(0, 10**18))
    compute(root, listed(root, tmp_path / "monday"))
    catalogue = listed(root, tmp_path / "tuesday")
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
        catalogue = with_contents(catalogue_table([Clip("clip", uri)]), root)
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
        return make_catalogue(root, catalogue_table([Clip(*clip) for clip in clips]), 0, origin=Origin(by=by))

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


def test_a_changed_clip_leaves_the_tiers_that_are_not_asked_for_too(root, tmp_path):
    fill(tmp_path / "v", 3)
    compute(root, listed(root, tmp_path / "v"))
    (tmp_path / "v" / "0" / "0000.mp4").write_bytes(b"new")
    compute(root, listed(root, tmp_path / "v"), tiers=TIERS[:1])
    assert sorted(tier_table(root, "two")["clip_id"].to_pylist()) == ["1/0001.mp4", "2/0002.mp4"]
    assert tier_table(root, "one").num_rows == 3


def test_a_plan_alone_changes_nothing(root, tmp_path):
    fill(tmp_path / "v", 3)
    compute(root, listed(root, tmp_path / "v"))
    (tmp_path / "v" / "0" / "0000.mp4").write_bytes(b"new")
    catalogue, before = listed(root, tmp_path / "v"), root.read_shards("features", folder(root, "one"))
    assert plan(root, catalogue, TIERS, TierConfigs(), retry=False).changed == 1
    assert root.read_shards("features", folder(root, "one")) == before


def test_a_job_killed_after_old_rows_went_computes_them_next_time(root, tmp_path):
    fill(tmp_path / "v", 3)
    compute(root, listed(root, tmp_path / "v"))
    (tmp_path / "v" / "0" / "0000.mp4").write_bytes(b"new")
    catalogue = listed(root, tmp_path / "v")
    prepare(plan(root, catalogue, TIERS, TierConfigs(), retry=False))
    planned, done = compute(root, catalogue)
    assert (planned.changed, done) == (0, ["0/0000.mp4"])
    assert holds(root, catalogue)


def test_roots_of_before_contents_were_kept_go_on(root, tmp_path):
    fill(tmp_path / "v", 4)
    catalogue = listed(root, tmp_path / "v")
    compute(root, catalogue)
    for tier in ("one", "two"):
        where = ("features", folder(root, tier))
        table = root.read_shards(*where).drop_columns([CONTENT])
        root.delete_folder(*where)
        root.write_shard(table, where, {})
    assert compute(root, catalogue)[1] == []
    assert compute(root, catalogue.drop_columns([CONTENT]))[1] == []
    (tmp_path / "v" / "9.mp4").write_bytes(b"added")
    assert compute(root, listed(root, tmp_path / "v"))[1] == ["9.mp4"]
    assert stamped(root, "features", folder(root, "one"))[CONTENT].null_count == 4, "old and new rows in one folder"
    assert compute(root, listed(root, tmp_path / "v"))[1] == []


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
    compute(root, listed(root, tmp_path / "v"))
    as_older(root)
    assert compute(root, listed(root, tmp_path / "v"))[1] == []
    (tmp_path / "v" / "1" / "0001.mp4").write_bytes(b"other pictures")
    catalogue = listed(root, tmp_path / "v")
    planned, done = compute(root, catalogue)
    assert (planned.changed, done) == (1, ["1/0001.mp4"])
    assert holds(root, catalogue)
    assert compute(root, listed(root, tmp_path / "v"))[1] == []


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
    compute(root, listed(root, tmp_path / "v"))
    assert compute(root, listed(root, tmp_path / "v", by="hash"))[1] == []
    file = tmp_path / "v" / "1" / "0001.mp4"
    times = file.stat().st_mtime_ns
    file.write_bytes(file.read_bytes()[::-1])
    os.utime(file, ns=(times, times))
    catalogue = listed(root, tmp_path / "v", by="hash")
    assert compute(root, catalogue)[1] == ["1/0001.mp4"]
    assert holds(root, catalogue)


@pytest.mark.parametrize("first", ["hash", "fast"])
def test_a_file_that_was_touched_and_hashed_is_known_by_its_new_time(root, tmp_path, first):
    fill(tmp_path / "v", 3)
    for by in (first, "hash"):
        compute(root, listed(root, tmp_path / "v", by=by))
    os.utime(tmp_path / "v" / "1" / "0001.mp4", ns=(0, 10**18))
    for by in ("hash", "hash", "fast"):
        assert compute(root, listed(root, tmp_path / "v", by=by))[1] == []


def test_a_link_to_the_data_set_is_the_data_set_and_one_led_elsewhere_is_not(root, tmp_path):
    fill(tmp_path / "v", 3)
    shutil.copytree(tmp_path / "v", tmp_path / "w")  # times stay
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "v")
    compute(root, listed(root, tmp_path / "v"))
    assert compute(root, listed(root, link))[1] == []
    link.unlink()
    link.symlink_to(tmp_path / "w")
    assert len(compute(root, listed(root, link))[1]) == 3


def test_a_data_set_that_is_said_to_have_moved_goes_on_wherever_it_moves(root, tmp_path):
    fill(tmp_path / "v", 3)
    compute(root, listed(root, tmp_path / "v"))

    def moved(one, other):
        shutil.move(tmp_path / one, tmp_path / other)
        before, now = f"{tmp_path}/{one}", f"{tmp_path}/{other}"
        table = list_clips(root, "folder", now, limit=None, seed=0).table
        return compute(root, write_catalogue(root, table, 0, origin=Origin((now,), {now: before})))[1]

    assert moved("v", "w") == moved("w", "x") == []
    assert compute(root, listed(root, tmp_path / "x"))[1] == [], "and it stays known"
    (tmp_path / "x" / "1" / "0001.mp4").write_bytes(b"other pictures")
    assert compute(root, listed(root, tmp_path / "x"))[1] == ["1/0001.mp4"]


def test_clips_of_one_content_wait_for_the_first_of_them(root, tmp_path):
    for name in "abc":
        (tmp_path / f"{name}.mp4").write_bytes(b"same")
    (tmp_path / "d.mp4").write_bytes(b"other")
    rows = catalogue_table([Clip(name, f"{tmp_path}/{name}.mp4") for name in "abcd"])
    catalogue = write_catalogue(root, rows, 0, origin=Origin(by="hash"))
    planned, done = compute(root, catalogue)
    assert (done, planned.twins.to_pylist(), planned.missing["one"]) == (["a", "d"], ["b", "c"], 2)
    assert "2 to compute, 0 cached, 0 rejected earlier, 2 taken from clips of the same content" in planned.lines()[0]
    assert compute(root, catalogue)[1] == []
    assert holds(root, catalogue)
    assert holds(root, catalogue, "two")


@pytest.mark.parametrize("retry", [False, True])
def test_no_clip_whose_twin_failed_is_lost_and_none_is_tried_twice(root, tmp_path, retry):
    """Three of one damaged content, two of one sound, and one damaged that is alone: as `extract.run` goes on."""
    data = {"bad1": b"", "bad2": b"", "bad3": b"", "good1": b"fine", "good2": b"fine", "alone": b""}
    for name, content in data.items():
        (tmp_path / f"{name}.mp4").write_bytes(content)
    (tmp_path / "alone.mp4").unlink()
    rows = catalogue_table([Clip(name, f"{tmp_path}/{name}.mp4") for name in data])
    catalogue = write_catalogue(root, rows, 0, origin=Origin(by="hash"))
    first = prepare(plan(root, catalogue, TIERS, TierConfigs(), retry=retry))
    assert first.work["clip_id"].to_pylist() == ["bad1", "good1", "alone"]
    write(first)
    rest = prepare(first.anew(only=first.twins))
    assert rest.work["clip_id"].to_pylist() == ["bad2", "bad3"], "just the twins of the one that failed"
    write(rest)
    tidy(first)
    features = root.ids("features", folder(root, "one")).to_pylist()
    assert sorted(features) == ["good1", "good2"]
    assert sorted(root.ids(*REJECTS).to_pylist()) == ["alone", "bad1", "bad2", "bad3"]


def test_the_same_bytes_under_another_name_are_copied_where_a_hash_tells_them(root, tmp_path):
    fill(tmp_path / "v", 6)
    compute(root, listed(root, tmp_path / "v", by="hash"))
    (tmp_path / "v" / "0" / "0000.mp4").rename(tmp_path / "v" / "moved.mp4")
    one, two = tmp_path / "v" / "1" / "0001.mp4", tmp_path / "v" / "2" / "0002.mp4"
    first, second = one.read_bytes(), two.read_bytes()
    one.write_bytes(second)
    two.write_bytes(first)
    catalogue = listed(root, tmp_path / "v", by="hash")
    planned, done = compute(root, catalogue)
    assert done == []
    assert (planned.missing["one"], planned.cached["one"], planned.changed) == (0, 3, 2)
    assert "3 taken from clips of the same content" in planned.lines()[1]
    (missing,) = set(root.ids("features", folder(root, "one")).to_pylist()) - set(catalogue["clip_id"].to_pylist())
    assert missing == "0/0000.mp4", "rows of clips that are listed no more stay"
    assert holds(root, catalogue)


@pytest.mark.parametrize("shards", [1, 2])
def test_two_clips_that_change_places_do_so_whatever_shards_they_are_in(root, tmp_path, shards):
    """A copied row's shard may get the very name of the shard that holds the other one's source."""
    for name in "ab":
        (tmp_path / f"{name}.mp4").write_bytes(name.encode())
    rows = [Clip(name, f"{tmp_path}/{name}.mp4") for name in "ab"]
    for part in [rows] if shards == 1 else [rows[:1], rows[1:]]:
        catalogue = make_catalogue(root, catalogue_table(part), 0, origin=Origin(by="hash"))
        write(prepare(plan(root, catalogue, TIERS, TierConfigs(), retry=False)))
    (tmp_path / "a.mp4").write_bytes(b"b")
    (tmp_path / "b.mp4").write_bytes(b"a")
    catalogue = make_catalogue(root, catalogue_table(rows), 0, origin=Origin(by="hash"))
    compute(root, catalogue)
    assert holds(root, catalogue)


def test_a_copied_root_with_its_clips_below_it_computes_nothing(tmp_path):
    """The demo's clips lie under the root; a copy has other times and another place."""
    root = Root(str(tmp_path / "root"))
    fill(tmp_path / "root" / "demo", 5)
    compute(root, listed(root, tmp_path / "root" / "demo"))
    shutil.copytree(tmp_path / "root", tmp_path / "copy", copy_function=shutil.copyfile)
    copy = Root(str(tmp_path / "copy"))
    planned, done = compute(copy, listed(copy, tmp_path / "copy" / "demo"))
    assert (planned.changed, done) == (0, [])
    file = tmp_path / "copy" / "demo" / "0" / "0000.mp4"
    file.write_bytes(file.read_bytes()[::-1])
    assert compute(copy, listed(copy, tmp_path / "copy" / "demo"))[1] == ["0/0000.mp4"]


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
    assert root.read_shards(*REJECTS)["clip_id"].to_pylist() == ["empty"]
    assert run()[0].rejected == 1


def test_rejects_of_an_older_version_stay_while_their_uri_does(root, tmp_path):
    old = {"clip_id": "a", "uri": "/v/a", "stage": "decode", "error": "damaged", "message": "words"}
    root.write_shard(pa.Table.from_pylist([old]), REJECTS, {})
    anything = make_catalogue(root, catalogue_table([Clip("a", "/v/a")]), 0)
    now = plan(root, anything, TIERS, TierConfigs(), retry=False).folders["facts"][1]
    remember_tiers(root, {"facts": {"folder": now}})  # what was decoded otherwise is tried again in any case
    for uri, held in (("/v/a", 1), ("/v/b", 0)):
        catalogue = make_catalogue(root, catalogue_table([Clip("a", uri)]), 0)
        assert plan(root, catalogue, TIERS, TierConfigs(), retry=False).rejected == held


def test_a_replaced_object_is_computed_again_and_a_copied_bucket_is_not(s3, tmp_path):
    s3.create_bucket(Bucket="from")
    for k in range(4):
        s3.put_object(Bucket="from", Key=f"v/{k}.mp4", Body=f"clip {k}".encode())
    root = Root(str(tmp_path / "root"))
    assert len(compute(root, listed(root, "s3://from/v"))[1]) == 4
    s3.put_object(Bucket="from", Key="v/2.mp4", Body=b"clip 9")
    catalogue = listed(root, "s3://from/v")
    assert compute(root, catalogue)[1] == ["2.mp4"]
    assert holds(root, catalogue)
    s3.create_bucket(Bucket="onto")
    for k in range(4):
        s3.copy_object(Bucket="onto", Key=f"w/{k}.mp4", CopySource=f"from/v/{k}.mp4")
    planned, done = compute(root, listed(root, "s3://onto/w"))
    assert (planned.changed, done) == (0, [])


def test_a_root_moved_to_another_bucket_goes_on(s3):
    """With its own clips below it, as the demo's are."""
    for bucket in ("old-home", "new-home"):
        s3.create_bucket(Bucket=bucket)
    for k in range(3):
        s3.put_object(Bucket="old-home", Key=f"r/demo/{k}.mp4", Body=f"clip {k}".encode())
    root = Root("s3://old-home/r")
    assert len(compute(root, listed(root, "s3://old-home/r/demo"))[1]) == 3
    for page in s3.list_objects_v2(Bucket="old-home")["Contents"]:
        s3.copy_object(Bucket="new-home", Key=page["Key"], CopySource=f"old-home/{page['Key']}")
    moved = Root("s3://new-home/r")
    planned, done = compute(moved, listed(moved, "s3://new-home/r/demo"))
    assert (planned.changed, done) == (0, [])


def test_the_user_s_own_column_of_that_name_stays(root, tmp_path):
    (tmp_path / "a.mp4").write_bytes(b"one")
    rows = catalogue_table([Clip("a", f"{tmp_path}/a.mp4", extra={"content": "a dog"})])
    table = write_catalogue(root, rows, 0)
    facts = pa.table({"clip_id": ["a"], "frames": [3], CONTENT: ["3:1 /a"]})
    table = with_facts(with_facts(table, facts), facts)
    assert table.column_names[5:] == ["content", "clip_content", "frames"]
    assert table["content"].to_pylist() == ["a dog"]
    assert stamps_of(root, table).to_pylist()[0].startswith("3:")


def test_only_clips_of_the_catalogue_are_scored(root):
    for tier, ids in (("raw", ["a", "b", "c", "d"]), ("scene", ["b", "c", "a"])):
        root.write_shard(pa.table({"clip_id": ids}), ("features", tier), {})
    assert shared_ids(root, ["raw", "scene"]).to_pylist() == ["a", "b", "c"], "a root without a catalogue"
    write_catalogue(root, catalogue_table([Clip("c", ""), Clip("a", ""), Clip("d", "")]), 0)
    assert shared_ids(root, ["raw", "scene"]).to_pylist() == ["a", "c"]


def scored(root, tmp_path, count=12):
    rows = [
        Clip(f"{k:02d}", f"{tmp_path}/v/{k % 7}/{k:04d}.mp4", "train" if k < 8 else "val", k / count, ("x",))
        for k in range(count)
    ]
    return write_catalogue(root, catalogue_table(rows), 0)


def test_what_was_fitted_on_a_changed_clip_is_fitted_and_trained_again(root, tmp_path):
    """Similarity's folder is named by the train clips' contents, a study's parts by those of all clips."""
    fill(tmp_path / "v", 12)
    config = SimilarityConfig(sources=("one",))

    def state():
        catalogue = scored(root, tmp_path)
        compute(root, catalogue)
        clips = Clips.of(root, catalogue, config)
        return clips, clips.folder(config), load_data(root, ["one", "two"]).key

    clips, where, key = state()
    root.write_shard(clips.stamped(pa.table({"clip_id": [f"{k:02d}" for k in range(12)]})), where, {})
    root.write_json({}, "artifacts", f"{where[1]}.json")
    again, where_again, key_again = state()
    assert (where_again, key_again, again.has(where)) == (where, key, True)
    (tmp_path / "v" / "4" / "0011.mp4").write_bytes(b"a val clip")
    val, where_val, key_val = state()
    assert where_val == where, "the fit does not depend on it"
    assert not val.has(where), "but its own row does"
    assert val.changed(where) == 1
    assert key_val != key
    (tmp_path / "v" / "3" / "0003.mp4").write_bytes(b"a train clip")
    _, where_train, key_train = state()
    assert where_train != where
    assert key_train not in (key, key_val)


def test_fits_of_an_older_version_keep_their_names(root, tmp_path):
    """Both names by the version before contents were kept (commit fd973d6), from this very root."""
    scored(root, tmp_path)
    for tier in ("one", "two"):
        rows = [{"clip_id": f"{k:02d}", tier: [float(k), 1.0]} for k in range(12)]
        root.write_shard(pa.Table.from_pylist(rows, schema=vector_schema(tier, 2)), ("features", f"{tier}-0"), {})
    remember_tiers(root, {tier: {"folder": f"{tier}-0", "untrained": False, "identity": {}} for tier in ("one", "two")})
    clips = Clips.of(root, read_catalogue(root), SimilarityConfig(sources=("one",)))
    assert clips.folder(clips.config)[1] == "similarity-6efec1abf6"
    assert load_data(root, ["one", "two"]).key == "f41351be5f"


def test_a_fit_knows_how_many_of_its_clips_have_changed(root):
    def clips(*contents):
        return pa.table({"clip_id": [f"{k}" for k in range(len(contents))], CONTENT: list(contents)})

    assert changed_since_fit(root, "hog_pca", clips("1:1 a")) == 0, "nothing was noted"
    note_fit(root, "hog_pca", clips("1:1 a", "2:2 b", "3:3 c"))
    assert changed_since_fit(root, "hog_pca", clips("1:1 a", "2:2 b", "3:3 c", "4:4 d")) == 0
    assert changed_since_fit(root, "hog_pca", clips("1:1 a", "2:9 b", "3:3 d")) == 2
    assert changed_since_fit(root, "hog_pca", clips("1:1 a")) == 0, "a clip that is listed no more has not changed"


def test_hog_s_fit_says_how_many_of_its_clips_changed(root, tmp_path):
    """Few train clips are all taken, in the order of ids, as before: the fit of an older root is the same."""
    fill(tmp_path / "v", 12)
    catalogue = scored(root, tmp_path)
    chosen, fitted_on = clips_to_fit(catalogue.take(list(range(11, -1, -1))), 10)
    assert (chosen["clip_id"].to_pylist(), fitted_on) == ([f"{k:02d}" for k in range(8)], "train")
    everything, fitted_on = clips_to_fit(catalogue.slice(8), 3)
    assert (everything.num_rows, fitted_on) == (3, "all")
    assert changed_fit(root, "hog_pca", "HOG's PCA", catalogue) is None
    note_fitted(root, "hog_pca", chosen)
    assert changed_fit(root, "hog_pca", "HOG's PCA", catalogue) is None
    for name in ("2/0002.mp4", "4/0011.mp4"):  # one of train, one of val
        (tmp_path / "v" / name).write_bytes(b"new")
    words = "1 of the clips that HOG's PCA was fitted on changed since"
    assert changed_fit(root, "hog_pca", "HOG's PCA", scored(root, tmp_path)) == words
    assert work_of(chosen)["tiers"].to_pylist() == [[]] * 8


def test_windows_of_a_changed_clip_are_computed_again_and_those_of_others_not_scored(root, tmp_path, monkeypatch):
    """Scores over time: rows are named by window and clip, and belong to a clip's content as its own rows do."""
    for name in ("a@b", "c"):
        (tmp_path / name).write_bytes(name.encode())
    facts = pa.table({"clip_id": ["a@b", "c"], "frames": [30, 30], "sampled": [30, 30], "native_fps": [15.0, 15.0]})
    asked, folders = [], []

    def extract(plan, *_args, **options):
        folders[:] = plan.folders.values()
        asked.append((plan.work["clip_id"].to_pylist(), options["total"]))
        for clip, content in zip(*(plan.work[name].to_pylist() for name in ("clip_id", CONTENT)), strict=True):
            rows = pa.table({"clip_id": [f"{k}@{clip}" for k in (0, 15)], CONTENT: [content] * 2})
            for where in plan.folders.values():
                plan.root.write_shard(rows, where, {})

    monkeypatch.setattr(over_time.extraction, "run", extract)

    def run(*names):
        table = with_contents(catalogue_table([Clip(name, str(tmp_path / name)) for name in names]), root)
        root.write_table(with_facts(table, facts), "catalogue.parquet")
        config = MomentConfig(window=1, step=1)
        there = over_time.compute_moments(
            root, list(TIERS), TierConfigs(), None, ComputeConfig(), config, Resources(1, 0)
        )
        return shared_ids(there, [where[1] for where in folders]).to_pylist()

    assert run("a@b", "c") == ["0@a@b", "0@c", "15@a@b", "15@c"]
    (tmp_path / "a@b").write_bytes(b"other")
    assert run("a@b", "c") == ["0@a@b", "0@c", "15@a@b", "15@c"]
    assert run("c") == ["0@c", "15@c"]
    assert asked == [(["a@b", "c"], 4), (["a@b"], 2), ([], 0)]
