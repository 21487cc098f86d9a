"""Splits from the kinds of files that they are published in."""

import json
import pickle

import numpy as np
import pytest
from published import memento_json

from m3ray.config import ReadConfig
from m3ray.datasets.clip_checks import check_clips
from m3ray.datasets.memento10k import list_memento10k
from m3ray.datasets.published_splits import _collect, _from_plain, load_plain_pickle, read_splits
from m3ray.errors import SchemaError

READ = ReadConfig()


SPLIT = {"train": ["a.webm", "b.webm"], "val": ["c.webm"]}


@pytest.mark.parametrize("value", [SPLIT, {"a.webm": "train", "b.webm": "training", "c.webm": "dev"}])
def test_splits_from_pickles_of_plain_values(tmp_path, value):
    (tmp_path / "s.pkl").write_bytes(pickle.dumps(value))
    assert read_splits(str(tmp_path / "s.pkl")) == {"a.webm": "train", "b.webm": "train", "c.webm": "val"}


LISTS = ["a.webm", "b.webm"], ["c.webm"]


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize(
    "value",
    [
        LISTS,
        list(LISTS),
        tuple(map(tuple, LISTS)),
        [tuple(part) for part in LISTS],
        (["a.webm", ["b.webm"]], [("c.webm",)]),
        {"train": LISTS[0], "validation": LISTS[1]},
        {"Train_list": tuple(LISTS[0]), "test-set": [], "dev": LISTS[1]},
        [("a.webm", "train"), ("b.webm", "train"), ("c.webm", "dev")],
        (("a.webm", "train"), ["b.webm", "train"], ("c.webm", "val")),
    ],
)
def test_lists_of_train_and_val_in_any_protocol(tmp_path, value, protocol):
    (tmp_path / "s.pickle").write_bytes(pickle.dumps(value, protocol=protocol))
    assert read_splits(str(tmp_path / "s.pickle")) == {"a.webm": "train", "b.webm": "train", "c.webm": "val"}


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ((["a", "b"], ["c", "d"]), {"a": "train", "b": "train", "c": "val", "d": "val"}),
        ((["a"], ["b"], ["c"]), {"a": "train", "b": "val", "c": "test"}),
        (([1, 2.0], [3]), {"1": "train", "2": "train", "3": "val"}),
        ((["a", "test_b.webm"], ["c", "train_d.webm"]), {"a": "train", "test_b.webm": "train", "c": "val",
                                                        "train_d.webm": "val"}),
        (({"a"}, frozenset({"b"})), {"a": "train", "b": "val"}),
        ((["a.mp4", "train_station"], ["b.mp4", "val_thorens"]), {"a.mp4": "train", "train_station": "train",
                                                                "b.mp4": "val", "val_thorens": "val"}),
    ],
    ids=["pairs of two", "three", "numbers", "names like splits", "sets", "texts that hold a split's word"],
)  # fmt: skip
def test_two_or_three_lists_are_train_val_and_test(value, expected):
    assert _collect(_from_plain(value, "s.pkl"), "s.pkl") == expected


def test_a_pickle_of_python_2(tmp_path):
    """As it wrote them: texts of bytes, protocol 0."""
    (tmp_path / "s.pkl").write_bytes(b"((lp0\nS'a.webm'\np1\na(lp2\nS'b.webm'\np3\natp4\n.")
    assert read_splits(str(tmp_path / "s.pkl")) == {"a.webm": "train", "b.webm": "val"}


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (["a", "b"], "holds a list of 2 entries; expected"),
        ((["a"],), "holds a tuple of 1 entries; expected .train, val. or .train, val, test."),
        ([["a"], ["b"], ["c"], ["d"]], "holds a list of 4 entries"),
        ("train", "holds a str; expected"),
        (([True], ["b"]), "a video is True; expected its name or its number"),
        (([["a", 0.5]], ["b"]), r"a video is \['a', 0.5\]; expected its name"),
        (([1.5], ["b"]), "a video is 1.5; expected"),
        ({"train": 7}, "train holds int; expected a list of videos or a split"),
        ([("a", "train"), ("b", "dev"), ("c", "later"), ("d", "val")], "c is in split 'later', none of train"),
        (([], []), "names no video; expected some in train and in val"),
        ((["a", "b"], ["b"]), "b is in train and in val: a leak"),
    ],
)
def test_other_values_are_refused_in_words(tmp_path, value, words):
    (tmp_path / "s.pkl").write_bytes(pickle.dumps(value))
    with pytest.raises(SchemaError, match=rf"s\.pkl.*{words}"):
        read_splits(str(tmp_path / "s.pkl"))


@pytest.mark.parametrize("protocol", range(6))
def test_arrays_are_refused_with_a_way_out(protocol):
    data = pickle.dumps((np.array(["a.webm"]), np.array(["b.webm"])), protocol=protocol)
    with pytest.raises(SchemaError, match=r"would run \w+ \(numpy\..*write the split as CSV") as error:
        load_plain_pickle(data, "s.pkl")
    assert "save its tolist()" in str(error.value)


def test_splits_from_text_lists(tmp_path):
    for split, names in SPLIT.items():
        (tmp_path / f"{split}_list.txt").write_text("\r\n".join(names) + "\r\n")
    assert read_splits(str(tmp_path)) == {"a.webm": "train", "b.webm": "train", "c.webm": "val"}


class _Bomb:
    def __reduce__(self):
        return (eval, ("1 + 1",))


@pytest.mark.parametrize(
    "data",
    [
        pickle.dumps(_Bomb()),
        pickle.dumps({"train": [_Bomb()]}, protocol=0),
        pickle.dumps(READ),
        b"cos\nsystem\n(S'true'\ntR.",
        b"]r\xff\xff\xff\x7f.",  # a memo index of two thousand million
        b"\x80\x04 not a pickle",
        b"",
    ],
)
def test_other_pickles_build_nothing(data):
    with pytest.raises(SchemaError, match="pickle"):
        load_plain_pickle(data, "s.pkl")


def test_leaks_name_the_video(tmp_path):
    (tmp_path / "s.csv").write_text("video,split\na.webm,train\na.webm,test\n")
    with pytest.raises(SchemaError, match=r"a\.webm is in train and in test: a leak"):
        read_splits(str(tmp_path / "s.csv"))
    memento_json(tmp_path / "m")
    train = json.loads((tmp_path / "m" / "memento_train_data.json").read_text())
    (tmp_path / "m" / "memento_val_data.json").write_text(json.dumps(train[:1]))
    with pytest.raises(SchemaError, match=r"'Video train 0\+a\.mp4'.*in train and in val: a leak"):
        check_clips(list_memento10k(str(tmp_path / "m"), READ).table)
