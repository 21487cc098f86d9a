"""What features were computed from, where their rows do not say so themselves."""

import pyarrow as pa
import pytest

from m3ray.datasets.catalogue import write_catalogue
from m3ray.datasets.known_contents import (
    NAME,
    is_worth_noting,
    keep_older_contents,
    note_contents,
    read_known_contents,
    resolve_contents,
)
from m3ray.schema import CATALOGUE_FILE, CONTENT, Clip, catalogue_table
from m3ray.storage.root import Root


@pytest.fixture
def root(tmp_path):
    return Root(str(tmp_path / "out"))


def rows(**contents):
    return pa.table({"clip_id": list(contents), CONTENT: pa.array(list(contents.values()), pa.string())})


def known_as_dict(root):
    return {row["clip_id"]: (row[CONTENT], row["first"]) for row in read_known_contents(root, {}).to_pylist()}


def write_older_catalogue(root, *clips):
    root.write_table(catalogue_table([Clip(name, f"/v/{name}.mp4") for name in clips]), CATALOGUE_FILE)


def test_a_new_root_knows_nothing(root):
    assert read_known_contents(root, {}).num_rows == 0
    keep_older_contents(root, {})
    assert not root.exists(*NAME), "and notes nothing"


def test_an_older_catalogue_tells_where_its_clips_lay(root):
    write_older_catalogue(root, "a", "b")
    assert known_as_dict(root) == {"a": ("? /v/a.mp4",) * 2, "b": ("? /v/b.mp4",) * 2}


def test_what_an_older_catalogue_tells_is_kept_when_it_is_written_over(root):
    write_older_catalogue(root, "a")
    write_catalogue(root, catalogue_table([Clip("a", "/elsewhere/a.mp4")]), 0)
    assert known_as_dict(root) == {"a": ("? /v/a.mp4",) * 2}


def test_what_is_noted_adds_to_it_and_replaces_it(root):
    note_contents(root, read_known_contents(root, {}), rows(a="3:1 /v/a", b="4:1 /v/b"))
    note_contents(root, read_known_contents(root, {}), rows(b="9:2 /v/b", c="5:1 /v/c"))
    assert known_as_dict(root) == {
        "a": ("3:1 /v/a", "3:1 /v/a"),
        "b": ("9:2 /v/b", "9:2 /v/b"),
        "c": ("5:1 /v/c", "5:1 /v/c"),
    }


def test_a_clip_that_was_touched_keeps_the_stamp_that_it_was_first_known_by(root):
    """With a hash the later stamp is seen to be the same bytes; rows may bear either of the two."""
    first, later = "3:1:sha256-x /v/a", "3:2:sha256-x /w/a"
    for stamp in (first, later):
        note_contents(root, read_known_contents(root, {}), rows(a=stamp))
    assert known_as_dict(root) == {"a": (later, first)}


def test_rows_without_a_content_get_the_known_one():
    known = pa.table({"clip_id": ["a"], CONTENT: ["3:1 /v/a"], "first": ["3:1 /v/a"]})
    assert resolve_contents(rows(a=None, b=None), known)[CONTENT].to_pylist() == ["3:1 /v/a", None]
    assert resolve_contents(rows(a=None), None)[CONTENT].to_pylist() == [None]


def test_rows_get_the_latest_stamp_of_the_same_content_and_keep_another():
    latest, first = "3:2:sha256-x /w/a", "3:1:sha256-x /v/a"
    known = pa.table({"clip_id": ["a"], CONTENT: [latest], "first": [first]})
    assert resolve_contents(rows(a="3:1 /v/a"), known)[CONTENT].to_pylist() == [latest], "the first one, without a hash"
    assert resolve_contents(rows(a="7:1 /v/a"), known)[CONTENT].to_pylist() == ["7:1 /v/a"], "other bytes"


@pytest.mark.parametrize(
    ("now", "then", "worth"),
    [
        ("3:1 /v/a", None, True),
        ("3:1 /v/a", "3:1 /v/a", False),
        ("3:2 /v/a", "3:1 /v/a", True),
        ("3:1:sha256-x /v/a", "3:1 /v/a", True),
        ("3:1 /v/a", "3:1:sha256-x /v/a", False),
        ("? /v/a", "3:1 /v/a", False),
        (None, "3:1 /v/a", False),
    ],
    ids=["the first", "the same", "touched", "a hash more", "a hash less", "gone", "no clip"],
)
def test_a_stamp_is_worth_noting_if_it_says_more_or_says_it_of_today(now, then, worth):
    stamps = [pa.chunked_array([pa.array([stamp], pa.large_string())]) for stamp in (now, then)]
    assert is_worth_noting(*stamps).tolist() == [worth]
