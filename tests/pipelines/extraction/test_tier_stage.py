"""The tier stage, called as a plain function: no cluster."""

import numpy as np
import pyarrow as pa
import pytest
import torch
from drawn import pictures
from failing_storage import LIMITS, SleepClock, fail_reads, make_retry, make_work, upload_clips
from faulty_s3 import scripted_s3
from mean_tier import METADATA, MeanTier, gray_clip

from m3ray.config import DecodeConfig, LimitsConfig
from m3ray.errors import StorageError
from m3ray.pipelines.extraction.decode_stage import DecodeStage
from m3ray.pipelines.extraction.records import WORK, DecodedClip, Failure, unpack_decoded_clips
from m3ray.pipelines.extraction.tier_stage import TierStage
from m3ray.video.encode import encode_clip


def test_a_clip_that_fails_takes_no_other_with_it():
    stage = TierStage([MeanTier()], DecodeConfig(), LimitsConfig(), 1)
    rows = stage.compute([gray_clip("a", 10), gray_clip("dark", 0), gray_clip("c", 30)])
    assert [row.clip_id for row in rows] == ["a", "dark", "c"]
    assert rows[1].failure == Failure("tier", "ValueError", "ValueError: too dark")
    assert rows[0].values["mean"]["mean"].tolist() == [10, 10, 10]
    assert rows[2].values["mean"]["mean"].tolist() == [30, 30, 30]
    torch.set_num_threads(2)


def test_a_long_clip_is_read_by_the_tier_actor_which_then_knows_more(tmp_path):
    """Twenty frames in windows of eight: the decoding stage hands on what the packets say, and no frame."""
    (tmp_path / "long.mp4").write_bytes(encode_clip(pictures(20), 10))
    config = DecodeConfig(window_frames=8)
    work = [{"clip_id": "x", "uri": str(tmp_path / "long.mp4"), "tiers": ["mean"]}]
    (table,) = DecodeStage(config, LimitsConfig())(pa.Table.from_pylist(work, schema=WORK))
    (row,) = unpack_decoded_clips(table)
    assert (row.frames, row.metadata.sampled) == (None, 20)
    (computed,) = TierStage([MeanTier()], config, LimitsConfig(), 1).compute([row])
    assert computed.metadata == row.metadata
    assert computed.decode_seconds > row.seconds
    (table,) = DecodeStage(DecodeConfig(), LimitsConfig())(pa.Table.from_pylist(work, schema=WORK))
    (whole,) = unpack_decoded_clips(table)
    np.testing.assert_allclose(computed.values["mean"]["mean"], whole.frames.mean(axis=(0, 1, 2)))


def test_a_clip_that_was_not_asked_for_a_tier_gets_none():
    stage = TierStage([MeanTier()], DecodeConfig(), LimitsConfig(), 1)
    (row,) = stage.compute([DecodedClip("a", "/a", (), METADATA, gray_clip("a", 1).frames)])
    assert row.values == {}
    assert row.failure is None


@pytest.fixture
def clock():
    return SleepClock()


def test_a_tier_actor_that_reads_a_long_clip_stops_too(clock):
    """What stops the job is no failure of the clip."""
    stage = TierStage([MeanTier()], DecodeConfig(), LIMITS, 1)
    stage.retry = make_retry(clock)
    with scripted_s3(fail_reads(lambda _: "503")):
        upload_clips(1)
        with pytest.raises(StorageError, match="503 SlowDown"):
            stage.compute([DecodedClip("00", "s3://clips/00.mp4", ("mean",))])


def test_one_get_a_clip_short_or_long(clock):
    """A clip of more than a window is decoded by the tier actor, and fetched by the decoding task alone."""
    tier = MeanTier()
    with scripted_s3(lambda *_: None) as requests:
        upload_clips(4)
        del requests[:]
        config = DecodeConfig(window_frames=3)  # the clips have 4 frames
        decode, compute = DecodeStage(config, LIMITS), TierStage([tier], config, LIMITS, 1)
        rows = [row for table in decode(make_work(4)) for row in unpack_decoded_clips(table)]
        results = compute.compute(rows)
        assert [row.frames for row in rows] == [None] * 4
        assert [row.failure for row in results] == [None] * 4
        assert [row.metadata.sampled for row in results] == [4] * 4
        assert sum(method == "GET" for method, _ in requests) == len(requests) == 4
        del requests[:]
        whole = DecodeStage(DecodeConfig(), LIMITS)
        assert all(row.frames is not None for table in whole(make_work(4)) for row in unpack_decoded_clips(table))
        assert len(requests) == 4
