"""Frames for training, read in a Ray Data stage."""

import numpy as np
import pyarrow as pa
import pytest
from failing_storage import LIMITS

from m3ray.config import DecodeConfig
from m3ray.errors import StorageError
from m3ray.pipelines.finetuning.frame_stage import FramesStage
from m3ray.storage.faults import BY_CODE, StorageFaultError
from m3ray.training.finetuning.sampler import ClipSampler
from m3ray.video.frame_cache import FrameCache


def test_training_from_frames_says_what_the_storage_answers(tmp_path, monkeypatch):
    """A clip that has features, and whose storage fails: nobody is told to drop it."""

    def denied(*_):
        raise StorageFaultError(
            BY_CODE["AccessDenied"], "403 AccessDenied: cannot read s3://clips/00.mp4: check the role"
        )

    monkeypatch.setattr(FrameCache, "frames", denied)
    store = FrameCache(DecodeConfig(), 32, None)
    stage = FramesStage(ClipSampler(1, 1), np.array([0]), ["s3://clips/00.mp4"], store, LIMITS, 8)
    with pytest.raises(StorageError, match=r"403 AccessDenied: cannot read s3://clips/00\.mp4"):
        stage._read(0, 0)


def test_nothing_is_read_for_an_empty_place(monkeypatch):
    read = []
    monkeypatch.setattr(FrameCache, "frames", lambda _, __, uri, *___: (read.append(uri), np.ones((2, 4, 4, 3)))[1])
    store = FrameCache(DecodeConfig(), 4, None)
    sampler = ClipSampler(2, 2, capacity=3)
    stage = FramesStage(sampler, np.array([1, 0]), ["zero", "one"], store, LIMITS, 8)
    table = stage(pa.table({"id": np.arange(3)}))
    assert read == ["one", "zero"]
    assert table["frames"].is_valid().to_pylist() == [True, True, False]
    assert (table["shape"].to_pylist(), table["mask"].to_pylist()) == ([[2, 4, 4, 3]] * 2 + [None], [True, True, False])
