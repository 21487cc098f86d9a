"""Compaction: few files, each clip once, nothing lost by a crash in between."""

import itertools
import os
import pickle
from collections import Counter
from urllib import request as urlrequest

import pyarrow as pa
import pytest
from faulty_s3 import scripted_s3
from locks import QUICK
from vector_rows import FOLDER, rows

from m3ray.errors import LostLockError
from m3ray.storage import compaction
from m3ray.storage.compaction import compact, keep_rows, merge_shards, plan_merges, replace_rows, replace_shards
from m3ray.storage.fence import Fence
from m3ray.storage.lock import hold_lock
from m3ray.storage.root import Root


@pytest.fixture
def root(local):
    return local


def test_merging_keeps_rows_and_metadata(root):
    for name in "abcd":
        root.write_shard(rows(name), FOLDER, {"k": 1})
    compact(root, *FOLDER, without=pa.chunked_array([["b"]]))
    assert len(root.list_names(*FOLDER)) == 1
    assert root.read_ids(*FOLDER).to_pylist() == ["a", "c", "d"]
    assert root.read_shard_metadata(*FOLDER) == {"k": 1}


def test_large_files_are_left_and_repeats_go(root, monkeypatch):
    """Files of a good size are not read again at every job's end, unless a clip stands in two of them."""
    monkeypatch.setattr(compaction, "TARGET_BYTES", 100)
    for names in (("a", "b"), ("b", "c"), ("d",)):
        root.write_shard(rows(*names), FOLDER, {"k": 1})
    untouched = root.list_names(*FOLDER)
    compact(root, *FOLDER)
    assert sorted(root.read_ids(*FOLDER).to_pylist()) == ["a", "b", "c", "d"], "b stood twice"
    assert len(set(untouched) & set(root.list_names(*FOLDER))) == 2
    assert root.read_shard_metadata(*FOLDER) == {"k": 1}
    again = root.list_names(*FOLDER)
    compact(root, *FOLDER)
    assert root.list_names(*FOLDER) == again


def test_a_crash_while_merging_loses_and_doubles_nothing(root, monkeypatch):
    for name in "abc":
        root.write_shard(rows(name), FOLDER, {})
    monkeypatch.setattr(Root, "delete", lambda *_: (_ for _ in ()).throw(OSError("killed")))
    with pytest.raises(OSError, match="killed"):
        compact(root, *FOLDER)
    assert root.read_shards(*FOLDER)["clip_id"].to_pylist() == ["a", "b", "c"]


def test_rows_that_are_replaced_leave_no_older_ones_behind(root):
    root.write_shard(rows("a", "b"), FOLDER, {"k": 1})
    replace_rows(root, rows("b", value=9.0), FOLDER, {"k": 1})
    assert {row["clip_id"]: row["x"][0] for row in root.read_shards(*FOLDER).to_pylist()} == {"a": 1.0, "b": 9.0}
    assert sorted(root.read_ids(*FOLDER).to_pylist()) == ["a", "b"]
    replace_shards(root, rows("c"), FOLDER, {"k": 2})
    assert root.read_ids(*FOLDER).to_pylist() == ["c"]
    assert root.read_shard_metadata(*FOLDER) == {"k": 2}


def test_shards_lose_the_rows_that_a_mask_leaves_out_and_empty_ones_go(root):
    root.write_shard(rows("a", "b"), FOLDER, {"k": 1})
    root.write_shard(rows("c"), FOLDER, {"k": 1})
    masks = {name: ids.to_numpy() == "b" for name, ids in root.read_ids_by_shard(*FOLDER).items()}
    keep_rows(root, FOLDER, masks)
    assert root.read_ids(*FOLDER).to_pylist() == ["b"]
    assert len(root.list_names(*FOLDER)) == 1


def test_a_folder_without_shards_stays_so(root):
    compact(root, *FOLDER, without=pa.chunked_array([["a"]]))
    assert root.list_names(*FOLDER) == []


class KilledError(BaseException):
    """The process ends: nothing catches it."""


def fill(root, count=6):
    for k in range(count):
        root.write_shard(rows(f"{k}", value=float(k)), FOLDER, {"k": 1})


def holds_each_once(root, count=6):
    ids = sorted(root.read_ids(*FOLDER).to_pylist())
    values = [row["x"][0] for row in root.read_shards(*FOLDER).to_pylist()]
    names = sorted(map(str, range(count)))
    return ids == names and values == list(map(float, names))


def reads_each_once(root, count=6):
    """What readers see, whether or not clips stand in two files for the moment."""
    return [row["x"][0] for row in root.read_shards(*FOLDER).to_pylist()] == list(map(float, range(count)))


def plan_one(root):
    (merge,) = plan_merges(root.list_sizes(*FOLDER), root.read_ids_by_shard(*FOLDER))
    return merge


def stop_at(monkeypatch, step, error, *, after):
    """Let the `step`-th write or delete raise, before or after it is done."""
    steps = itertools.count()

    def change(real):
        def call(self, *args):
            number = next(steps)
            if number == step and not after:
                raise error
            result = real(self, *args)
            if number == step:
                raise error
            return result

        return call

    for name in ("write_bytes", "delete"):
        monkeypatch.setattr(Root, name, change(getattr(Root, name)))


# One write and six deletes, so that each step is one that a merge may be killed at.
STEPS = [(step, after) for step in range(7) for after in (False, True)]


