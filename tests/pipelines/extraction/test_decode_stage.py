"""The decoding stage, called as a plain function: no cluster."""

import pyarrow as pa
from drawn import pictures
from failing_storage import LIMITS

from m3ray.config import DecodeConfig, LimitsConfig
from m3ray.pipelines.extraction.decode_stage import DecodeStage, OnlyRows
from m3ray.pipelines.extraction.records import WORK, DecodedClip, Failure, pack_decoded_clips, unpack_decoded_clips
from m3ray.video.encode import encode_clip


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
