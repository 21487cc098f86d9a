"""Stages over a storage that fails: moto's S3 behind a proxy that answers as it is told. Without Ray."""

import json
import os
import time
from urllib import request

import numpy as np
import obstore
import pyarrow as pa
import pytest
from drawn import pictures
from faulty_s3 import told_s3
from ledgers import Handle

from m3ray.config import DecodeConfig, LimitsConfig
from m3ray.console import LineKeeper
from m3ray.errors import ConfigError, DecodeError, M3RayError, StorageError
from m3ray.pipelines.extraction import patience as patiences
from m3ray.pipelines.extraction import pauses
from m3ray.pipelines.extraction.breaker import Breaker
from m3ray.pipelines.extraction.crash_guard import Ledger
from m3ray.pipelines.extraction.decode_stage import DecodeStage
from m3ray.pipelines.extraction.patience import Patience, unsparing_patience, written
from m3ray.pipelines.extraction.records import WORK, Computed, Decoded, Failure, computed_table, decoded_rows
from m3ray.pipelines.extraction.rejects import check_rejects, parted, tell_rejects
from m3ray.pipelines.extraction.tier_stage import TierColumns, TierStage
from m3ray.pipelines.extraction.write_stage import WriteStage
from m3ray.pipelines.finetuning.frame_stage import FramesStage
from m3ray.pipelines.runtime.progress import Progress
from m3ray.request.ranges import most_rejects
from m3ray.schema import vector_schema
from m3ray.storage.faults import BY_CODE, StorageFault
from m3ray.storage.object_store import open_store
from m3ray.storage.root import Root
from m3ray.storage.tier_index import rejected_ids
from m3ray.tiers import Weighted
from m3ray.training.finetuning.sampler import Order
from m3ray.video.encode import encode_clip
from m3ray.video.frame_cache import FrameStore
from m3ray.video.reader import read_once

LIMITS = LimitsConfig(storage_seconds=60)


class MeanTier:
    name, whole_clip, untrained, schema = "mean", True, False, vector_schema("mean", 3)

    def setup(self, device):
        pass

    def measure(self, windows):
        return [{"mean": Weighted(w.frames.mean(axis=(0, 1, 2)), len(w.frames))} for w in windows]


class Clock:
    """Time that passes by sleeping alone; what happens at a time is told beforehand."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now

    def sleep(self, seconds):
        self.now += seconds


@pytest.fixture
def clock():
    return Clock()


def waiting(clock, seconds=60.0, **more):
    return Patience(Breaker(seconds, clock=clock), sleep=clock.sleep, **more)


def upload(count, missing=()):
    data = encode_clip(pictures(4), 10)
    request.urlopen(request.Request(f"{os.environ['AWS_ENDPOINT_URL']}/clips", method="PUT"))
    store, _ = open_store("s3://clips/x")
    for k in range(count):
        obstore.put(store, f"{k:02d}.mp4", data)
        if k in missing:  # moto keeps what another test put
            obstore.delete(store, f"{k:02d}.mp4")


def work(count, tiers=("mean",)):
    rows = [{"clip_id": f"{k:02d}", "uri": f"s3://clips/{k:02d}.mp4", "tiers": list(tiers)} for k in range(count)]
    return pa.Table.from_pylist(rows, schema=WORK)


def decoded(clock, count, seconds=60.0):
    stage = DecodeStage(DecodeConfig(), LIMITS)
    stage.patience = waiting(clock, seconds)
    return [row for table in stage(work(count)) for row in decoded_rows(table)]


def gets(choose):
    return lambda method, path: choose(path) if method == "GET" else None


def test_rights_lost_for_two_minutes_reject_nothing(clock):
    """The issue's number, with a clock of its own; the storage fails between its 5th and its 125th second."""
    failing = lambda _: "403" if 5 <= clock.now < 125 else None  # noqa: E731
    with told_s3(gets(failing)) as asked, LineKeeper():
        upload(8)
        clock.now = 4.9
        del asked[:]
        rows = []
        stage = DecodeStage(DecodeConfig(), LIMITS)
        stage.patience = waiting(clock, 300)
        for table in stage(work(8)):
            rows += decoded_rows(table)
            clock.now += 0.1
    assert [row.failure for row in rows] == [None] * 8
    assert clock.now > 125
    assert len(asked) < 8 + 60, "one probe every few seconds, whatever the length of the pause"


