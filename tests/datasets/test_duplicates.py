"""Near duplicates as a root has them: which sides they stand on, and what is said of that."""

import numpy as np
import pyarrow as pa
import pytest

from m3ray.datasets.duplicates import (
    DUPLICATES_FILE,
    DUPLICATES_SCHEMA,
    caution_duplicates,
    describe_duplicates,
    find_sides,
    number_duplicates,
    number_sources,
    read_duplicates,
)
from m3ray.storage.root import Root


def duplicates_of(*groups):
    rows = [
        {"clip_id": name, "group": number, "kind": "vectors", "similarity": 0.99, "nearest": group[0]}
        for number, group in enumerate(groups)
        for name in group
    ]
    return pa.Table.from_pylist(rows, DUPLICATES_SCHEMA)


def clips_of(**splits):
    return pa.table({"clip_id": list(splits), "split": pa.array(splits.values(), pa.string())})


@pytest.fixture
def root(tmp_path):
    root = Root(str(tmp_path))
    root.write_table(duplicates_of("ab", "cd"), *DUPLICATES_FILE)
    return root


def test_clips_of_one_group_share_a_number_and_all_others_have_their_own():
    numbers = number_duplicates(duplicates_of("ab", "cd"), pa.chunked_array([["x", "b", "c", "y", "a"]]))
    assert numbers[1] == numbers[4]
    assert len(set(numbers.tolist())) == 4
    assert len(set(number_duplicates(DUPLICATES_SCHEMA.empty_table(), pa.chunked_array([["a", "b"]])).tolist())) == 2


def test_a_column_and_near_duplicates_are_kept_together_by_either_or_both(root):
    clips = pa.table({"clip_id": list("abcde"), "film": ["1", "2", "2", "3", "4"]})
    assert number_sources(root, clips, None) is None
    assert [len(set(number_sources(root, clips, g).tolist())) for g in ("film", "duplicates", "film,duplicates")] == [
        4,
        3,
        2,  # a~b, b and c of one film, c~d: all but e
    ]


def test_a_column_called_duplicates_comes_first(root):
    clips = pa.table({"clip_id": list("abcd"), "duplicates": ["1", "2", "1", "2"]})
    numbers = number_sources(root, clips, "duplicates")
    assert numbers[0] == numbers[2] != numbers[1] == numbers[3]


def test_sides_count_groups_clips_and_who_has_been_seen():
    sides = find_sides(
        duplicates_of("abc", "de", "fg", "hi"),
        clips_of(a="train", b="val", c="val", d="val", e="test", f="train", g="train", h=None, z="val"),
    )
    # h has no split and i is no clip of today: their group is none. d and e are divided, but nobody learned from them.
    assert (sides.clips, sides.groups, sides.largest, sides.divided) == (7, 3, 3, 2)
    assert sides.seen == {"val": 2, "test": 0}


def test_what_is_said():
    both = find_sides(duplicates_of("ab"), clips_of(a="train", b="val"))
    assert describe_duplicates(both) == (
        "duplicates: 2 clips in 1 group, the largest of 2; 1 group stands on two sides of the split: 1 val clip has "
        "one in train"
    )
    (sentence,) = caution_duplicates(both)
    assert sentence.startswith("1 val clip with a score shows all but the same as a train clip")
    assert "--group duplicates" in sentence
    one = find_sides(duplicates_of("ab"), clips_of(a="val", b="val"))
    assert describe_duplicates(one).endswith("; each on one side of the split")
    assert caution_duplicates(one) == []
    nothing = find_sides(DUPLICATES_SCHEMA.empty_table(), clips_of(a="train"))
    assert describe_duplicates(nothing) == "duplicates: none found"


def test_a_root_that_never_looked_has_none(tmp_path):
    assert read_duplicates(Root(str(tmp_path / "new"))).num_rows == 0
    assert np.array_equal(
        number_sources(Root(str(tmp_path / "new")), pa.table({"clip_id": ["a", "b"]}), "duplicates"), [0, 1]
    )
