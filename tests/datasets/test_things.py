"""Memorability of THINGS as it is published: layout in tests/published_images.py, rows made up."""

import pytest
from published import clips_of, write_csv
from published_images import THINGS_HEAD, things

from m3ray.config import ReadConfig
from m3ray.datasets.things import list_things
from m3ray.errors import SchemaError

READ = ReadConfig()


def test_scores_and_concepts(tmp_path):
    things(tmp_path)
    found = list_things(str(tmp_path), READ)
    first, negative, unknown, *_, last = clips_of(found.table)
    assert first.clip_id == "aardvark/aardvark_01s.jpg"
    assert first.uri == f"{tmp_path}/object_images/aardvark/aardvark_01s.jpg"
    assert (first.score, first.extra) == (0.5, {"concept": first.clip_id.split("/")[0], "corrected": 0.5})
    assert last.score == pytest.approx(0.88)
    assert (negative.score, negative.extra["corrected"]) == (0.0, -0.05)
    assert negative.labels == ("air conditioner",)
    assert (unknown.score, unknown.extra["corrected"]) == (None, None)
    assert found.missing == ()
    assert "score is cr: 19 clips, 0.000 to 0.880; 4 labels" in found.notes[0]
    assert "things: 1 images have a negative cr: their score is 0, and corrected has it as given" in found.notes


@pytest.mark.parametrize("given", [".", "t/object_images", "t/THINGS_Memorability_Scores.csv"])
def test_a_folder_too_low_or_too_high_or_the_file_is_found(tmp_path, given):
    things(tmp_path / "t")
    found = list_things(str(tmp_path / given), READ)
    assert (found.table.num_rows, found.missing) == (20, ())


def test_images_elsewhere(tmp_path):
    things(tmp_path / "t")
    (tmp_path / "t" / "object_images").rename(tmp_path / "pictures")
    assert len(list_things(str(tmp_path / "t"), READ).missing) == 20
    found = list_things(str(tmp_path / "t"), ReadConfig(videos=str(tmp_path / "pictures")))
    assert found.missing == ()


@pytest.mark.parametrize(
    ("row", "words"),
    [
        (None, r"holds no THINGS_Memorability_Scores\.csv: give the folder of THINGS, with its memorability scores in"),
        ([1, "a.jpg", "a.jpg", 0.5], r"row 1: file_path is 'a\.jpg', expected one such as images/CONCEPT/NAME\.jpg"),
        ([1, "a.jpg", "images/a/a.jpg", 50], r"row 1: cr 50 lies outside \[-1, 1\]"),
        ([1, "a.jpg", "images/a/a.jpg", "high"], "row 1: cr is 'high', expected a number"),
    ],
)
def test_bad_annotations_name_file_and_row(tmp_path, row, words):
    if row is not None:
        write_csv(tmp_path / "THINGS_Memorability_Scores.csv", THINGS_HEAD, [row])
    with pytest.raises(SchemaError, match=words):
        list_things(str(tmp_path), READ)


def test_a_file_without_scores(tmp_path):
    write_csv(tmp_path / "THINGS_Memorability_Scores.csv", THINGS_HEAD[:3], [[1, "a.jpg", "images/a/a.jpg"]])
    with pytest.raises(SchemaError, match="lacks cr; it has image_nr"):
        list_things(str(tmp_path), READ)


def test_no_path_leads_out_of_the_folder(tmp_path):
    (tmp_path / "THINGS_Memorability_Scores.csv").write_text("file_path,cr\nimages/../a.jpg,0.5\n")
    with pytest.raises(SchemaError, match=r"things: '\.\./a\.jpg' is no path of an image below"):
        list_things(str(tmp_path), READ)
