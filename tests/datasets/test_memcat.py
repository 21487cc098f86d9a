"""MemCat as it is published: layout in tests/published_images.py, rows made up."""

import shutil

import pytest
from published import clips_of, write_csv
from published_images import MEMCAT_HEAD, memcat, write_images

from m3ray.config import ReadConfig
from m3ray.datasets.memcat import list_memcat
from m3ray.errors import SchemaError

READ = ReadConfig()


def test_scores_counts_and_categories(tmp_path):
    rows = memcat(tmp_path)
    found = list_memcat(str(tmp_path), READ)
    clip, row = clips_of(found.table)[5], rows[5]
    assert clip.clip_id == "food/apple/000000000005.jpg"
    assert clip.uri == f"{tmp_path}/MemCat_images/MemCat/food/apple/000000000005.jpg"
    assert (clip.split, clip.labels) == (None, ("food", "apple"))
    assert clip.score == pytest.approx(row[12])
    hits, alarms, viewers = row[9:12]
    told = {"hits": hits, "false_alarms": alarms, "responses": viewers, "false_alarm_responses": viewers}
    assert {name: clip.extra[name] for name in told} == told
    assert clip.extra["corrected"] == pytest.approx(row[13])
    assert clip.extra["searched_label"] == "apple, a word"
    assert clip.labels == (clip.extra["category"], clip.extra["subcategory"]), "columns too, for --group"
    assert found.missing == ()
    assert "memcat: 20 clips (20 without split); score is memorability_wo_fa_correction" in found.notes[0]


@pytest.mark.parametrize(
    "given", ["m", "m/MemCat_data", "m/MemCat_images/MemCat", ".", "m/MemCat_data/memcat_image_data.csv"]
)
def test_a_folder_too_low_or_too_high_or_the_file_is_found(tmp_path, given):
    memcat(tmp_path / "m")
    found = list_memcat(str(tmp_path / given), READ)
    assert (found.table.num_rows, found.missing) == (20, ())


def test_one_folder_with_file_and_categories(tmp_path):
    """A folder made by hand, as others' loaders have it."""
    memcat(tmp_path / "m")
    shutil.move(tmp_path / "m" / "MemCat_images" / "MemCat" / "animal", tmp_path / "flat" / "animal")
    shutil.move(tmp_path / "m" / "MemCat_data" / "memcat_image_data.csv", tmp_path / "flat" / "memcat_image_data.csv")
    found = list_memcat(str(tmp_path / "flat"), READ)
    assert len(found.missing) == 10
    found = list_memcat(str(tmp_path / "flat"), ReadConfig(videos=str(tmp_path / "m")))
    assert len(found.missing) == 10, "--videos is looked below, and nothing else"


def test_images_of_one_name_are_told_apart_by_their_folders(tmp_path):
    counts = [50, 2, 100, 0.5, 0.48]
    rows = [[k, "x.jpg", "animal", sub, 1, 1, "coco", sub, 1, *counts] for k, sub in enumerate(("bear", "cat"))]
    write_csv(tmp_path / "memcat_image_data.csv", MEMCAT_HEAD, rows)
    write_images(tmp_path, ["animal/cat/x.jpg"])
    found = list_memcat(str(tmp_path), READ)
    assert found.missing == ("animal/bear/x.jpg",)
    assert [clip.uri.split("/")[-2] for clip in clips_of(found.table)] == ["bear", "cat"]


def changed(column, value):
    def write(folder):
        rows = memcat(folder, images=False)
        rows[2][MEMCAT_HEAD.index(column)] = value
        write_csv(folder / "MemCat_data" / "memcat_image_data.csv", MEMCAT_HEAD, rows)

    return write


def without(column):
    def write(folder):
        write_csv(folder / "memcat_image_data.csv", [name for name in MEMCAT_HEAD if name != column], [[1] * 13])

    return write


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda folder: None, r"holds no memcat_image_data\.csv, nor MemCat_data/memcat_image_data\.csv: give"),
        (without("category"), r"memcat_image_data\.csv lacks category; it has image_file"),
        (changed("image_file", " "), r"row 3: image_file is empty"),
        (changed("H", "many"), r"memcat_image_data\.csv: row 3: H \(read as hits\) 'many' is not a number"),
        (changed("n_resp", -1), r"row 3: n_resp \(read as responses\) is -1, expected a whole number, 0 or more"),
        (changed("memorability_wo_fa_correction", 56.1), r"row 3: memorability_wo_fa_correction .* is 56\.1, expected"),
    ],
)
def test_bad_annotations_name_file_and_row(tmp_path, make, words):
    make(tmp_path)
    with pytest.raises(SchemaError, match=words):
        list_memcat(str(tmp_path), READ)
    with pytest.raises(SchemaError, match=r"no file at .*/none\.csv: give the folder of MemCat with --root"):
        list_memcat(str(tmp_path / "none.csv"), READ)


def test_given_splits(tmp_path):
    rows = memcat(tmp_path, images=False)
    (tmp_path / "lists").mkdir()
    (tmp_path / "lists" / "train.txt").write_text("".join(f"{row[2]}/{row[3]}/{row[1]}\n" for row in rows[:15]))
    (tmp_path / "lists" / "val.txt").write_text("".join(f"{row[1]}\n" for row in rows[15:]))
    found = list_memcat(str(tmp_path), ReadConfig(splits=str(tmp_path / "lists")))
    assert found.table["split"].to_pylist() == ["train"] * 15 + ["val"] * 5
