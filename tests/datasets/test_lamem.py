"""LaMem as it is published: layout in tests/published_images.py, rows made up."""

import pytest
from published import clips_of
from published_images import lamem

from m3ray.config import ReadConfig
from m3ray.datasets.lamem import list_lamem
from m3ray.errors import SchemaError

READ = ReadConfig()


def count_splits(listing):
    return [sum(clip.split == split for clip in clips_of(listing.table)) for split in ("train", "val", "test")]


def test_the_first_of_its_five_splits_is_taken(tmp_path):
    scores = lamem(tmp_path)
    found = list_lamem(str(tmp_path), READ)
    assert count_splits(found) == [12, 4, 4]
    clips = {clip.clip_id: clip for clip in clips_of(found.table)}
    assert {name: clip.score for name, clip in clips.items()} == pytest.approx(scores)
    assert clips["00000007.jpg"].uri == f"{tmp_path}/images/00000007.jpg"
    assert found.missing == ()
    assert "lamem: 20 clips (12 train, 4 val, 4 test); score is the second column of train_1.txt" in found.notes[0]
    assert found.notes[1] == "lamem: split 1 of 5, as published; --splits takes others"


def test_others_of_them_are_taken_by_number(tmp_path):
    lamem(tmp_path, images=False)
    found = list_lamem(str(tmp_path), ReadConfig(splits="3"))
    expected = (tmp_path / "splits" / "val_3.txt").read_text().split()[::2]
    assert [clip.clip_id for clip in clips_of(found.table) if clip.split == "val"] == expected
    with pytest.raises(SchemaError, match="--splits 6: LaMem has the splits 1 to 5"):
        list_lamem(str(tmp_path), ReadConfig(splits="6"))


def test_a_file_of_splits_of_ones_own(tmp_path):
    scores = lamem(tmp_path, images=False)
    lines = [f"{name},{'val' if k % 2 else 'train'}\n" for k, name in enumerate(scores)]
    (tmp_path / "mine.csv").write_text("video,split\n" + "".join(lines))
    found = list_lamem(str(tmp_path), ReadConfig(splits=str(tmp_path / "mine.csv")))
    assert count_splits(found) == [10, 10, 0]
    assert "lamem: splits from --splits" in found.notes


@pytest.mark.parametrize("given", ["lamem/splits", "lamem/images", "."])
def test_a_folder_too_low_or_too_high_is_found(tmp_path, given):
    lamem(tmp_path / "lamem")
    found = list_lamem(str(tmp_path / given), READ)
    assert (found.table.num_rows, found.missing) == (20, ())
    if given != "lamem/splits":  # there the lists themselves are
        assert f"lamem: read from {tmp_path}/lamem/splits/train_1.txt" in found.notes


def test_absent_images_are_a_note_and_missing(tmp_path):
    lamem(tmp_path, images=False)
    found = list_lamem(str(tmp_path), READ)
    assert len(found.missing) == 20
    assert found.notes[1].startswith("lamem: 20 of 20 images are missing: ")
    assert clips_of(found.table)[0].uri.startswith(f"{tmp_path}/images/")


def changed(name, text):
    def write(folder):
        lamem(folder, images=False)
        (folder / "splits" / name).write_text(text)

    return write


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda folder: None, r"holds no splits/train_1\.txt, val_1\.txt, test_1\.txt: give the folder of LaMem"),
        (changed("val_1.txt", "00000001.jpg\n"), r"val_1\.txt: row 1 is '00000001\.jpg', expected an image and its"),
        (changed("val_1.txt", "a.jpg high\n"), r"val_1\.txt: row 1: score 'high' is not a number"),
        (changed("val_1.txt", "a.jpg 67.5\n"), r"val_1\.txt: row 1: score 67\.5 lies outside \[0, 1\]"),
        (changed("train_1.txt", "a.jpg 0.5\n"), None),
    ],
)
def test_bad_lists_name_file_and_row(tmp_path, make, words):
    make(tmp_path)
    if words is None:
        (tmp_path / "splits" / "test_1.txt").write_text("\na.jpg 0.5\n")
        words = r"a\.jpg is in train_1\.txt and in test_1\.txt: a leak"
    with pytest.raises(SchemaError, match=words) as caught:
        list_lamem(str(tmp_path), READ)
    assert "\n" not in str(caught.value)


def test_a_list_that_is_not_there(tmp_path):
    lamem(tmp_path, images=False)
    (tmp_path / "splits" / "test_1.txt").unlink()
    with pytest.raises(SchemaError, match=r"splits/test_1\.txt cannot be read"):
        list_lamem(str(tmp_path), READ)
