"""Parts that the readers of published data sets share: cells, videos by name, repeated rows, the summary."""

import os

import pytest
from published import clips_of, rows, write_csv

from m3ray.config import ReadConfig
from m3ray.datasets.memento10k import list_memento10k
from m3ray.datasets.published import (
    Videos,
    drop_repeats,
    is_count_column,
    locate_videos,
    parse_cell,
    parse_count,
    parse_hits,
    parse_texts,
    read_csv,
    read_objects,
    summarise_clips,
)
from m3ray.datasets.published_splits import read_splits
from m3ray.errors import SchemaError
from m3ray.schema import Clip
from m3ray.storage.root import Root

READ = ReadConfig()


@pytest.mark.parametrize(
    ("value", "expected"),
    [(None, None), (" ", None), ("NaN", None), ("n/a", None), ("0.5", 0.5), (3, 3.0), ("-1e-3", -0.001)],
)
def test_a_cell_is_a_number_or_none(value, expected):
    assert parse_cell(value, "row 1") == expected


@pytest.mark.parametrize("value", ["high", True, [1], "1,5"])
def test_a_cell_that_is_no_number_is_named(value):
    with pytest.raises(SchemaError, match=r"row 7: alpha is .*, expected a number"):
        parse_cell(value, "row 7: alpha")


@pytest.mark.parametrize(("value", "expected"), [("34", 34), ("[]", 0), ("[1 0 1]", 3), (" [0.5, 1] ", 2), ("", None)])
def test_a_count_is_a_number_or_the_length_of_a_list(value, expected):
    assert parse_count(value, "row 1") == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [("[1, 0, 1]", 2), (" [True False] ", 1), ("['1','0.0']", 1), ("34", None), ("", None), ("[]", None),
     ("[0.5, 1]", None), ("[1, late]", None)],
)  # fmt: skip
def test_hits_are_counted_where_every_response_is_listed(value, expected):
    assert parse_hits(value) == expected


@pytest.mark.parametrize(
    ("name", "expected"), [("nb_annotations", True), ("annotations_short", True), ("score", False), ("numb_", False)]
)
def test_columns_of_counts_are_told_by_their_names(name, expected):
    assert is_count_column(name) is expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [(None, ()), ([], ()), ([" a ", "b", "a"], ("a", "b")), ([["a", "b"], ["c"], ""], ("a", "b", "c"))],
)
def test_labels_are_flattened_trimmed_and_stand_once(value, expected):
    assert parse_texts(value, "row 1") == expected


@pytest.mark.parametrize("value", ["running", [1], [["a", None]], {"a": 1}])
def test_labels_that_are_no_list_of_strings_are_named(value):
    with pytest.raises(SchemaError, match=r"row 2: labels is .*, expected a list of strings"):
        parse_texts(value, "row 2: labels")


SEVEN, SPACED = "/v/00007.mp4", "/v/A b.webm"
VIDEOS = Videos("/v", {"00007.mp4": SEVEN, "00007": SEVEN, "a b.webm": SPACED, "a b": SPACED})


@pytest.mark.parametrize(
    ("name", "uri"),
    [("00007.mp4", SEVEN), ("7", SEVEN), ("A B.mkv", SPACED), ("a b", SPACED), ("8", None), ("b.webm", None)],
)
def test_videos_are_looked_up_by_name_stem_or_number(name, uri):
    assert VIDEOS.find(name) == uri


def test_missing_videos_are_named_and_looked_for_where_they_belong():
    clips, missing = locate_videos([Clip("x", "7"), Clip("y", "9"), Clip("z", "c.webm")], VIDEOS, "/w")
    assert [clip.uri for clip in clips] == ["/v/00007.mp4", "/w/9.mp4", "/w/c.webm"]
    assert missing == ("9", "c.webm")


def test_only_rows_that_repeat_another_to_the_letter_are_dropped():
    one, other = Clip("a", "a.mp4", score=0.5), Clip("a", "a.mp4", score=0.6)
    assert drop_repeats([one, other, one, Clip("b", "b.mp4")]) == ([one, other, Clip("b", "b.mp4")], 1)


def test_the_summary_counts_splits_scores_and_labels():
    scored = [Clip("a", "", "val", 0.25, ("x", "y")), Clip("b", "", "train", 0.75, ("x",))]
    clips = [*scored, Clip("c", "", "train"), Clip("d", "")]
    assert summarise_clips("set", clips, (), 2, "mem_score") == (
        "set: 4 clips (2 train, 1 val, 1 without split); score is mem_score: 2 clips, 0.250 to 0.750; 2 labels; "
        "2 repeated rows left out",
    )
    assert summarise_clips("set", clips, [str(k) for k in range(12)], 0, "s")[1] == (
        "set: 12 of 4 videos are missing: 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, ..."
    )


def test_files_that_cannot_be_read_are_named(tmp_path):
    root = Root(str(tmp_path))
    with pytest.raises(SchemaError, match=r"gone\.json cannot be read"):
        read_objects(root, "gone.json")
    root.write_bytes(b"[1]", "numbers.json")
    with pytest.raises(SchemaError, match=r"numbers\.json holds list; expected a list of objects, one a video"):
        read_objects(root, "numbers.json")
    root.write_bytes(b'\xef\xbb\xbf[{"a": 1}]', "marked.json")
    assert read_objects(root, "marked.json") == [{"a": 1}]


def test_rows_of_a_csv_file_say_where_they_stand(tmp_path):
    root, notes = Root(str(tmp_path)), []
    root.write_bytes(b"video,score\na,0.5\n\nb,\n", "t.csv")
    rows_with_places = list(read_csv(root, "t.csv", columns=["video"], notes=notes))
    assert rows_with_places == [
        ("t.csv: row 1", {"video": "a", "score": "0.5"}), ("t.csv: row 3", {"video": "b", "score": ""}),
    ]  # fmt: skip
    assert notes == ["t.csv: 1 empty rows passed over, the first is row 2"]
    with pytest.raises(SchemaError, match=r"t\.csv lacks length; it has video, score"):
        list(read_csv(root, "t.csv", columns=["length"], notes=notes))


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


def test_the_rows_of_the_fixtures_differ():
    assert rows(2)[0]["score"] != rows(2)[1]["score"]
