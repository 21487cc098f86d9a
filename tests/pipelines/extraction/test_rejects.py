"""Rejects: permanent ones are counted apart from those that only the storage failed."""

import pyarrow as pa
import pytest

from m3ray.console import LineKeeper
from m3ray.errors import M3RayError
from m3ray.pipelines.extraction.rejects import (
    check_rejects,
    format_reasons,
    report_rejects,
    select_accepted_ids,
    split_rejects,
)
from m3ray.storage.root import Root


def test_rejects_of_clips_are_counted_apart_from_what_waits(tmp_path):
    root = Root(str(tmp_path))
    texts = [("a", "damaged"), ("b", "damaged"), ("c", "storage_failed"), ("d", "not_a_video"), ("other", "damaged")]
    rows = [{"clip_id": n, "uri": n, "stage": "read", "error": e, "message": f"{e} of {n}"} for n, e in texts]
    root.write_shard(pa.Table.from_pylist(rows), ("rejects",), {})
    permanent, transient = split_rejects(root, pa.chunked_array([["a", "b", "c", "d", "e"]]))
    assert permanent["clip_id"].to_pylist() == ["a", "b", "d"]
    assert transient["clip_id"].to_pylist() == ["c"]
    with LineKeeper() as log:
        report_rejects(permanent, transient)
    text = "\n".join(log.lines)
    assert "rejects: 3 clips, most frequent reasons:" in text
    assert "storage: 1 clips could not be read; the next run tries them again by itself:" in text
    check_rejects(root, 3, 3, permanent)
    words = r"3 clips are rejected, more than the 2 of --max-rejects \(2 read: damaged"
    with pytest.raises(M3RayError, match=words) as error:
        check_rejects(root, 3, 2, permanent)
    assert error.value.exit_status == 1


def test_a_root_without_rejects_has_none_of_either_kind(tmp_path):
    permanent, transient = split_rejects(Root(str(tmp_path)), pa.chunked_array([["a"]]))
    assert (permanent.num_rows, transient.num_rows) == (0, 0)
    ids = pa.chunked_array([["a", "b"]])
    assert select_accepted_ids(ids, permanent, transient).to_pylist() == ["a", "b"]
    check_rejects(Root(str(tmp_path)), 0, 0)


def test_accepted_are_those_in_no_table():
    ids = pa.chunked_array([["a", "b"], ["c"]])
    tables = [pa.table({"clip_id": ["b"]}), pa.table({"clip_id": ["c", "x"]})]
    assert select_accepted_ids(ids, *tables).to_pylist() == ["a"]


def test_reasons_are_at_most_eight_the_most_frequent_first_and_cut():
    rows = [
        {"clip_id": f"{kind}-{k}", "stage": "read", "error": f"e{kind}", "message": "m" * 200}
        for kind in range(10)
        for k in range(kind + 1)
    ]
    lines = format_reasons(pa.Table.from_pylist(rows))
    assert len(lines) == 8
    assert lines[0] == f"{10:>6}  read: e9  e.g. '9-0': {'m' * 160}"
    assert [line.split()[0] for line in lines] == ["10", "9", "8", "7", "6", "5", "4", "3"]
