"""VideoMem as it is published: layout in tests/published.py, rows made up."""

import pickle

import pytest
from published import clips_of, videomem_csv

from m3ray.config import ReadConfig
from m3ray.datasets.captions import read_captions
from m3ray.datasets.videomem import list_videomem
from m3ray.errors import SchemaError

READ = ReadConfig()


def test_rows_of_published_files_are_counted_as_they_stand(tmp_path):
    head = "video,short-term_memorability\n"
    (tmp_path / "ground-truth.csv").write_text(f"{head}a.webm,0.5\n\n,\nb.webm,0.6\n")
    found = list_videomem(str(tmp_path), READ)
    assert found.table["clip_id"].to_pylist() == ["a.webm", "b.webm"]
    assert found.notes[-1] == "ground-truth.csv: 2 empty rows passed over, the first is row 2"
    (tmp_path / "ground-truth.csv").write_text(f"{head}a.webm,0.5\n\nb.webm,7\n")
    with pytest.raises(SchemaError, match=r"ground-truth\.csv: row 3: score 7 lies outside .*short-term_memorability"):
        list_videomem(str(tmp_path), READ)


def test_captions_stand_beside_the_ground_truth(tmp_path):
    """A line a video, its words with hyphens between, as MediaEval's file has them; a video may have none."""
    videomem_csv(tmp_path, count=3)
    captions = "video0.webm\tblonde-woman-laughs\nvideo2.webm the-sea at-night\n\nvideo9.webm\tnobody\n"
    (tmp_path / "dev-set_video-captions.txt").write_text(captions)
    table = list_videomem(str(tmp_path), READ).table
    assert read_captions(table) == [("blonde woman laughs",), (), ("the sea at night",)]
    (tmp_path / "dev-set_video-captions.txt").unlink()
    assert "captions" not in list_videomem(str(tmp_path), READ).table.column_names


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
        assert clip.extra["responses"] == {"short": 34, "long": 12}[target], "those behind the chosen score"
        assert f"{target}-term_memorability" in found.notes[0]


@pytest.mark.parametrize("target", ["score", "hit_rate", "d_prime", "alpha"])
def test_other_targets_leave_the_score_the_short_term_one(tmp_path, target):
    videomem_csv(tmp_path)
    assert list_videomem(str(tmp_path), ReadConfig(target=target)).table == list_videomem(str(tmp_path), READ).table


def test_a_ground_truth_without_counts_tells_no_responses(tmp_path):
    (tmp_path / "ground-truth.csv").write_text("video,short-term_memorability\na.webm,0.5\n")
    assert "responses" not in list_videomem(str(tmp_path), READ).table.column_names


def test_the_authors_own_split_is_a_pickle_of_a_pair_of_lists(tmp_path):
    """train_test_split_videomem.pkl beside the ground truth: (train, val), names as VideoMem has them."""
    known = list(videomem_csv(tmp_path))
    (tmp_path / "train_test_split_videomem.pkl").write_bytes(pickle.dumps((known[:80], known[80:])))
    read = ReadConfig(splits=str(tmp_path / "train_test_split_videomem.pkl"))
    splits = list_videomem(str(tmp_path), read).table["split"].to_pylist()
    assert splits == ["train"] * 80 + ["val"] * 20


@pytest.mark.parametrize(
    "spell",
    [
        lambda name: name,
        lambda name: name.replace(".webm", ".mp4"),
        lambda name: name.removesuffix(".webm"),
        lambda name: int(name.removeprefix("video").removesuffix(".webm")),
        lambda name: f"resized/{name.upper()}",
        lambda name: (name,),
        lambda name: name.encode(),
    ],
    ids=["name", "other ending", "no ending", "number", "path", "row", "bytes"],
)
def test_videos_are_named_in_any_way_that_leaves_no_doubt(tmp_path, spell):
    known = list(videomem_csv(tmp_path, 12))
    (tmp_path / "s.pkl").write_bytes(pickle.dumps([[spell(name) for name in part] for part in (known[:9], known[9:])]))
    splits = list_videomem(str(tmp_path), ReadConfig(splits=str(tmp_path / "s.pkl"))).table["split"].to_pylist()
    assert splits == ["train"] * 9 + ["val"] * 3


def test_a_video_under_two_names_in_two_splits_is_a_leak(tmp_path):
    videomem_csv(tmp_path, 2)
    (tmp_path / "s.pkl").write_bytes(pickle.dumps((["video0.webm", "video1.webm"], ["video1.mp4"])))
    with pytest.raises(SchemaError, match=r"video1\.mp4 is in train and in val: a leak"):
        list_videomem(str(tmp_path), ReadConfig(splits=str(tmp_path / "s.pkl")))


def test_videomem_without_a_split_file_is_drawn_later(tmp_path):
    videomem_csv(tmp_path)
    assert {clip.split for clip in clips_of(list_videomem(str(tmp_path), READ).table)} == {None}