def test_credentials_that_expired_stop_the_job_with_what_to_do(clock):
    words = r"400 ExpiredToken on s3://clips/00\.mp4: renew the session"
    with told_s3(gets(lambda _: "expired")) as asked:
        upload(3)
        del asked[:]
        with pytest.raises(StorageError, match=words) as error:
            decoded(clock, 3)
    assert error.value.exit_status == 1
    assert "Nothing was rejected" in str(error.value)
    assert 60 <= clock.now < 70
    assert len(asked) < 30, "not clip by clip, and not without an end"


def test_missing_objects_are_rejects_and_denied_ones_wait(clock):
    """A third of the objects missing, one denied for good, one archived: the right class each."""
    missing = {1, 4, 7}
    choose = {"/clips/02.mp4": "403", "/clips/05.mp4": "archived"}
    with told_s3(gets(choose.get)):
        upload(9, missing)
        rows = decoded(clock, 9)
    found = {row.clip_id: row.failure and row.failure.error for row in rows}
    rejected = {f"{k:02d}" for k in missing}
    assert {name for name, error in found.items() if error == "missing_file"} == rejected
    assert {name for name, error in found.items() if error == "storage_failed"} == {"02", "05"}
    messages = {row.clip_id: row.failure.message for row in rows if row.failure}
    assert messages["02"].startswith("403 AccessDenied: cannot read s3://clips/02.mp4")
    assert messages["05"].startswith("403 InvalidObjectState")
    assert clock.now < 10, "clips of their own fault cost seconds"


def test_a_tier_actor_that_reads_a_long_clip_stops_too(clock):
    """What stops the job is no failure of the clip."""

    stage = TierStage([MeanTier()], DecodeConfig(), LIMITS, 1)
    stage.patience = waiting(clock)
    with told_s3(gets(lambda _: "503")):
        upload(1)
        with pytest.raises(StorageError, match="503 SlowDown"):
            stage.compute([Decoded("00", "s3://clips/00.mp4", ("mean",))])


def test_a_clip_whose_tiers_look_at_one_frame_is_decoded_no_further(tmp_path, monkeypatch):
    (tmp_path / "x.mp4").write_bytes(encode_clip(pictures(20), 10))
    stage = DecodeStage(DecodeConfig(), LIMITS, first_frame_tiers=["scene", "torchvision:resnet50"])
    shapes = {}
    for tiers in (["scene"], ["scene", "torchvision:resnet50"], ["raw", "scene"], ["raw"]):
        rows = [{"clip_id": "x", "uri": str(tmp_path / "x.mp4"), "tiers": tiers}]
        (table,) = stage(pa.Table.from_pylist(rows, schema=WORK))
        (row,) = decoded_rows(table)
        shapes[",".join(tiers)] = (len(row.frames), row.facts.sampled)
    assert shapes == {"scene": (1, 20), "scene,torchvision:resnet50": (1, 20), "raw,scene": (20, 20), "raw": (20, 20)}


def test_one_get_a_clip_short_or_long(clock):
    """A clip of more than a window is decoded by the tier actor, and fetched by the decoding task alone."""
    tier = MeanTier()
    with told_s3(lambda *_: None) as asked:
        upload(4)
        del asked[:]
        config = DecodeConfig(window_frames=3)  # the clips have 4 frames
        decode, compute = DecodeStage(config, LIMITS), TierStage([tier], config, LIMITS, 1)
        rows = [row for table in decode(work(4)) for row in decoded_rows(table)]
        results = compute.compute(rows)
        assert [row.frames for row in rows] == [None] * 4
        assert [row.failure for row in results] == [None] * 4
        assert [row.facts.sampled for row in results] == [4] * 4
        assert sum(method == "GET" for method, _ in asked) == len(asked) == 4
        del asked[:]
        whole = DecodeStage(DecodeConfig(), LIMITS)
        assert all(row.frames is not None for table in whole(work(4)) for row in decoded_rows(table))
        assert len(asked) == 4


