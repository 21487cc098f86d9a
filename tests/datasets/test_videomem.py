"""VideoMem as it is published: layout in tests/published.py, rows made up."""

import pytest
from published import clips_of, videomem_csv

from m3ray.config import ReadConfig
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
