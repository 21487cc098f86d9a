"""Memento10k as it is published: layouts in tests/published.py, rows made up."""

import json

import pytest
from published import clips_of, memento_csv, memento_json, write_csv

from m3ray.config import ReadConfig
from m3ray.datasets.clip_checks import check_clips
from m3ray.datasets.memento10k import list_memento10k
from m3ray.errors import SchemaError

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
        rows_of_clip = [["7", *line] for line in lines]
        write_csv(tmp_path / "dev_set" / "dev_text_descriptions.csv", ["video_id", *head], rows_of_clip)
        (clip,) = clips_of(list_memento10k(str(tmp_path), READ).table)
        assert clip.extra["captions"] == expected


@pytest.mark.parametrize(
    ("cell", "count", "hits"),
    [("34", 34, {}), ("[1, 0]", 2, {"hits": 1}), ("['7', '12']", 2, {}), ("[]", 0, {}), ("", None, {})],
)
def test_numbers_of_annotations_are_kept_and_are_the_responses(tmp_path, cell, count, hits):
    head = ["video_id", "annotations_short_term", "nb_long", "scores_normalized_short_term", "annotator"]
    (tmp_path / "dev_set").mkdir()
    write_csv(tmp_path / "dev_set" / "dev_scores.csv", head, [["7", cell, "12", "0.5", "x"]])
    (clip,) = clips_of(list_memento10k(str(tmp_path), READ).table)
    counts = {"annotations_short_term": count, "nb_long": 12, "responses": count} | hits
    assert clip.extra == {"alpha": None, "captions": []} | counts


def test_the_authors_form_tells_no_responses(tmp_path):
    memento_json(tmp_path)
    assert not {"responses", "hits"} & set(list_memento10k(str(tmp_path), READ).table.column_names)


def test_rows_that_repeat_themselves_are_left_out_and_counted(tmp_path):
    memento_json(tmp_path)
    train = json.loads((tmp_path / "memento_train_data.json").read_text())
    (tmp_path / "memento_train_data.json").write_text(json.dumps([*train, train[0]]))
    found = list_memento10k(str(tmp_path), READ)
    assert check_clips(found.table).num_rows == 100
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
