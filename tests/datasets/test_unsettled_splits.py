"""Splits that are drawn once more when near duplicates are known, also by a job that goes on after one was cut off."""

import pyarrow as pa
import pytest

from m3ray.datasets.catalogue import redraw_splits, write_catalogue
from m3ray.datasets.duplicates import DUPLICATES_FILE, DUPLICATES_SCHEMA
from m3ray.datasets.identity import video_keys
from m3ray.datasets.unsettled_splits import note_unsettled, read_settled_splits, read_unsettled, settle
from m3ray.schema import CATALOGUE_FILE, Clip, catalogue_table
from m3ray.storage.dataset_folders import UNKNOWN_ORIGIN
from m3ray.storage.root import Root


@pytest.fixture
def root(tmp_path):
    return Root(str(tmp_path))


def find(root, groups):
    rows = [(name, k, "vectors", 0.99, None) for k, group in enumerate(groups) for name in group]
    table = pa.Table.from_pylist(
        [dict(zip(DUPLICATES_SCHEMA.names, row, strict=True)) for row in rows], DUPLICATES_SCHEMA
    )
    root.write_table(table, *DUPLICATES_FILE)


def list_rows(numbers, split=None):
    return catalogue_table([Clip(f"c{k}", f"/v/{k}.mp4", split=split, score=0.5) for k in numbers])


def extract(root, rows, groups, *, cut_off=False):
    """What an extraction with --group duplicates does to splits: a job that is cut off ends before it knows them."""
    catalogue = write_catalogue(root, rows, 0, group="duplicates")
    if cut_off:
        return catalogue
    find(root, groups)
    keys = video_keys(catalogue["uri"])
    catalogue = redraw_splits(root, catalogue, rows["split"], 0, keys, UNKNOWN_ORIGIN, "duplicates")
    root.write_table(catalogue, CATALOGUE_FILE)
    settle(root)
    return catalogue


def splits_of(catalogue):
    return dict(zip(catalogue["clip_id"].to_pylist(), catalogue["split"].to_pylist(), strict=True))


PAIRS = [(f"c{k}", f"c{k + 1}") for k in range(0, 100, 2)]


def test_drawn_splits_keep_near_duplicates_on_one_side_near_80_to_20(root):
    plain = splits_of(write_catalogue(Root(root.path("plain")), list_rows(range(200)), 0))
    assert sum(plain[a] != plain[b] for a, b in PAIRS) > 5  # without groups, copies stand on both sides
    splits = splits_of(extract(root, list_rows(range(200)), PAIRS))
    assert all(splits[a] == splits[b] for a, b in PAIRS)
    assert 0.78 <= list(splits.values()).count("train") / 200 <= 0.82


def test_a_second_job_changes_nothing_and_one_that_was_cut_off_ends_as_one_that_ran_through(root):
    first = splits_of(extract(root, list_rows(range(200)), PAIRS))
    assert splits_of(extract(root, list_rows(range(200)), PAIRS)) == first
    other = Root(root.path("other"))
    extract(other, list_rows(range(200)), PAIRS, cut_off=True)
    assert len(read_unsettled(other)) == 200
    assert splits_of(extract(other, list_rows(range(200)), PAIRS)) == first
    assert len(read_unsettled(other)) == 0


def test_clips_that_once_were_train_stay_and_later_ones_join_their_near_duplicates(root):
    first = splits_of(extract(root, list_rows(range(100)), []))
    assert set(first.values()) == {"train", "val"}
    val = [name for name, split in first.items() if split == "val"]
    train = [name for name, split in first.items() if split == "train"]
    # New copies of a val clip, of a train clip, and one that shows that a val and a train clip are the same.
    groups = [(val[0], "c100"), (train[0], "c101"), (val[1], train[1], "c102")]
    later = splits_of(extract(root, list_rows(range(110)), groups))
    assert (later["c100"], later["c101"], later["c102"]) == ("val", "train", "train")
    assert {name for name, split in first.items() if later[name] != split} == {val[1]}


def test_groups_that_would_empty_val_are_drawn_anew(root):
    first = splits_of(extract(root, list_rows(range(60)), []))
    val, train = ([name for name, split in first.items() if split == which] for which in ("val", "train"))
    groups = list(zip(val, train, strict=False))  # a copy of every val clip stands in train
    splits = splits_of(extract(root, list_rows(range(60)), groups))
    assert all(splits[one] == splits[other] for one, other in groups)
    assert 8 <= list(splits.values()).count("val") <= 16
    assert splits_of(extract(root, list_rows(range(60)), groups)) == splits


def test_given_splits_stay_though_they_part_near_duplicates(root):
    rows = pa.concat_tables([list_rows([0, 2], "train"), list_rows([1], "val"), list_rows([3])])
    splits = splits_of(extract(root, rows, [("c0", "c1"), ("c2", "c3")]))
    assert splits == {"c0": "train", "c1": "val", "c2": "train", "c3": "train"}


def test_only_clips_without_an_earlier_split_are_unsettled(root):
    write_catalogue(root, list_rows(range(3)), 0)
    note_unsettled(root, list_rows(range(5)))
    assert read_unsettled(root).to_pylist() == ["c3", "c4"]
    assert read_settled_splits(root)["clip_id"].to_pylist() == ["c0", "c1", "c2"]
    settle(root)
    settle(root)
    assert len(read_unsettled(root)) == 0
