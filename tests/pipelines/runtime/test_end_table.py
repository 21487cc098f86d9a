"""The table at a job's end: clips, seconds, places."""

import pyarrow as pa

from m3ray.pipelines.runtime.end_table import count_reasons, list_places, make_end_table
from m3ray.schema import REJECTS
from m3ray.storage.rejects import REJECTS_FOLDER
from m3ray.storage.root import Root


def write_rejects(root, *reasons):
    rows = [
        dict.fromkeys(REJECTS.names) | {"clip_id": str(k), "uri": str(k), "stage": stage, "error": error}
        for k, (stage, error) in enumerate(reasons)
    ]
    table = pa.Table.from_pylist(rows).select(["clip_id", "uri", "stage", "error"])
    root.write_shard(table, REJECTS_FOLDER, {})


def test_the_table_of_a_study():
    summary = {
        "clips": 24, "rejected": 1, "clips_done": 23, "clips_rejected": 1, "seconds": {"extract": 48.0, "study": 600.0},
        "stage_seconds": {"decode": 25.0, "raw": 75.0},
    }  # fmt: skip
    table = make_end_table(
        "reproduce", summary, 660.0, places=[("because", "1 decode: X (r/rejects)"), ("model", "r/models")], stage="",
        log="r/runs/1/log.txt",
    )  # fmt: skip
    assert table == [
        "reproduce: summary:",
        "  clips    24: 23 with features, 1 rejected",
        "  extract  48 s: 24 clips, 0.50 a second; raw 75 %, decode 25 % of the work",
        "  study    10 min",
        "  in all   11 min",
        "  because  1 decode: X (r/rejects)",
        "  model    r/models",
        "  log      r/runs/1/log.txt (every line, with tables, warnings and what workers printed)",
    ]


def test_the_table_of_a_job_that_was_cut_short_before_a_clip():
    assert make_end_table("train", {}, 3.0, places=[], stage="study", log=None) == [
        "train: summary:",
        "  in all    3 s",
        "  ended in  study",
    ]


def test_an_extraction_with_all_clips_cached_has_no_pace():
    table = make_end_table("extract", {"clips": 2, "seconds": {"extract": 0.1}}, 1.0, places=[], stage="", log=None)
    assert table[1:3] == ["  clips    2: 2 with features, 0 rejected", "  extract  0 s"]


def test_the_places_are_those_that_the_job_makes_and_that_are_there(tmp_path):
    for name in ("features", "models", "study", "runs"):
        (tmp_path / name).mkdir()
    root = Root(str(tmp_path))
    assert list_places("train", root) == [("tables", f"{tmp_path}/study"), ("model", f"{tmp_path}/models")]
    assert list_places("evaluate", root) == []
    assert list_places("a job of another name", root) == []


def test_reasons_are_counted_and_the_most_frequent_are_told(tmp_path):
    root = Root(str(tmp_path))
    assert count_reasons(root) == []
    write_rejects(root, ("decode", "A"), ("decode", "B"), ("list", "A"), ("decode", "B"), ("raw", "C"), ("list", "A"))
    text = f"2 decode: B; 2 list: A; 1 decode: A ({tmp_path}/rejects)"
    assert count_reasons(root) == [("because", text)]


def test_rejects_that_cannot_be_read_fail_no_job(tmp_path):
    (tmp_path / "rejects").mkdir()
    (tmp_path / "rejects" / "part-0.parquet").write_bytes(b"not Parquet")
    assert count_reasons(Root(str(tmp_path))) == []
