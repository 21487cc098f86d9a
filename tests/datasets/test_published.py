"""Memento10k and VideoMem as they are published: layouts in tests/published.py, rows made up."""

import json
import os
import pickle

import pytest
from published import clips_of, memento_csv, memento_json, rows, videomem_csv, write_csv

from m3ray.config import ReadConfig
from m3ray.datasets.catalogue import checked
from m3ray.datasets.memento10k import list_memento10k
from m3ray.datasets.published_splits import plain_pickle, read_splits
from m3ray.datasets.registry import list_clips
from m3ray.datasets.videomem import list_videomem
from m3ray.errors import SchemaError
from m3ray.storage.root import Root

READ = ReadConfig()


def test_the_authors_form(tmp_path):
    known = memento_json(tmp_path)
    (tmp_path / "videos_10k").mkdir()
    (tmp_path / "videos_10k" / "VIDEO TRAIN 3+A.MP4").write_bytes(b"")
    found = list_memento10k(str(tmp_path), READ)
    assert [sum(c.split == s for c in clips_of(found.table)) for s in ("train", "val", "test")] == [60, 30, 10]
    clip = next(c for c in clips_of(found.table) if c.clip_id == "Video train 3+a.mp4")
    row = known[clip.clip_id]
    assert clip.uri == f"{tmp_path}/videos_10k/VIDEO TRAIN 3+A.MP4", "found in another case"
    assert (clip.score, clip.labels) == (pytest.approx(row["score"]), (row["action"], "moving"))
    assert clip.extra["alpha"] == pytest.approx(row["alpha"])
    assert clip.extra["captions"][0] == f"{row['action']} in a park"
    assert len(found.missing) == 99
    assert "100 clips (60 train, 30 val, 10 test); score is mem_score" in found.notes[0]
    assert "99 of 100 videos are missing: Video train 0+a.mp4" in found.notes[1]


@pytest.mark.parametrize(("score", "shift"), [("normalized", 0.0), ("raw", -0.05)])
def test_mediaeval_s_form(tmp_path, score, shift):
    known = memento_csv(tmp_path)
    (tmp_path / "videos").mkdir()
    (tmp_path / "videos" / "00007.mp4").write_bytes(b"")
    found = list_memento10k(str(tmp_path), ReadConfig(score=score))
    assert [sum(c.split == s for c in clips_of(found.table)) for s in ("train", "val")] == [80, 40]
    clip = clips_of(found.table)[7]
    assert clip.uri == f"{tmp_path}/videos/00007.mp4", "an id finds its zero-padded file"
    assert clip.labels == ("diving",)
    assert clip.score == pytest.approx(known["7"]["score"] + shift, abs=1e-9)
    assert clip.extra["captions"] == [f"diving, number {n}" for n in range(5)]
    assert clip.extra["annotations_short_term"] == 90
    assert clips_of(found.table)[4].labels == ("playing music",), "+ stands for a space"
    assert f"scores_{score}_short_term" in found.notes[0]


def test_captions_come_in_the_order_of_their_numbers(tmp_path):
    (tmp_path / "dev_set").mkdir()
    write_csv(tmp_path / "dev_set" / "dev_scores.csv", ["video_id", "scores_normalized_short_term"], [["7", "0.5"]])
    for head, lines, expected in (
        (["description_10", "Description_2", "description_0"], [["ten", "two", "nought"]], ["nought", "two", "ten"]),
        (["caption_1", "caption_0"], [["one", ""]], ["one"]),
        (["description"], [["a row"], ["a caption, with a comma"]], ["a row", "a caption, with a comma"]),
        (["described_by"], [["nobody"]], []),
    ):
        lines = [["7", *line] for line in lines]
        write_csv(tmp_path / "dev_set" / "dev_text_descriptions.csv", ["video_id", *head], lines)
        (clip,) = clips_of(list_memento10k(str(tmp_path), READ).table)
        assert clip.extra["captions"] == expected


@pytest.mark.parametrize(("cell", "count"), [("34", 34), ("[1, 0]", 2), ("", None)])
def test_numbers_of_annotations_are_kept(tmp_path, cell, count):
    head = ["video_id", "annotations_short_term", "nb_long", "scores_normalized_short_term", "annotator"]
    (tmp_path / "dev_set").mkdir()
    write_csv(tmp_path / "dev_set" / "dev_scores.csv", head, [["7", cell, "12", "0.5", "x"]])
    (clip,) = clips_of(list_memento10k(str(tmp_path), READ).table)
    assert clip.extra == {"alpha": None, "captions": [], "annotations_short_term": count, "nb_long": 12}


