"""Records between the stages, as dataclasses and as Arrow tables."""

import numpy as np
import pyarrow as pa
from mean_tier import METADATA, gray_clip

from m3ray.errors import DecodeError
from m3ray.pipelines.extraction.records import (
    SECONDS,
    WORK,
    ComputedClip,
    DecodedClip,
    Failure,
    Part,
    add_window_columns,
    crash_failure,
    failure_of,
    make_work_table,
    pack_computed_clips,
    pack_decoded_clips,
    unpack_decoded_clips,
    unpack_work,
)


def test_rows_survive_the_journey_as_arrow():
    bad = DecodedClip("b", "/b", ("mean",), failure=Failure("decode", "damaged", "words"))
    first, second = unpack_decoded_clips(pack_decoded_clips([gray_clip("a", 7), bad]))
    assert np.array_equal(first.frames, gray_clip("a", 7).frames)
    assert not first.frames.flags.owndata, "a view of the batch, not a copy"
    assert (first.metadata, first.tiers, first.seconds) == (METADATA, ("mean",), 0.5)
    assert (second.frames, second.failure) == (None, bad.failure)


def test_failures_say_what_was_got():
    assert failure_of(DecodeError("damaged", "words", stage="demux"), "tier") == Failure("demux", "damaged", "words")
    assert failure_of(KeyError("k"), "tier").message == "KeyError: 'k'"


def test_a_crash_names_its_count():
    failure = crash_failure("decode", 3)
    assert (failure.stage, failure.error) == ("decode", "worker_crashed")
    assert "died 3 times" in failure.message


def test_work_for_no_tier_is_decoded_and_no_more():
    work = make_work_table(pa.table({"clip_id": ["a", "b"], "uri": ["/a", "/b"]}))
    assert work.schema == WORK
    assert [(clip.clip_id, clip.uri, clip.tiers, clip.content) for clip in unpack_work(work)] == [
        ("a", "/a", (), None), ("b", "/b", (), None),
    ]  # fmt: skip


def test_video_metadata_and_seconds_travel_typed():
    """No number is written as text between the stages."""
    row = ComputedClip("a", "/a", METADATA, decode_seconds=0.1, tier_seconds={"raw": 0.2}, content="3:1 /a")
    table = pack_computed_clips([row], {"raw": [b"12345678"]})
    assert table.schema.field("seconds").type == SECONDS
    assert table["seconds"].to_pylist() == [[("decode", 0.1), ("raw", 0.2)]]
    assert pa.types.is_struct(table.schema.field("metadata").type)
    assert table["metadata"].to_pylist()[0]["native_fps"] == METADATA.native_fps
    assert (table["content"].to_pylist(), table["tier_raw"].to_pylist()) == (["3:1 /a"], [b"12345678"])


def test_frames_of_several_clips_keep_their_shapes():
    clips = [gray_clip("a", 1), DecodedClip("b", "/b", (), METADATA, np.zeros((1, 4, 6, 3), np.uint8))]
    shapes = [clip.frames.shape for clip in unpack_decoded_clips(pack_decoded_clips(clips))]
    assert shapes == [(3, 8, 8, 3), (1, 4, 6, 3)]


def test_a_window_of_a_long_clip_travels_with_its_place_and_the_frame_before_it():
    frames = np.arange(2 * 4 * 4 * 3, dtype=np.uint8).reshape(2, 4, 4, 3)
    clip = DecodedClip("a", "s3://b/a", (), METADATA, frames[1:], part=Part(3, 5, 1), lead=frames[:1])
    whole = DecodedClip("b", "s3://b/b", (), METADATA, frames)
    row, other = unpack_decoded_clips(pack_decoded_clips([clip, whole]))
    np.testing.assert_array_equal(row.lead, frames[:1])
    np.testing.assert_array_equal(row.frames, frames[1:])
    assert (row.part, other.part, other.lead) == (Part(3, 5, 1), None, None)
    assert (row.row_id, other.row_id) == ("1.3/a", "b")


def test_windows_have_columns_of_their_own_and_whole_clips_none():
    whole = pack_computed_clips([ComputedClip("a", "/a", None)], {})
    table = pa.table({"clip_id": ["a"]})
    assert add_window_columns(table, whole) is table
    window = pack_computed_clips([ComputedClip("15@a", "/a", None, source_clip_id="a", window_start=15)], {})
    assert add_window_columns(pa.table({"clip_id": ["15@a"]}), window).to_pylist() == [
        {"clip_id": "15@a", "source_clip_id": "a", "window_start": 15}
    ]


def test_a_failed_clip_loses_its_values():
    row = ComputedClip("a", "/a", None, {"raw": {"x": np.ones(1)}})
    failure = Failure("tier:raw", "FeatureError", "not finite")
    assert row.with_failure(failure) == ComputedClip("a", "/a", None, {}, failure)


def test_a_crash_says_what_cuda_said():
    assert "a crash in native code, or memory" in crash_failure("tier", 3).message
    failure = crash_failure("tier", 3, "CUDA error: misaligned address")
    assert failure.message.startswith(
        "the process that computed it died 3 times, the last times with this clip alone: CUDA"
    )
