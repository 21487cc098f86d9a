"""Scores by shots: what is computed, the table of shots, and the files of the best. Tiers are made up, no Ray."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from digest_tier import TIERS, digest_of, pack
from drawn_films import decode_film, draw_film, encode_film

from m3ray.config import DecodeConfig, SlidingWindowConfig, TierConfigs
from m3ray.config.options import PredictOptions, WorkOptions
from m3ray.datasets.catalogue import add_video_metadata
from m3ray.datasets.clip_contents import add_contents
from m3ray.pipelines.extraction import dataflow
from m3ray.pipelines.extraction.records import pack_computed_clips, unpack_decoded_clips
from m3ray.pipelines.extraction.root_upkeep import tidy
from m3ray.pipelines.extraction.tier_columns import TierColumns
from m3ray.pipelines.extraction.tier_stage import start_row
from m3ray.pipelines.extraction.write_stage import WriteStage
from m3ray.pipelines.runtime.cluster import Resources
from m3ray.pipelines.scoring import over_time
from m3ray.pipelines.scoring.shots import compute_shots, export_shots, make_shot_curves, make_shots, write_shots
from m3ray.schema import Clip, catalogue_table
from m3ray.storage.root import Root
from m3ray.video.shots.file_names import name_shot

CONFIG = SlidingWindowConfig(by="shots")
CONFIGS = TierConfigs(decode=DecodeConfig(fps=10, size=32, window_frames=64))
FILM = draw_film(1, [30, 20, 25], height=32, width=48)


class Retry:
    def read(self, uri, _limit):
        with open(uri, "rb") as file:
            return file.read()


@pytest.fixture
def extraction(monkeypatch):
    """Runs the stages in this process, and remembers the clips asked for."""
    asked = []

    def extract(plan, _settings, *, make_decode_stage, total):
        asked.append(plan.work["clip_id"].to_pylist())
        columns = [TierColumns(tier.name, tier.schema) for tier in plan.tiers]
        writer = WriteStage(plan.root, columns, plan.folders, plan.metadata(CONFIGS.decode))
        stage = make_decode_stage(None)
        rows = [row for table in stage(plan.work) for row in unpack_decoded_clips(table)] if asked[-1] else []
        done = [compute(row, plan.tiers) for row in rows]
        if done:
            writer(pack_computed_clips(done, {tier.name: [pack(row, tier) for row in done] for tier in plan.tiers}))
        tidy(plan)

    monkeypatch.setattr(over_time, "make_retry", lambda *_: Retry())
    monkeypatch.setattr(dataflow, "run", extract)
    return asked


def compute(row, tiers):
    done = start_row(row)
    if row.failure is not None:
        return done
    return replace(done, values={tier.name: {tier.name: digest_of(row.frames.tobytes())} for tier in tiers})


def list_clips(root, folder, *names):
    """A catalogue of decoded clips of the film's length."""
    metadata = {name: [value] * len(names) for name, value in (("frames", 75), ("sampled", 75), ("native_fps", 10.0))}
    table = add_contents(catalogue_table([Clip(name, str(folder / name)) for name in names]), root)
    table = add_video_metadata(table, pa.table({"clip_id": list(names), **metadata}))
    root.write_table(table, "catalogue.parquet")
    return table


def run(root, config=CONFIG):
    return compute_shots(root, list(TIERS), CONFIGS, WorkOptions(), config, Resources(1, 0))


def test_a_rerun_computes_nothing_and_a_changed_film_is_cut_anew(tmp_path, extraction):
    root = Root(str(tmp_path / "root"))
    (tmp_path / "a.mp4").write_bytes(encode_film(FILM, 10))
    (tmp_path / "b.mp4").write_bytes(b"no video")
    list_clips(root, tmp_path, "a.mp4", "b.mp4")
    folder = run(root)
    ids = folder.read_table("catalogue.parquet")["clip_id"].to_pylist()
    assert sorted(ids) == ["0@a.mp4", "30@a.mp4", "50@a.mp4"]
    assert folder.read_shards("rejects")["clip_id"].to_pylist() == ["@b.mp4"]
    run(root, replace(CONFIG, window=9.0))  # the length of windows changes no shot
    assert extraction == [["a.mp4", "b.mp4"], ["b.mp4"]], "what failed as a whole is tried again, as with windows"
    (tmp_path / "a.mp4").write_bytes(encode_film(FILM[:50], 10))
    list_clips(root, tmp_path, "a.mp4", "b.mp4")
    ids = run(root).read_table("catalogue.parquet")["clip_id"].to_pylist()
    assert extraction[-1] == ["a.mp4", "b.mp4"]
    assert sorted(ids) == ["0@a.mp4", "30@a.mp4"]


def test_the_table_the_curve_and_the_files_of_the_best_shots(tmp_path, extraction):
    root = Root(str(tmp_path / "root"))
    (tmp_path / "a.mp4").write_bytes(encode_film(FILM, 10, g="5", sc_threshold="0", bf="0"))
    catalogue = list_clips(root, tmp_path, "a.mp4")
    folder = run(root)
    scores = pd.DataFrame({"clip_id": ["50@a.mp4", "0@a.mp4", "30@a.mp4"], "score": [0.3, 0.1, 0.9]})
    scores["share_raw"] = [0.0, 0.1, 0.2]
    shots = make_shots(folder, scores)
    assert shots.to_dict("list") == {
        "clip_id": ["a.mp4"] * 3,
        "shot": [0, 1, 2],
        "start": [0.0, 3.0, 5.0],
        "end": [3.0, 5.0, 7.5],
        "score": [0.1, 0.9, 0.3],
        "share_raw": [0.1, 0.2, 0.0],
    }
    (curve,) = make_shot_curves(shots).to_dict("records")
    assert curve == {"clip_id": "a.mp4", "times": [1.5, 4.0, 6.25], "curve": [0.1, 0.9, 0.3]}
    write_shots(root, ("shots.parquet",), shots, {"bundle": "small"})
    assert root.read_metadata("shots.parquet")["bundle"] == "small"
    options = PredictOptions(out="r", over_time=True, sliding_windows=CONFIG, export_shots=2)
    files = root.subroot("shots")
    export_shots(files, CONFIGS.decode, options, shots, folder, catalogue)
    rows = files.read_table("exported.parquet").to_pylist()
    assert [(row["rank"], row["shot"], row["how"], row["file"]) for row in rows] == [
        (1, 1, "copied", name_shot("a.mp4", 1, 3, 5, ".mp4")),
        (2, 2, "copied", name_shot("a.mp4", 2, 5, 7.5, ".mp4")),
    ]
    got, whole = decode_film(files.read_bytes(rows[0]["file"])), decode_film((tmp_path / "a.mp4").read_bytes())
    np.testing.assert_array_equal(got, whole[30:50])
    export_shots(files, CONFIGS.decode, options, shots, folder, catalogue)
    assert [row["how"] for row in files.read_table("exported.parquet").to_pylist()] == ["kept", "kept"]
