"""Windows that wait for the others of their clip: every order, repeated writers, attempts that are void."""

import itertools

import pytest

from m3ray.pipelines.extraction.window_joins import WindowJoins


def window(index, count=3, attempt=0, clip="a"):
    return {"clip_id": clip, "part": {"index": index, "count": count, "attempt": attempt}}


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_a_clip_is_complete_with_its_last_window_in_whatever_order_they_come(order):
    joins = WindowJoins()
    *first, last = [joins.add([window(index)]) for index in order]
    assert first == [[], []]
    assert last == [[window(0), window(1), window(2)]]


def test_windows_of_two_clips_in_one_batch():
    joins = WindowJoins()
    joins.add([window(0, 2), window(1, 2, clip="b")])
    assert joins.add([window(0, 2, clip="b"), window(1, 2)]) == [
        [window(0, 2, clip="b"), window(1, 2, clip="b")],
        [window(0, 2), window(1, 2)],
    ]


def test_a_writer_that_is_repeated_gets_its_clips_again_until_they_are_committed():
    joins = WindowJoins()
    joins.add([window(0, 2)])
    assert joins.add([window(1, 2)]) == joins.add([window(1, 2)]) != []
    joins.forget(["a"])
    assert joins.add([window(1, 2)]) == [], "it was committed"


def test_windows_of_an_earlier_attempt_are_void():
    joins = WindowJoins()
    joins.add([window(0, 2), window(0, 3, attempt=1)])
    assert joins.add([window(1, 2)]) == []
    assert joins.add([window(1, 3, attempt=1)]) == []
    assert joins.add([window(2, 3, attempt=1)]) == [[window(index, 3, attempt=1) for index in range(3)]]


def test_a_clip_ends_once_however_many_of_its_windows_fail():
    joins = WindowJoins()
    joins.add([window(0)])
    assert joins.close({"0.1/a": ("a", 0)}) == ["0.1/a"]
    assert joins.close({"0.2/a": ("a", 0), "0.0/b": ("b", 0)}) == ["0.0/b"]
    assert joins.close({"0.1/a": ("a", 0)}) == ["0.1/a"], "a writer that is repeated"
    assert joins.add([window(0), window(1), window(2)]) == []
    assert joins.windows == {}


def test_a_window_of_a_void_attempt_ends_nothing():
    joins = WindowJoins()
    joins.add([window(0, 2, attempt=1)])
    assert joins.close({"0.1/a": ("a", 0)}) == []
    assert joins.add([window(1, 2, attempt=1)]) == [[window(index, 2, attempt=1) for index in range(2)]]


def test_a_further_pass_begins_anew():
    joins = WindowJoins()
    joins.close({"0.1/a": ("a", 0)})
    joins.add([window(0, 2, clip="b")])
    joins.start_pass()
    assert joins.add([window(0, 1)]) == [[window(0, 1)]]
    assert joins.add([window(1, 2, clip="b")]) == []
