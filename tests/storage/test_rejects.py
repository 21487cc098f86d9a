"""The table of rejects: of every version, with the listing's own apart."""

import pyarrow as pa
import pytest

from m3ray.schema import LISTING, REJECTS
from m3ray.storage.rejects import (
    NO_CLIP_IDS,
    REJECTS_FOLDER,
    read_listing_rejects,
    read_rejected_ids,
    read_rejects,
    replace_listing_rejects,
)
from m3ray.storage.root import Root


def rejects(**stages):
    rows = [
        {"clip_id": name, "uri": f"/v/{name}", "stage": stage, "error": error, "message": "m", "content": None}
        for name, (stage, error) in stages.items()
    ]
    return pa.Table.from_pylist(rows, schema=REJECTS)


@pytest.fixture
def root(tmp_path):
    return Root(str(tmp_path))


def test_a_new_root_has_none(root):
    assert read_rejects(root).equals(REJECTS.empty_table())
    assert read_rejected_ids(root).equals(NO_CLIP_IDS)
    assert read_listing_rejects(root).equals(NO_CLIP_IDS)


def test_faults_of_the_storage_reject_no_clip_permanently(root):
    table = rejects(a=("decode", "damaged"), b=("read", "storage_failed"), c=(LISTING, "link_outside"))
    root.write_shard(table, REJECTS_FOLDER, {})
    assert read_rejected_ids(root).to_pylist() == ["a", "b", "c"]
    assert read_rejected_ids(root, permanent=True).to_pylist() == ["a", "c"]
    assert read_listing_rejects(root).to_pylist() == ["c"]


def test_an_older_table_lacks_the_content(root):
    root.write_shard(rejects(a=("decode", "damaged")).drop_columns(["content"]), REJECTS_FOLDER, {})
    table = read_rejects(root)
    assert table.column_names == REJECTS.names
    assert table["content"].to_pylist() == [None]


def test_a_listing_replaces_the_rejects_of_the_listing_before_and_no_others(root):
    root.write_shard(rejects(a=("decode", "damaged"), b=(LISTING, "link_outside")), REJECTS_FOLDER, {})
    replace_listing_rejects(root, rejects(c=(LISTING, "link_outside")))
    assert read_rejected_ids(root).to_pylist() == ["a", "c"]
    replace_listing_rejects(root, REJECTS.empty_table())
    assert read_rejected_ids(root).to_pylist() == ["a"]
