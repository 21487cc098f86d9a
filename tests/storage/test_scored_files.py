"""Files of scores: which there are, whose clips they hold, and which a stranger made."""

import pyarrow as pa
from made_scores import scored_root, write_scores

from m3ray.datasets.catalogue import write_catalogue
from m3ray.schema import Clip, catalogue_table
from m3ray.storage.root import Root
from m3ray.storage.scored_files import ScoredFile, has_new_scores, list_scored_files, list_workspaces


def test_files_of_every_data_set_are_found(tmp_path):
    root = scored_root(tmp_path)
    write_scores(root, ["x"], "predict-0a1b", ("predict-0a1b", "predictions.parquet"))
    write_scores(root, ["x"], "predict-0a1b", ("predict-0a1b", "predictions-m3s.parquet"), provenance=None)
    root.write_bytes(b"no Parquet", "predict", "predictions.parquet")
    root.write_bytes(b"", "predictions-of-mine", "predictions.parquet")
    files = list_scored_files(root)
    assert [file.path for file in files] == [
        ("predictions.parquet",),
        ("predict-0a1b", "predictions-m3s.parquet"),
        ("predict-0a1b", "predictions.parquet"),
    ]
    assert [file.folder for file in files] == ["predict", "predict-0a1b", "predict-0a1b"]
    assert set(list_workspaces(root)) == {"predict", "predict-0a1b"}
    assert has_new_scores(root)


def test_scores_of_a_study_are_of_the_root_s_own_clips():
    own = ScoredFile(("predictions.parquet",), {"bundle": "m3s", "job": "reproduce"})
    assert (own.folder, own.of_new_clips) == ("", False)
    older = ScoredFile(("predictions.parquet",), {"bundle": "m3s"})
    assert (older.folder, older.of_new_clips) == (None, True)
    assert not ScoredFile(("predictions.parquet",), {}).of_new_clips, "nobody knows who made it"


def test_a_root_of_its_own_clips_has_no_new_scores(tmp_path):
    root = Root(str(tmp_path))
    assert not has_new_scores(root)
    write_catalogue(root.subroot("predict"), catalogue_table([Clip("a", "a.mp4")]), 0)
    root.write_table(pa.table({"clip_id": ["a"], "score": [0.5]}), "predictions.parquet")
    assert not has_new_scores(root)