@pytest.mark.parametrize(("step", "after"), STEPS)
def test_a_merge_that_is_killed_is_ended_by_the_next_try(root, monkeypatch, step, after):
    fill(root)
    merge = plan_one(root)
    monkeypatch.setattr(compaction, "_REQUESTS", 1)  # deletes in order, or the step is another one each time
    with monkeypatch.context() as patch:
        stop_at(patch, step, KilledError(), after=after)
        with pytest.raises(KilledError):
            merge_shards(root, FOLDER, merge)
    assert reads_each_once(root)
    merge_shards(root, FOLDER, merge)
    assert root.list_names(*FOLDER) == [merge.target]
    assert holds_each_once(root)
    assert root.read_shard_metadata(*FOLDER) == {"k": 1}


@pytest.mark.parametrize(("step", "after"), STEPS)
def test_what_a_killed_driver_left_is_compacted_by_the_next_job(root, monkeypatch, step, after):
    fill(root)
    monkeypatch.setattr(compaction, "_REQUESTS", 1)
    with monkeypatch.context() as patch:
        stop_at(patch, step, KilledError(), after=after)
        with pytest.raises(KilledError):
            compact(root, *FOLDER)
    assert reads_each_once(root)
    compact(root, *FOLDER)
    assert holds_each_once(root)


@pytest.mark.parametrize("step", [0, 1, 3])
def test_a_job_that_lost_its_lock_merges_no_further(root, monkeypatch, step):
    """Another job takes the lock before the new shard is written, after it, and between two deletes."""
    fill(root)
    monkeypatch.setattr(compaction, "_REQUESTS", 1)
    with hold_lock(root, "extract", pace=QUICK) as lock:
        fenced = Root(root.uri, lock.fence)
        steps, check = itertools.count(), Fence.check

        def lose(self):
            # A write checks twice: before it begins, and before its file takes its place.
            if next(steps) == step + (step > 0):
                self.mark_lost(None)
            check(self)

        merge = plan_one(fenced)
        with monkeypatch.context() as patch:
            patch.setattr(Fence, "check", lose)
            with pytest.raises(LostLockError):
                merge_shards(fenced, FOLDER, merge)
        left = len(root.list_names(*FOLDER))
        with pytest.raises(LostLockError):
            merge_shards(fenced, FOLDER, merge)
        assert left == len(root.list_names(*FOLDER)) == {0: 6, 1: 7, 3: 5}[step]
    assert reads_each_once(root)
    compact(root, *FOLDER)
    assert holds_each_once(root)


@pytest.mark.parametrize("refused", [("PUT", 1), ("DELETE", 1), ("DELETE", 4)], ids=str)
def test_a_fault_of_the_storage_in_between_loses_and_doubles_nothing(monkeypatch, refused):
    monkeypatch.setattr(compaction, "_REQUESTS", 1)
    counts = Counter()
    armed = []

    def choose(method, path):
        counts[method] += bool(armed) and "part-" in path
        return "403" if armed and (method, counts[method]) == refused else None

    with scripted_s3(choose):
        urlrequest.urlopen(urlrequest.Request(f"{os.environ['AWS_ENDPOINT_URL']}/merging", method="PUT"))
        root = Root(f"s3://merging/{refused[0]}-{refused[1]}")  # moto keeps what another test put
        fill(root)
        merge = plan_one(root)
        armed.append(True)
        with pytest.raises(OSError, match="ACCESS_DENIED"):
            merge_shards(root, FOLDER, merge)
        del armed[:]
        assert reads_each_once(root)
        merge_shards(root, FOLDER, merge)
        assert root.list_names(*FOLDER) == [merge.target]
        assert holds_each_once(root)


def test_a_shard_that_is_gone_unmerged_is_no_shard_that_was_merged(root):
    fill(root)
    merge = plan_one(root)
    root.delete(*FOLDER, merge.names[2])
    with pytest.raises(FileNotFoundError):
        merge_shards(root, FOLDER, merge)
    assert len(root.list_names(*FOLDER)) == 5


def test_merges_may_run_in_any_order_elsewhere_and_have_no_shard_in_common(root, monkeypatch):
    """What runs them gets functions and items that can be sent to another process."""
    fill(root, 12)
    size = max(root.list_sizes(*FOLDER).values())
    monkeypatch.setattr(compaction, "TARGET_BYTES", 4 * size)
    monkeypatch.setattr(compaction, "_SHARDS_PER_READ", 5)
    calls = []

    def run_backwards(function, items):
        calls.append(list(items))
        return [pickle.loads(pickle.dumps(function))(item) for item in reversed(pickle.loads(pickle.dumps(items)))]

    compact(root, *FOLDER, run_each=run_backwards)
    reads, merges = calls
    assert [len(names) for names in reads] == [5, 5, 2]
    assert len(merges) >= 2
    names = [name for merge in merges for name in merge.names]
    assert len(names) == len(set(names))
    assert holds_each_once(root, 12)
    assert set(root.list_names(*FOLDER)) >= {merge.target for merge in merges}


def test_a_clip_that_stands_in_two_shards_of_a_merge_is_not_lost(root):
    """A shard that holds all clips of the others is what the merge would write."""
    fill(root)
    root.write_shard(rows("0", "1", "2"), FOLDER, {"k": 1})
    root.write_shard(rows(*map(str, range(6))), FOLDER, {"k": 1})
    merge_shards(root, FOLDER, plan_one(root))
    assert sorted(root.read_ids(*FOLDER).to_pylist()) == list("012345")
