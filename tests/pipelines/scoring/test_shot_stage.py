"""Clips cut into their shots in a stage of the dataflow, in this process."""

import itertools

import numpy as np
import pytest
from drawn_films import draw_film, encode_film

from m3ray.config import DecodeConfig, LimitsConfig, SlidingWindowConfig
from m3ray.pipelines.extraction.records import Part, make_work_table, unpack_decoded_clips
from m3ray.pipelines.scoring import over_time, shot_stage
from m3ray.pipelines.scoring.shot_stage import FOUND, FOUND_SHOTS, ShotStage, pack_shots, unpack_shots
from m3ray.storage.root import Root
from m3ray.video.shots.timeline import Timeline, lay_shots

DECODE = DecodeConfig(fps=10, size=32, window_frames=8)


class Retry:
    def read(self, uri, _limit):
        with open(uri, "rb") as file:
            return file.read()


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.setattr(over_time, "make_retry", lambda *_: Retry())
    folder = Root(str(tmp_path / "root"))

    def run(known=None, **files):
        for name, data in files.items():
            (tmp_path / name).write_bytes(data)
        work = {"clip_id": list(files), "uri": [str(tmp_path / name) for name in files]}
        rows = FOUND_SHOTS.empty_table() if known is None else known
        stage = ShotStage(DECODE, LimitsConfig(), SlidingWindowConfig(by="shots"), folder, rows)
        import pyarrow as pa

        return [row for table in stage(make_work_table(pa.table(work))) for row in unpack_decoded_clips(table)]

    return run, folder


def test_each_shot_is_a_row_a_long_one_a_row_a_window_with_the_frame_before(run):
    run, folder = run
    rows = run(film=encode_film(draw_film(1, [30, 12], height=32, width=32), 10), text=b"no video")
    told = [(row.clip_id, row.source_clip_id, row.window_start, row.part, len(row.frames)) for row in rows[:-1]]
    assert told == [
        *(("0@film", "film", 0, Part(k, 4), (8, 8, 8, 6)[k]) for k in range(4)),
        ("30@film", "film", 30, Part(0, 2), 8),
        ("30@film", "film", 30, Part(1, 2), 4),
    ]
    for before, row in itertools.pairwise(rows[:-1]):
        if row.part.index:
            np.testing.assert_array_equal(row.lead, before.frames[-1:])
        else:
            assert row.lead is None, "a shot is seen as a clip: nothing comes before it"
    assert {(row.metadata.sampled, round(row.metadata.duration, 6)) for row in rows[:-1]} == {(30, 3.0), (12, 1.2)}
    assert (rows[-1].clip_id, rows[-1].failure.error) == ("@text", "not_a_video")
    assert unpack_shots(folder.read_shards(*FOUND))["film"].frames.tolist() == [0, 30]


def test_shots_that_were_found_before_are_not_looked_for_again(run, monkeypatch):
    run, folder = run

    def look(*_):
        raise AssertionError("it was found before")

    monkeypatch.setattr(shot_stage, "find_shots", look)
    shots = lay_shots(np.array([10]), Timeline.steady(20, 10.0), 10.0, 0.5)
    rows = run(pack_shots("film", None, shots), film=encode_film(draw_film(1, [20], height=32, width=32), 10))
    assert [row.window_start for row in rows] == [0, 0, 10, 10]
    assert folder.read_shards(*FOUND) is None


def test_shots_pass_through_a_table():
    shots = lay_shots(np.array([7, 19]), Timeline.steady(40, 12.5), 10.0, 0.3)
    again = unpack_shots(pack_shots("a", "stamp", shots))["a"]
    for name in ("frames", "slots", "starts", "ends"):
        np.testing.assert_array_equal(getattr(again, name), getattr(shots, name))
    assert (again.duration, again.shown, again.sampled) == (shots.duration, shots.shown, shots.sampled)