def test_training_from_frames_says_what_the_storage_answers(tmp_path, monkeypatch):
    """A clip that has features, and whose storage fails: nobody is told to drop it."""

    def denied(*_):
        raise StorageFault(BY_CODE["AccessDenied"], "403 AccessDenied: cannot read s3://clips/00.mp4: check the role")

    monkeypatch.setattr(FrameStore, "frames", denied)
    store = FrameStore(DecodeConfig(), 32, None)
    stage = FramesStage(Order(1, 1), np.array([0]), ["s3://clips/00.mp4"], store, LIMITS, 8)
    with pytest.raises(StorageError, match=r"403 AccessDenied: cannot read s3://clips/00\.mp4"):
        stage._frames(0, 0)


# Writing.


def writer(root, patience):
    folders = {"mean": ("features", "mean-1"), "facts": ("features", "facts-1")}
    columns = [TierColumns("mean", vector_schema("mean", 1))]
    return WriteStage(root, columns, folders, {"mean": {}, "facts": {}}, patience)


def rows_to_write():
    rows = [
        Computed("a", "/a", None),
        Computed("b", "/b", None, failure=Failure("read", "storage_failed", "403 AccessDenied: cannot read /b")),
        Computed("c", "/c", None, failure=Failure("decode", "damaged", "words")),
    ]
    return computed_table(rows, {"mean": [np.ones(1).tobytes(), None, None]})


def test_a_root_that_cannot_be_written_is_waited_for(tmp_path, clock, monkeypatch):
    root, write = Root(str(tmp_path)), Root.write_shard
    monkeypatch.setattr(Root, "write_shard", lambda self, *rest: write(self, *rest) if clock.now > 20 else full())

    def full():
        raise OSError(28, "No space left on device")

    patience = Patience(Breaker(60, spares=False, clock=clock), sleep=clock.sleep)
    (counts,) = writer(root, patience)(rows_to_write()).to_pylist()
    assert {name: counts[name] for name in ("done", "rejected", "storage_failed")} == {
        "done": 1, "rejected": 2, "storage_failed": 1,
    }  # fmt: skip
    assert json.loads(counts["seconds"])
    assert clock.now > 20
    assert rejected_ids(root).to_pylist() == ["b", "c"]
    assert rejected_ids(root, settled=True).to_pylist() == ["c"], "the next job tries b again by itself"


def test_a_root_that_stays_closed_stops_the_job(tmp_path, clock):
    def closed():
        raise OSError("AWS Error ACCESS_DENIED during PutObject operation: Access Denied")

    patience = Patience(Breaker(60, spares=False, clock=clock), sleep=clock.sleep)
    with pytest.raises(StorageError, match="403 AccessDenied on s3://b/root: check the role"):
        patience.call("s3://b/root", lambda: written("s3://b/root", closed))
    assert 60 <= clock.now < 70


def test_a_mistake_in_writing_is_not_waited_for(tmp_path):
    def wrong():
        raise OSError(36, "File name too long")

    with pytest.raises(OSError, match="name too long"):
        unsparing_patience(LIMITS).call(str(tmp_path), lambda: written(str(tmp_path), wrong))


# What the driver says.


def test_a_pause_is_said_and_so_is_its_end():
    with LineKeeper() as said, Progress("extract", 4, "CPUs") as progress:
        watcher = pauses._Watcher(300, progress)
        words = "403 AccessDenied on s3://b/x: check the role's policy, and the bucket's"
        for state in (None, (1.0, words), (4.0, words), (20.0, words)):
            watcher.see(state)
        assert words in progress.waiting_for
        watcher.see(None)
        watcher.see(None)
    lines = [line.partition(" ")[2] for line in said.lines if "paused" in line or "resumed" in line]
    assert lines == [
        f"paused: storage answers {words}; 1 s, gives up after 300 s",
        f"paused: storage answers {words}; 20 s, gives up after 300 s",
        "resumed: the storage answers again after 20 s; nothing was rejected",
    ]
    assert progress.waiting_for == "CPUs"


def test_a_pause_that_the_last_clip_ended_is_said_to_have_ended(monkeypatch, clock):
    """Else whoever reads the events takes the job for paused for ever."""
    monkeypatch.setattr(pauses, "_WATCH_SECONDS", 0.02)
    monkeypatch.setattr(pauses.ray, "get", lambda found, timeout=None: found)
    ledger = Ledger(300.0)
    breaker = ledger.breakers["writes"]
    with LineKeeper() as said, pauses.watched(Handle(ledger), LimitsConfig()):
        breaker.failed("s3://b/x", "403 AccessDenied", 2, 2)
        while not any("paused" in line for line in said.lines):
            time.sleep(0.01)
        monkeypatch.setattr(pauses, "_WATCH_SECONDS", 60)  # the end comes before the next look
        time.sleep(0.1)
        breaker.worked("s3://b/x", 0.0)
    assert [word for line in said.lines for word in ("paused:", "resumed:") if word in line][-1] == "resumed:"


