"""Splits from the kinds of files that they are published in."""

import json
import pickle

import pytest
from published import memento_json

from m3ray.config import ReadConfig
from m3ray.datasets.clip_checks import check_clips
from m3ray.datasets.memento10k import list_memento10k
from m3ray.datasets.published_splits import load_plain_pickle, read_splits
from m3ray.errors import SchemaError

READ = ReadConfig()


SPLIT = {"train": ["a.webm", "b.webm"], "val": ["c.webm"]}


@pytest.mark.parametrize("value", [SPLIT, {"a.webm": "train", "b.webm": "training", "c.webm": "dev"}])
def test_splits_from_pickles_of_plain_values(tmp_path, value):
    (tmp_path / "s.pkl").write_bytes(pickle.dumps(value))
    assert read_splits(str(tmp_path / "s.pkl")) == {"a.webm": "train", "b.webm": "train", "c.webm": "val"}


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