def test_published_tables_are_text_too(tmp_path):
    """Rows that end in a comma, and a header that does not: pandas took the first column for an index."""
    (tmp_path / "dev_set").mkdir()
    path = tmp_path / "dev_set" / "dev_scores.csv"
    path.write_text("video_id,scores_normalized_short_term\n007,0.5,\n008,0.6,\n")
    clips = clips_of(list_memento10k(str(tmp_path), READ).table)
    assert [(clip.clip_id, clip.score) for clip in clips] == [("007", 0.5), ("008", 0.6)]
    path.write_text("video_id,scores_normalized_short_term\n007,0.5,0.6\n")
    with pytest.raises(SchemaError, match=r"dev_scores\.csv: row 1 \(line 2\) has 3 cells, the header has 2"):
        list_memento10k(str(tmp_path), READ)
    (tmp_path / "s.csv").write_text("video,split\n007,train,\n010,dev,\n")
    assert read_splits(str(tmp_path / "s.csv")) == {"007": "train", "010": "val"}


def test_rows_of_published_files_are_counted_as_they_stand(tmp_path):
    head = "video,short-term_memorability\n"
    (tmp_path / "ground-truth.csv").write_text(f"{head}a.webm,0.5\n\n,\nb.webm,0.6\n")
    found = list_videomem(str(tmp_path), READ)
    assert found.table["clip_id"].to_pylist() == ["a.webm", "b.webm"]
    assert found.notes[-1] == "ground-truth.csv: 2 empty rows passed over, the first is row 2"
    (tmp_path / "ground-truth.csv").write_text(f"{head}a.webm,0.5\n\nb.webm,7\n")
    with pytest.raises(SchemaError, match=r"ground-truth\.csv: row 3: score 7 lies outside .*short-term_memorability"):
        list_videomem(str(tmp_path), READ)


@pytest.mark.parametrize("dataset", ["memento10k", "videomem"])
def test_headers_alone_are_no_data_set(tmp_path, dataset):
    memento_csv(tmp_path, 0, 0)
    videomem_csv(tmp_path, 0)
    with pytest.raises(SchemaError, match="holds no clip"):
        list_clips(Root(str(tmp_path)), dataset, str(tmp_path), limit=None, seed=0)


def test_videos_are_found_below_links_and_beside_names_that_are_no_text(tmp_path):
    (tmp_path / "store" / "deep").mkdir(parents=True)
    (tmp_path / "store" / "deep" / "7.mp4").write_bytes(b"")
    (tmp_path / "store" / "up").symlink_to(tmp_path / "store")
    (tmp_path / "data" / "dev_set").mkdir(parents=True)
    (tmp_path / "data" / "videos").symlink_to(tmp_path / "store")
    with open(os.fsencode(tmp_path) + b"/store/caf\xe9.mp4", "wb"):
        pass
    write_csv(
        tmp_path / "data" / "dev_set" / "dev_scores.csv", ["video_id", "scores_normalized_short_term"], [["7", "0.5"]]
    )
    found = list_memento10k(str(tmp_path / "data"), READ)
    assert found.table["uri"].to_pylist() == [f"{tmp_path}/data/videos/deep/7.mp4"]
    assert found.missing == ()


@pytest.mark.parametrize("target", ["short", "long"])
def test_videomem(tmp_path, target):
    known = videomem_csv(tmp_path)
    (tmp_path / "clips").mkdir()
    (tmp_path / "clips" / "video5.webm").write_bytes(b"")
    (tmp_path / "split.csv").write_text(
        "video,split\n" + "".join(f"{v},{'dev' if '5' in v else 'train'}\n" for v in known)
    )
    for source in (tmp_path, tmp_path / "ground-truth_dev-set.csv"):
        found = list_videomem(str(source), ReadConfig(target=target, splits=str(tmp_path / "split.csv")))
        clip = clips_of(found.table)[5]
        expected = known[clip.clip_id]["score"] - (0.1 if target == "long" else 0)
        assert (clip.clip_id, clip.split, clip.score) == ("video5.webm", "val", pytest.approx(expected))
        assert clip.uri == f"{tmp_path}/clips/video5.webm"
        assert clip.extra["nb_short-term_annotations"] == 34
        assert f"{target}-term_memorability" in found.notes[0]


def test_videomem_without_a_split_file_is_drawn_later(tmp_path):
    videomem_csv(tmp_path)
    assert {clip.split for clip in clips_of(list_videomem(str(tmp_path), READ).table)} == {None}


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
        plain_pickle(data, "s.pkl")


def test_leaks_name_the_video(tmp_path):
    (tmp_path / "s.csv").write_text("video,split\na.webm,train\na.webm,test\n")
    with pytest.raises(SchemaError, match=r"a\.webm is in train and in test: a leak"):
        read_splits(str(tmp_path / "s.csv"))
    memento_json(tmp_path / "m")
    train = json.loads((tmp_path / "m" / "memento_train_data.json").read_text())
    (tmp_path / "m" / "memento_val_data.json").write_text(json.dumps(train[:1]))
    with pytest.raises(SchemaError, match=r"'Video train 0\+a\.mp4'.*in train and in val: a leak"):
        checked(list_memento10k(str(tmp_path / "m"), READ).table)


