"""The splits that a root gave stay those of clips that come back."""

import pytest

from m3ray.datasets.catalogue import write_catalogue
from m3ray.datasets.given_splits import NAME, keep_absent_splits, read_given_splits
from m3ray.schema import CATALOGUE_FILE, Clip, catalogue_table
from m3ray.storage.root import Root


def clips(**splits):
    return catalogue_table([Clip(name, f"/v/{name}.mp4", split=split) for name, split in splits.items()])


def given(root):
    return {row["clip_id"]: row["split"] for row in read_given_splits(root).to_pylist()}


def test_a_new_root_has_given_no_split(tmp_path):
    root = Root(str(tmp_path))
    assert read_given_splits(root) is None
    keep_absent_splits(root, clips(a="train"))
    assert not root.exists(*NAME)


def test_splits_are_kept_aside_where_a_new_catalogue_lacks_a_clip(tmp_path):
    root = Root(str(tmp_path))
    root.write_table(clips(a="train", b="val"), CATALOGUE_FILE)
    keep_absent_splits(root, clips(a="train", b="val", c="test"))
    assert not root.exists(*NAME), "it lacks none"
    keep_absent_splits(root, clips(b="val"))
    root.write_table(clips(b="val"), CATALOGUE_FILE)
    assert given(root) == {"a": "train", "b": "val"}


def test_the_catalogue_comes_before_what_was_kept_aside(tmp_path):
    root = Root(str(tmp_path))
    root.write_table(clips(a="train", b="val").select(["clip_id", "uri", "split"]), *NAME)
    assert given(root) == {"a": "train", "b": "val"}
    root.write_table(clips(a="test"), CATALOGUE_FILE)
    assert given(root) == {"a": "test", "b": "val"}


def test_a_limit_takes_no_split_from_the_clips_that_it_leaves_out(tmp_path):
    """Splits that a root gave, whichever way, stay: of those of an older draw, 16 of 60 moved."""
    root = Root(str(tmp_path / "root"))
    given = {f"c{k:02}": "val" if k % 3 == 0 else "train" for k in range(60)}  # no draw of ours

    def splits(count, *, told):
        rows = [Clip(name, f"/v/{name}.mp4", split=given[name] if told else None) for name in list(given)[:count]]
        table = write_catalogue(root, catalogue_table(rows), 0)
        return dict(zip(table["clip_id"].to_pylist(), table["split"].to_pylist(), strict=True))

    assert splits(60, told=True) == given
    assert splits(10, told=False) == dict(list(given.items())[:10])
    assert splits(3, told=False) == dict(list(given.items())[:3])
    assert splits(60, told=False) == given


def test_a_kill_while_clips_return_takes_no_split_from_them(tmp_path, monkeypatch):
    """Between the writes of what is kept aside and of the catalogue."""
    root = Root(str(tmp_path / "root"))
    rows = [Clip(f"c{k}", f"/v/c{k}.mp4", split="test") for k in range(6)]
    bare = [Clip(f"c{k}", f"/v/c{k}.mp4") for k in range(6)]
    write_catalogue(root, catalogue_table(rows), 0)
    write_catalogue(root, catalogue_table(bare[:2]), 0)
    write = Root.write_table

    def writing(self, table, *parts):
        if parts == ("catalogue.parquet",):
            raise KeyboardInterrupt
        return write(self, table, *parts)

    monkeypatch.setattr(Root, "write_table", writing)
    with pytest.raises(KeyboardInterrupt):
        write_catalogue(root, catalogue_table(bare), 0)
    monkeypatch.undo()
    assert write_catalogue(root, catalogue_table(bare), 0)["split"].to_pylist() == ["test"] * 6
