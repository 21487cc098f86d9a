"""The decoding stage, called as a plain function: no cluster."""

from dataclasses import replace
from unittest.mock import Mock

import numpy as np
import pyarrow as pa
import pytest
from drawn import pictures
from failing_storage import LIMITS
from mean_tier import METADATA

from m3ray.config import DecodeConfig, LimitsConfig
from m3ray.pipelines.extraction import crash_guard
from m3ray.pipelines.extraction.decode_stage import DecodeStage, OnlyRows
from m3ray.pipelines.extraction.records import WORK, DecodedClip, Failure, pack_decoded_clips, unpack_decoded_clips
from m3ray.video.encode import encode_clip
from m3ray.video.sandbox import Decoder


def test_decoding_errors_become_rows(tmp_path):
    work = pa.Table.from_pylist([{"clip_id": "x", "uri": str(tmp_path / "x.mp4"), "tiers": ["mean"]}], schema=WORK)
    (table,) = DecodeStage(DecodeConfig(), LimitsConfig())(work)
    (row,) = unpack_decoded_clips(table)
    assert row.failure is not None
    assert (row.failure.stage, row.failure.error) == ("read", "missing_file")


def test_a_clip_whose_tiers_look_at_one_frame_is_decoded_no_further(tmp_path, monkeypatch):
    (tmp_path / "x.mp4").write_bytes(encode_clip(pictures(20), 10))
    stage = DecodeStage(DecodeConfig(), LIMITS, first_frame_tiers=["scene", "torchvision:resnet50"])
    shapes = {}
    for tiers in (["scene"], ["scene", "torchvision:resnet50"], ["raw", "scene"], ["raw"]):
        rows = [{"clip_id": "x", "uri": str(tmp_path / "x.mp4"), "tiers": tiers}]
        (table,) = stage(pa.Table.from_pylist(rows, schema=WORK))
        (row,) = unpack_decoded_clips(table)
        shapes[",".join(tiers)] = (len(row.frames), row.metadata.sampled)
    assert shapes == {"scene": (1, 20), "scene,torchvision:resnet50": (1, 20), "raw,scene": (20, 20), "raw": (20, 20)}


@pytest.mark.parametrize(("comes", "words"), [(1, "1 of 2 windows"), (3, "more than 2 windows")])
def test_a_clip_of_more_or_fewer_windows_than_it_says_ends_as_a_failure(tmp_path, monkeypatch, comes, words):
    """Its windows would else wait for the others for ever."""
    (tmp_path / "x.mp4").write_bytes(b"any")
    window = (0, replace(METADATA, frames=20, sampled=20), np.zeros((10, 8, 8, 3), np.uint8))
    monkeypatch.setattr(Decoder, "windows_in_one_pass", lambda *_: iter([window] * comes))
    work = [{"clip_id": "x", "uri": str(tmp_path / "x.mp4"), "tiers": ["raw"]}]
    stage = DecodeStage(DecodeConfig(size=8, window_frames=10), LIMITS)
    tables = stage(pa.Table.from_pylist(work, schema=WORK))
    *windows, end = [row for table in tables for row in unpack_decoded_clips(table)]
    assert len(windows) == min(comes, 2)
    assert (end.part.index, end.failure.error) == (len(windows), "damaged")
    assert words in end.failure.message


class ToldLedger:
    """Notes how many clips it was told of at once."""

    def __init__(self):
        self.told = []
        self.begin = self.end = self

    def remote(self, keys, *_):
        self.told.append(len(keys))
        return {}


@pytest.mark.parametrize(("crash_count", "told"), [(1, [1, 1, 1]), (3, [3])])
def test_where_one_death_rejects_no_other_clip_is_in_hand(monkeypatch, crash_count, told):
    monkeypatch.setattr(crash_guard.ray, "get", lambda value: value)
    monkeypatch.setattr(crash_guard.ray, "get_runtime_context", Mock)
    ledger = ToldLedger()
    stage = DecodeStage(DecodeConfig(), replace(LIMITS, crash_count=crash_count))
    object.__setattr__(stage.guard, "ledger", ledger)
    work = [{"clip_id": name, "uri": f"/nowhere/{name}", "tiers": ["raw"]} for name in "abc"]
    assert len(list(stage(pa.Table.from_pylist(work, schema=WORK)))) == 3
    assert ledger.told[::2] == told


def test_rows_that_were_computed_before_are_dropped():
    tables = [pack_decoded_clips([DecodedClip(name, "/a", ())]) for name in ("0@a", "15@a", "30@a")]
    stage = OnlyRows(lambda batch: iter(tables if batch == "work" else []), frozenset({"15@a", "30@a"}))
    rows = [row.clip_id for table in stage("work") for row in unpack_decoded_clips(table)]
    assert rows == ["15@a", "30@a"]


def test_what_becomes_of_a_clip_is_a_row_though_its_windows_have_other_ids():
    """A clip that cannot be read again has no window, and must not vanish."""
    lost = DecodedClip("@a", "a.mp4", ("mean",), failure=Failure("read", "storage_failed", "no answer"))
    stage = OnlyRows(lambda _: iter([pack_decoded_clips([lost])]), frozenset({"15@a"}))
    assert [row.clip_id for table in stage("work") for row in unpack_decoded_clips(table)] == ["@a"]