def test_rows_that_repeat_themselves_are_left_out_and_counted(tmp_path):
    memento_json(tmp_path)
    train = json.loads((tmp_path / "memento_train_data.json").read_text())
    (tmp_path / "memento_train_data.json").write_text(json.dumps([*train, train[0]]))
    found = list_memento10k(str(tmp_path), READ)
    assert checked(found.table).num_rows == 100
    assert "1 repeated rows left out" in found.notes[0]


def damaged(change):
    def write(folder):
        memento_json(folder)
        entries = json.loads((folder / "memento_train_data.json").read_text())
        (folder / "memento_train_data.json").write_text(json.dumps(change(entries)))

    return write


def changed(**values):
    return damaged(lambda entries: [entries[0] | values, *entries[1:]])


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda folder: None, "holds neither memento_train_data.json"),
        (lambda folder: (folder / "memento_train_data.json").write_text("{"), "is not JSON"),
        (damaged(lambda entries: {"a": entries}), "holds dict; expected a list of objects"),
        (damaged(lambda entries: [{"filename": "a.mp4"}]), "row 1 lacks mem_score"),
        (changed(mem_score="high"), "row 1: score is 'high', expected a number"),
        (changed(mem_score=80.5), r"row 1: score 80.5 lies outside \[0, 1\]"),
        (changed(action_labels="running"), "action_labels is 'running', expected a list"),
        (changed(alpha=[1]), "alpha is \\[1\\], expected a number"),
        (changed(filename=" "), "filename is empty"),
    ],
)
def test_bad_annotations_name_file_and_row(tmp_path, make, words):
    make(tmp_path)
    with pytest.raises(SchemaError, match=words):
        list_memento10k(str(tmp_path), READ)


def test_scores_of_the_test_split_may_be_held_back(tmp_path):
    (tmp_path / "memento_test_data.json").write_text(json.dumps([{"filename": "a.mp4"}]))
    (clip,) = clips_of(list_memento10k(str(tmp_path), READ).table)
    assert (clip.split, clip.score) == ("test", None)


@pytest.mark.parametrize("dataset", ["memento10k-json", "memento10k-csv", "videomem"])
def test_ten_thousand_rows_are_read_whole(tmp_path, dataset):
    """How long that takes is told by benchmarks/listing.py."""
    if dataset == "memento10k-json":
        memento_json(tmp_path, (("train", 7000), ("val", 1500), ("test", 1500)))
    elif dataset == "memento10k-csv":
        memento_csv(tmp_path, 8500, 1500)
    else:
        videomem_csv(tmp_path, 10_000)
    found = list_clips(Root(str(tmp_path)), dataset.split("-")[0], str(tmp_path), limit=None, seed=0)
    assert found.table.num_rows == 10_000
    assert found.table["score"].null_count == 0


def test_numbers_as_text_and_bad_csv(tmp_path):
    (tmp_path / "dev_set").mkdir()
    head = ["video_id", "scores_normalized_short_term", "decay_alpha"]
    write_csv(tmp_path / "dev_set" / "dev_scores.csv", head, [["7", "0.5", ""]])
    (clip,) = clips_of(list_memento10k(str(tmp_path), READ).table)
    assert (clip.clip_id, clip.score, clip.extra["alpha"]) == ("7", 0.5, None)
    write_csv(tmp_path / "dev_set" / "dev_scores.csv", head, [["7", "high", ""]])
    with pytest.raises(SchemaError, match=r"dev_scores\.csv: row 1: score is 'high'"):
        list_memento10k(str(tmp_path), READ)
    write_csv(tmp_path / "dev_set" / "dev_scores.csv", head[:1], [["7"]])
    with pytest.raises(SchemaError, match="lacks scores_normalized_short_term; it has video_id"):
        list_memento10k(str(tmp_path), READ)


def test_the_rows_of_the_fixtures_differ():
    assert rows(2)[0]["score"] != rows(2)[1]["score"]


def test_a_limit_speaks_of_its_own_clips_alone(tmp_path):
    """Of ten videos the last eight are missing: the first two are all there."""
    videomem_csv(tmp_path, 10)
    names = list_clips(Root(str(tmp_path)), "videomem", str(tmp_path), limit=None, seed=0).table["clip_id"].to_pylist()
    for name in names[:2]:
        (tmp_path / name).write_bytes(b"x")
    whole = list_clips(Root(str(tmp_path)), "videomem", str(tmp_path), limit=None, seed=0)
    assert whole.missing == tuple(names[2:])
    assert list_clips(Root(str(tmp_path)), "videomem", str(tmp_path), limit=2, seed=0).missing == ()
    assert list_clips(Root(str(tmp_path)), "videomem", str(tmp_path), limit=4, seed=0).missing == tuple(names[2:4])