def test_workers_share_what_they_know_through_the_ledger(monkeypatch, clock):
    """One reads, the other's clip is denied: given up, without a pause."""
    monkeypatch.setattr(patiences.ray, "get", lambda value, **_: value)
    ledger = Ledger(60)
    one, two = (patiences.patience(LIMITS, Handle(ledger)) for _ in range(2))
    failing = StorageFault(BY_CODE["AccessDenied"], "403")
    seen = []

    def denied():
        seen.append(len(seen))
        time.sleep(0.01)
        one.call("s3://b/good", lambda: b"x")
        one._told = float("-inf")
        raise failing

    two.sleep = clock.sleep
    with pytest.raises(StorageFault):
        two.call("s3://b/bad", denied)
    assert len(seen) == BY_CODE["AccessDenied"].attempts
    assert ledger.storage_state() is None
    assert ledger.storage_stop() == ""


def test_the_driver_stops_with_the_words_of_the_breaker(monkeypatch):
    monkeypatch.setattr(pauses.ray, "get", lambda value, **_: value)
    ledger = Ledger(60)
    ledger.breakers["writes"].stopped = "the storage answered for nothing"
    with pytest.raises(StorageError, match="answered for nothing"), pauses.watched(Handle(ledger), LIMITS):
        raise RuntimeError("a worker's traceback")
    ledger.breakers["writes"].stopped = ""
    with pytest.raises(RuntimeError, match="traceback"), pauses.watched(Handle(ledger), LIMITS):
        raise RuntimeError("a worker's traceback")


# Rejects, and how many there may be.


@pytest.mark.parametrize(
    ("text", "most"),
    [
        ("20%", 20),
        ("0.2", 20),
        ("50", 50),
        ("0", 0),
        ("1", 1),
        ("100%", 100),
        ("1.0", 100),
        ("2.5 %", 2),
        ("500", 500),
        ("29%", 29),
        ("0.57", 57),
    ],
)
def test_a_share_or_a_number(text, most):
    assert most_rejects(text, 100) == most


@pytest.mark.parametrize("text", ["many", "120%", "-1", "1.5", "", "-3%", "nan", "nan%", "1e3", "inf", "0x10", "1/2"])
def test_what_is_neither(text):
    with pytest.raises(ConfigError, match="expected a share"):
        most_rejects(text, 100)


def test_rejects_of_clips_are_counted_apart_from_what_waits(tmp_path):
    root = Root(str(tmp_path))
    texts = [("a", "damaged"), ("b", "damaged"), ("c", "storage_failed"), ("d", "not_a_video"), ("other", "damaged")]
    rows = [{"clip_id": n, "uri": n, "stage": "read", "error": e, "message": f"{e} of {n}"} for n, e in texts]
    root.write_shard(pa.Table.from_pylist(rows), ("rejects",), {})
    settled, waiting_ = parted(root, pa.chunked_array([["a", "b", "c", "d", "e"]]))
    assert settled["clip_id"].to_pylist() == ["a", "b", "d"]
    assert waiting_["clip_id"].to_pylist() == ["c"]
    with LineKeeper() as said:
        tell_rejects(settled, waiting_)
    text = "\n".join(said.lines)
    assert "rejects: 3 clips, most frequent reasons:" in text
    assert "storage: 1 clips could not be read; the next run tries them again by itself:" in text
    check_rejects(root, 3, 3, settled)
    words = r"3 clips are rejected, more than the 2 of --max-rejects \(2 read: damaged"
    with pytest.raises(M3RayError, match=words) as error:
        check_rejects(root, 3, 2, settled)
    assert error.value.exit_status == 1


def test_the_storage_is_told_apart_from_the_clip():
    with pytest.raises(DecodeError) as error:
        read_once("/nowhere/x.mp4", 5)
    assert not isinstance(error.value, StorageFault)
