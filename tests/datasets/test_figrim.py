"""FIGRIM as it is published: layouts in tests/published_images.py, rows made up."""

import numpy as np
import pytest
from published import clips_of, write_csv
from published_images import FIGRIM_HEAD, figrim, figrim_entries, figrim_table, save_structs, write_images

from m3ray.config import ReadConfig
from m3ray.datasets.figrim import list_figrim
from m3ray.errors import SchemaError

READ = ReadConfig()


@pytest.mark.parametrize("compressed", [True, False])
def test_the_matlab_file(tmp_path, compressed):
    figrim(tmp_path, compressed=compressed)
    found = list_figrim(str(tmp_path), READ)
    clip = clips_of(found.table)[1]
    assert clip.clip_id == "highway/sun_bjfarengi.jpg"
    assert clip.uri == f"{tmp_path}/Targets/highway/sun_bjfarengi.jpg"
    assert (clip.split, clip.labels) == (None, ("highway",))
    assert clip.score == pytest.approx(41 / 61)
    told = {"hits": 41, "responses": 61, "false_alarms": 3, "false_alarm_responses": 60}
    assert clip.extra == told
    assert clips_of(found.table)[0].labels == ("airport terminal",)
    assert found.missing == ()
    assert "figrim: 20 clips (20 without split); score is AMT_comb's hits / (hits + misses): 20" in found.notes[0]


@pytest.mark.parametrize("given", ["f/targetData", "f/Targets", ".", "f/targetData/allImages_release.mat"])
def test_a_folder_too_low_or_too_high_or_the_file_is_found(tmp_path, given):
    figrim(tmp_path / "f")
    found = list_figrim(str(tmp_path / given), READ)
    assert (found.table.num_rows, found.missing) == (20, ())


def test_the_table_of_counts(tmp_path):
    rows = figrim_table(tmp_path)
    write_images(tmp_path / "images" / "SCENES_TARGETS", [f"{row[2]}/{row[1]}" for row in rows[:19]])
    found = list_figrim(str(tmp_path), READ)
    clip = clips_of(found.table)[2]
    assert clip.uri == f"{tmp_path}/images/SCENES_TARGETS/badlands/sun_2.jpg"
    assert clip.score == pytest.approx(52 / 82)
    assert clip.extra == {"hits": 52, "responses": 82, "false_alarms": 4, "false_alarm_responses": 80}
    assert found.missing == ("bridge/sun_19.jpg",)


def test_what_is_left_out_is_said(tmp_path):
    figrim(tmp_path, images=False)
    figrim_table(tmp_path, "within_category.csv")
    (tmp_path / "Fillers").mkdir()
    found = list_figrim(str(tmp_path), READ)
    assert "figrim: within_category.csv left out; --root FILE reads one of them" in found.notes
    assert "figrim: fillers left out: nobody saw them twice, so they have no score" in found.notes
    one = list_figrim(str(tmp_path / "within_category.csv"), READ)
    assert clips_of(one.table)[0].clip_id == "badlands/sun_0.jpg"


def test_a_matlab_file_with_hits_and_misses_alone_or_with_more(tmp_path):
    entries = figrim_entries(2)
    for entry in entries:
        entry["AMT_comb"] = {"hits": 30, "misses": 10, "rt": 0.7}
    save_structs(tmp_path / "allImages_release.mat", entries)
    found = list_figrim(str(tmp_path), READ)
    assert clips_of(found.table)[0].extra == {"hits": 30, "responses": 40}
    assert "figrim: of AMT_comb, rt left out" in found.notes


def entries_with(**values):
    def write(folder):
        entries = figrim_entries(2)
        save_structs(folder / "allImages_release.mat", [entries[0] | values, entries[1]])

    return write


def lacking_category(folder):
    entries = [{k: v for k, v in entry.items() if k != "category"} for entry in figrim_entries(2)]
    save_structs(folder / "allImages_release.mat", entries)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda folder: None, r"holds no allImages_release\.mat \(also in targetData/\), image_data_targets\.mat, acr"),
        (lacking_category, "allImages lacks category; it has filename, impath"),
        (entries_with(AMT_comb=3.0), "image 1: AMT_comb has float; expected hits and misses"),
        (entries_with(AMT_comb={"hits": 3, "rate": 0.5}), "image 1: AMT_comb has hits, rate; expected hits and misses"),
        (entries_with(AMT_comb={"hits": 3.5, "misses": 1}), "row 1: hits is 3.5, expected a whole number"),
        (entries_with(filename=""), "image 1: filename is empty"),
    ],
)
def test_bad_annotations_say_what_is_expected(tmp_path, make, words):
    make(tmp_path)
    with pytest.raises(SchemaError, match=words):
        list_figrim(str(tmp_path), READ)


def test_a_table_without_counts(tmp_path):
    write_csv(tmp_path / "across_category.csv", FIGRIM_HEAD[:3], [[1, "a.jpg", "bridge"]])
    with pytest.raises(SchemaError, match="lacks hits, misses; it has image number"):
        list_figrim(str(tmp_path), READ)


def test_the_memory_experiments_file(tmp_path):
    """Its authors' code reads it: github.com/cvzoya/memorability-distinctiveness, context_correlations.m."""
    counts = figrim_entries(3)
    one, other = (entry.pop("AMT_comb") for entry in counts[:2])
    entries = [
        {"filename": counts[0]["filename"], "category": counts[0]["category"], "amt1": one, "amt2": np.empty((0, 0))},
        {"filename": counts[1]["filename"], "category": counts[1]["category"], "amt1": other, "amt2": one},
    ]
    save_structs(tmp_path / "image_data_targets.mat", entries, name="image_data_targets")
    found = list_figrim(str(tmp_path), READ)
    scores = [each["hits"] / (each["hits"] + each["misses"]) for each in (one, other)]
    assert found.table["score"].to_pylist() == pytest.approx(scores), "amt1 has most images"
    assert "score is amt1's hits / (hits + misses): 2" in found.notes[0]
    entries[0]["amt2"] = other
    save_structs(tmp_path / "image_data_targets.mat", entries, name="image_data_targets")
    found = list_figrim(str(tmp_path), READ)
    assert found.table["score"].to_pylist() == pytest.approx(scores[::-1]), "of as many, those among all categories"
