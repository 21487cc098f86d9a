"""Scores over time: which windows of which clips are computed, and which curve they make. Tiers are made up, no Ray."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from digest_tier import TIERS, digest_of, pack

from m3ray.config import SlidingWindowConfig, TierConfigs
from m3ray.config.options import WorkOptions
from m3ray.datasets.catalogue import add_video_metadata
from m3ray.datasets.clip_contents import add_contents
from m3ray.errors import DecodeError
from m3ray.pipelines.extraction import dataflow
from m3ray.pipelines.extraction.records import WINDOW, pack_computed_clips, unpack_decoded_clips
from m3ray.pipelines.extraction.root_upkeep import tidy
from m3ray.pipelines.extraction.tier_columns import TierColumns
from m3ray.pipelines.extraction.tier_stage import start_row
from m3ray.pipelines.extraction.write_stage import WriteStage
from m3ray.pipelines.runtime.cluster import Resources
from m3ray.pipelines.scoring import over_time
from m3ray.schema import CONTENT, REJECTS, Clip, catalogue_table
from m3ray.scoring.score_root import read_shared_ids
from m3ray.storage.root import Root
from m3ray.video.metadata import VideoMetadata

WINDOWS = SlidingWindowConfig(window=1, step=1)
WHOLE = VideoMetadata(2, 2, 15.0, 2.0, 30, 30, 3000, "mp4")  # two seconds at 15 frames a second


class Decoder:
    """Reads a file as 30 frames of its own length in grey levels; one that says "broken" cannot be decoded."""

    def windows(self, data):
        if data == b"broken":
            raise DecodeError("damaged", "cut short", stage="decode")
        yield WHOLE, np.full((30, 2, 2, 3), len(data), np.uint8)


class Retry:
    def read(self, uri, _limit):
        with open(uri, "rb") as file:
            return file.read()


@pytest.fixture
def root(tmp_path):
    return Root(str(tmp_path / "root"))


@pytest.fixture
def extraction(monkeypatch):
    """Runs the stages in this process; remembers the clips asked for, and drops rows by their ids."""
    asked, lost = [], []

    def extract(plan, _settings, *, make_decode_stage, total):
        asked.append((plan.work["clip_id"].to_pylist(), total))
        columns = [TierColumns(tier.name, tier.schema) for tier in plan.tiers]
        writer = WriteStage(plan.root, columns, plan.folders, plan.metadata(TierConfigs().decode))
        rows = (
            [row for table in make_decode_stage(None)(plan.work) for row in unpack_decoded_clips(table)]
            if plan.work.num_rows
            else []
        )
        done = [compute(row, plan.tiers) for row in rows if row.clip_id not in lost]
        if done:
            writer(pack_computed_clips(done, {tier.name: [pack(row, tier) for row in done] for tier in plan.tiers}))
        tidy(plan)

    monkeypatch.setattr(over_time, "process_decoder", lambda *_: Decoder())
    monkeypatch.setattr(over_time, "make_retry", lambda *_: Retry())
    monkeypatch.setattr(dataflow, "run", extract)
    return asked, lost


def compute(row, tiers):
    done = start_row(row)
    if row.failure is not None:
        return done
    return replace(done, values={tier.name: {tier.name: digest_of(row.frames.tobytes())} for tier in tiers})


def list_clips(root, folder, *names):
    """A catalogue of decoded clips."""
    metadata = {name: [getattr(WHOLE, name)] * len(names) for name in ("frames", "sampled", "native_fps")}
    table = add_contents(catalogue_table([Clip(name, str(folder / name)) for name in names]), root)
    root.write_table(add_video_metadata(table, pa.table({"clip_id": list(names), **metadata})), "catalogue.parquet")


def compute_windows(root, config=WINDOWS):
    return over_time.compute_windows(root, list(TIERS), TierConfigs(), WorkOptions(), config, Resources(1, 0))


def windows_of(folder):
    table = folder.read_table("catalogue.parquet").select(WINDOW.names).to_pylist()
    return sorted((row["source_clip_id"], row["window_start"]) for row in table)


def test_each_window_of_each_clip_is_computed_once(root, tmp_path, extraction):
    asked, _ = extraction
    for name in ("a.mp4", "b.mp4"):
        (tmp_path / name).write_bytes(name.encode())
    list_clips(root, tmp_path, "a.mp4", "b.mp4")
    folder = compute_windows(root)
    assert windows_of(folder) == [("a.mp4", 0), ("a.mp4", 15), ("b.mp4", 0), ("b.mp4", 15)]
    assert windows_of(compute_windows(root)) == windows_of(folder)
    assert asked == [(["a.mp4", "b.mp4"], 4), ([], 0)]


def test_a_file_named_like_a_window_counts_as_none(root, tmp_path, extraction):
    """`12@beach.mp4` cannot be decoded and is a reject; that is not the window of `beach.mp4` from frame 12 on."""
    asked, lost = extraction
    (tmp_path / "beach.mp4").write_bytes(b"waves")
    (tmp_path / "12@beach.mp4").write_bytes(b"broken")
    list_clips(root, tmp_path, "12@beach.mp4", "beach.mp4")
    config = SlidingWindowConfig(window=1, step=0.8)  # from frames 0, 12 and 15 on
    lost.append("12@beach.mp4")  # of the three windows of beach.mp4: the job was killed before it
    compute_windows(root, config)
    lost.clear()
    folder = compute_windows(root, config)
    assert asked[1] == (["12@beach.mp4", "beach.mp4"], 4), "three windows of the one, one of the other"
    assert windows_of(folder) == [("beach.mp4", 0), ("beach.mp4", 12), ("beach.mp4", 15)]
    compute_windows(root, config)
    assert asked[2][0] == ["12@beach.mp4"]
    rejects = folder.read_shards("rejects").to_pylist()
    assert [(row["source_clip_id"], row["window_start"], row["error"]) for row in rejects] == [
        ("12@beach.mp4", None, "damaged")
    ], "one row, however often it was tried"


def test_a_clip_that_is_whole_again_leaves_no_reject(root, tmp_path, extraction):
    (tmp_path / "a.mp4").write_bytes(b"broken")
    list_clips(root, tmp_path, "a.mp4")
    assert windows_of(compute_windows(root)) == []
    (tmp_path / "a.mp4").write_bytes(b"mended")
    list_clips(root, tmp_path, "a.mp4")
    folder = compute_windows(root)
    assert windows_of(folder) == [("a.mp4", 0), ("a.mp4", 15)]
    assert folder.read_shards("rejects") is None or folder.read_shards("rejects").num_rows == 0


def test_rows_of_an_older_version_are_told_by_their_names():
    names = ["0@a", "15@x@y", "a@b", "@a", "12", "1234567890123456789@a"]
    table = over_time.name_windows(pa.table({"clip_id": names}))
    assert table["source_clip_id"].to_pylist() == ["a", "x@y", None, None, None, None]
    assert table["window_start"].to_pylist() == [0, 15, None, None, None, None]
    ours = pa.table({"clip_id": ["@12@a", "12@a", "7@a"]}).append_column(
        "source_clip_id", pa.array(["12@a", "a", None])
    )
    ours = ours.append_column("window_start", pa.array([None, 12, None], pa.int64()))
    table = over_time.name_windows(ours)
    assert table["source_clip_id"].to_pylist() == ["12@a", "a", "a"], "the last row is an older one in the same folder"
    assert table["window_start"].to_pylist() == [None, 12, 7]


def test_an_older_reject_counts_as_a_window_of_the_clip_whose_file_it_names(root, tmp_path, extraction):
    asked, lost = extraction
    for name in ("beach.mp4", "12@beach.mp4"):
        (tmp_path / name).write_bytes(b"waves")
    list_clips(root, tmp_path, "beach.mp4")
    config = SlidingWindowConfig(window=1, step=0.8)
    lost.append("12@beach.mp4")
    folder = compute_windows(root, config)
    row = {"clip_id": "12@beach.mp4", "stage": "tier", "error": "ValueError", "message": "words"}
    older = [{**row, "uri": str(tmp_path / "12@beach.mp4")}]
    folder.write_shard(pa.Table.from_pylist(older, schema=REJECTS), ("rejects",), {})
    compute_windows(root, config)
    assert asked[-1] == (["beach.mp4"], 1), "the reject is another file's"
    folder.delete_folder("rejects")
    older = [{**row, "uri": str(tmp_path / "beach.mp4")}]
    folder.write_shard(pa.Table.from_pylist(older, schema=REJECTS), ("rejects",), {})
    compute_windows(root, config)
    assert asked[-1] == ([], 0), "it is the window's own"


def test_windows_of_a_changed_clip_are_computed_again_and_those_of_others_not_scored(root, tmp_path, monkeypatch):
    """An older version's rows are named by window and clip, and belong to a clip's content as its own rows do."""
    for name in ("a@b", "c"):
        (tmp_path / name).write_bytes(name.encode())
    asked, folders = [], []

    def extract(plan, _settings, **options):
        folders[:] = plan.folders.values()
        asked.append((plan.work["clip_id"].to_pylist(), options["total"]))
        for clip, content in zip(*(plan.work[name].to_pylist() for name in ("clip_id", CONTENT)), strict=True):
            rows = pa.table({"clip_id": [f"{k}@{clip}" for k in (0, 15)], CONTENT: [content] * 2})
            for where in plan.folders.values():
                plan.root.write_shard(rows, where, {})

    monkeypatch.setattr(dataflow, "run", extract)

    def run(*names):
        list_clips(root, tmp_path, *names)
        return read_shared_ids(compute_windows(root), [where[1] for where in folders]).to_pylist()

    assert run("a@b", "c") == ["0@a@b", "0@c", "15@a@b", "15@c"]
    (tmp_path / "a@b").write_bytes(b"other")
    assert run("a@b", "c") == ["0@a@b", "0@c", "15@a@b", "15@c"]
    assert run("c") == ["0@c", "15@c"]
    assert asked == [(["a@b", "c"], 4), (["a@b"], 2), ([], 0)]


def test_a_tier_s_row_whose_metadata_a_killed_job_did_not_write_is_computed_again(root, tmp_path, extraction):
    asked, _ = extraction
    (tmp_path / "a.mp4").write_bytes(b"a")
    list_clips(root, tmp_path, "a.mp4")
    folder = compute_windows(root)
    (facts,) = [name for name in folder.list_names("features") if name.startswith("facts-")]
    folder.delete_folder("features", facts)
    assert windows_of(compute_windows(root)) == [("a.mp4", 0), ("a.mp4", 15)]
    assert asked[-1] == (["a.mp4"], 2)
    one = next(name for name in folder.list_names("features") if name.startswith("one-"))
    assert folder.read_ids("features", one).to_pylist() == ["0@a.mp4", "15@a.mp4"]


def test_curves_go_through_the_middles_of_the_windows(root, tmp_path, extraction):
    (tmp_path / "12@beach.mp4").write_bytes(b"waves")
    list_clips(root, tmp_path, "12@beach.mp4")
    folder = compute_windows(root)
    scores = pd.DataFrame({"clip_id": ["15@12@beach.mp4", "0@12@beach.mp4"], "score": [0.7, 0.2]})
    (row,) = over_time.make_curves(folder, 15.0, scores).to_dict("records")
    assert row == {"clip_id": "12@beach.mp4", "times": [0.5, 1.5], "curve": [0.2, 0.7]}
