"""What the readers of published image data sets share."""

import pytest
from empty_files import put

from m3ray.datasets.image_sets import (
    ImageSet,
    assign_splits,
    find_annotations,
    locate_images,
    parse_image_score,
    read_memory,
)
from m3ray.errors import SchemaError
from m3ray.schema import Clip

SET = ImageSet("demo", "Demo", (("scores.csv",), ("data", "scores.csv")), frozenset({"data"}), ("pictures",), "scores")


def clips(*paths):
    return [Clip(clip_id=path, uri=path) for path in paths]


def test_the_first_of_the_files_is_taken_and_another_folder_is_said(tmp_path):
    put(tmp_path, "a/data/scores.csv", "b/scores.csv")
    found = find_annotations(str(tmp_path / "a"), SET)
    assert (found.root.uri, found.parts, found.notes) == (f"{tmp_path}/a", ("data", "scores.csv"), ())
    found = find_annotations(str(tmp_path), SET)
    assert found.notes == (f"demo: read from {tmp_path}/a/data/scores.csv",)
    found = find_annotations(f"{tmp_path}/b/scores.csv", SET)
    assert (found.root.uri, found.parts) == (f"{tmp_path}/b", ("scores.csv",))


def test_what_there_is_is_listed_in_one_line(tmp_path):
    put(tmp_path, *(f"{k:02d}.jpg" for k in range(12)))
    with pytest.raises(
        SchemaError, match=r"holds no scores: give the folder of Demo with --root; it has 00\.jpg, .*09"
    ):
        find_annotations(str(tmp_path), SET)
    with pytest.raises(SchemaError, match="it has nothing"):
        find_annotations(str(tmp_path / "none"), SET)


def test_an_image_is_found_by_the_most_of_its_path(tmp_path):
    put(tmp_path, "pictures/x/1.jpg", "small/x/1.jpg", "small/y/2.JPG", "3.jpg")
    located, missing = locate_images(
        clips("x/1.jpg", "Y/2.jpg", "z/3.jpg", "z/4.jpg"), f"{tmp_path}/pictures", [str(tmp_path)]
    )
    assert [clip.uri for clip in located] == [
        f"{tmp_path}/pictures/x/1.jpg",
        f"{tmp_path}/small/y/2.JPG",
        f"{tmp_path}/3.jpg",
        f"{tmp_path}/pictures/z/4.jpg",
    ]
    assert missing == ("z/4.jpg",)


def test_the_next_folder_is_searched_where_the_first_has_none(tmp_path):
    put(tmp_path, "up/x/1.jpg", "home/9.txt")
    located, missing = locate_images(clips("x/1.jpg"), "/e", [str(tmp_path / "home"), str(tmp_path / "up")])
    assert (located[0].uri, missing) == (f"{tmp_path}/up/x/1.jpg", ())


def test_splits_by_path_by_name_and_by_name_without_ending(tmp_path):
    (tmp_path / "s.csv").write_text("video,split\na/1.jpg,train\n2,val\nb/1.jpg,val\n")
    assigned = assign_splits(clips("a/1.jpg", "a/2.jpg", "b/1.jpg"), str(tmp_path / "s.csv"))
    assert [clip.split for clip in assigned] == ["train", "val", "val"]
    with pytest.raises(SchemaError, match=r"names no split for 1 of 1 clips, c/1\.jpg among them"):
        assign_splits(clips("c/1.jpg"), str(tmp_path / "s.csv"))
    (tmp_path / "s.csv").write_text("video,split\na/1.jpg,train\nA\\1.png,val\n")
    with pytest.raises(SchemaError, match="is in train and in val: a leak"):
        assign_splits(clips("a/1.jpg"), str(tmp_path / "s.csv"))


def test_counts_are_read_under_their_own_names():
    rows = [{"hits": "3", "misses": "1", "note": "x"}, {"hits": "", "misses": "2", "note": "y"}]
    assert read_memory(rows, ["hits", "misses"], "f.csv")[0] == [
        {"responses": 4, "hits": 3},
        {"responses": None, "hits": None},
    ]
    assert read_memory(rows, [], "f.csv") == ([{}, {}], ())
    with pytest.raises(SchemaError, match=r"f\.csv: row 2: hits"):
        read_memory([rows[0], rows[1] | {"hits": "-2"}], ["hits"], "f.csv")


def test_a_score_names_its_place():
    assert parse_image_score("0.5", "row 7") == 0.5
    assert parse_image_score("", "row 7") is None
    with pytest.raises(SchemaError, match="row 7: score 2 lies outside"):
        parse_image_score("2", "row 7")
