"""Compaction in real Ray tasks: some are killed in the middle of a merge, one fails."""

import os
import signal

import pyarrow as pa
import pytest
from vector_rows import FOLDER, rows

from m3ray.errors import LostLockError
from m3ray.pipelines.extraction.compaction_tasks import run_in_tasks
from m3ray.storage import compaction
from m3ray.storage.compaction import compact
from m3ray.storage.root import Root

pytestmark = pytest.mark.integration
SHARDS = 12


@pytest.fixture
def root(tmp_path, monkeypatch, jobs):
    filled = Root(str(tmp_path / "root"))
    for k in range(SHARDS):
        filled.write_shard(rows(f"{k:02d}", value=float(k)), FOLDER, {"k": 1})
    # Four shards make a merge: three merges, of which each may run in a process of its own.
    monkeypatch.setattr(compaction, "TARGET_BYTES", 4 * min(filled.list_sizes(*FOLDER).values()))
    return filled


def holds_each_once(root):
    table = pa.concat_tables([root.read_table(*FOLDER, name) for name in root.list_names(*FOLDER)]).sort_by("clip_id")
    values = {row["clip_id"]: row["x"][0] for row in table.to_pylist()}
    return table.num_rows == SHARDS and values == {f"{k:02d}": float(k) for k in range(SHARDS)}


def test_a_merge_whose_process_is_killed_is_made_again(root, tmp_path):
    """Each merge is killed twice: once its new shard is there, and among its deletes."""

    def run_killed(function, items):
        def call(item):
            here = f"{tmp_path}/{os.path.basename(str(item.target))}"
            deletes, real = [], Root.delete

            def delete(self, *parts):
                deletes.append(parts)
                tries = len(os.listdir(here))
                if tries < 2 and len(deletes) > 2 * tries:
                    open(f"{here}/{tries}", "x").close()
                    os.kill(os.getpid(), signal.SIGKILL)
                real(self, *parts)

            os.makedirs(here, exist_ok=True)
            Root.delete = delete
            try:
                function(item)
            finally:
                Root.delete = real
            return os.getpid()

        is_read = not items or not hasattr(items[0], "target")
        results = list(run_in_tasks(function if is_read else call, items))
        pids.extend([] if is_read else results)
        return results

    pids = []
    compact(root, *FOLDER, run_each=run_killed)
    assert holds_each_once(root)
    assert len(root.list_names(*FOLDER)) == 3
    killed = [name for name in os.listdir(tmp_path) if name.startswith("part-")]
    assert [sorted(os.listdir(tmp_path / name)) for name in killed] == [["0", "1"]] * 3
    assert os.getpid() not in pids


def test_when_one_fails_its_error_comes_after_those_that_run_have_ended(jobs, tmp_path):
    failed = tmp_path / "failed"

    def call(k):
        import time

        if k == 1:
            failed.touch()
            raise LostLockError("taken")
        while not failed.exists():
            time.sleep(0.05)
        time.sleep(2)
        (tmp_path / f"{k}").touch()

    with pytest.raises(LostLockError) as caught:
        list(run_in_tasks(call, list(range(8))))
    assert type(caught.value) is LostLockError, "as the driver itself would have raised it"
    assert sorted(os.listdir(tmp_path)) == ["0", "failed"], "what ran has ended, and no other was begun"
