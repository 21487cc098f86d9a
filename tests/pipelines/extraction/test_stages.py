"""The stages between Ray's operators, called as plain functions: no cluster."""

import json

import numpy as np
import pyarrow as pa
import pytest
import torch
from drawn import pictures

from m3ray.config import ComputeConfig, DecodeConfig, LimitsConfig
from m3ray.console import LineKeeper
from m3ray.errors import DecodeError, M3RayError
from m3ray.pipelines.extraction.decode_stage import DecodeStage
from m3ray.pipelines.extraction.planning import Plan
from m3ray.pipelines.extraction.records import WORK, Decoded, Failure, decoded_rows, decoded_table, failure_of
from m3ray.pipelines.extraction.run import finish
from m3ray.pipelines.extraction.tier_stage import TierColumns, TierStage
from m3ray.pipelines.extraction.write_stage import WriteStage
from m3ray.pipelines.runtime.cluster import Resources
from m3ray.pipelines.runtime.job import Job
from m3ray.pipelines.runtime.progress import Progress, StageSeconds
from m3ray.schema import vector, vector_schema
from m3ray.storage.root import Root
from m3ray.tiers import Weighted
from m3ray.video.encode import encode_clip
from m3ray.video.sampling import Facts

FACTS = Facts(64, 48, 10.0, 0.3, 3, 3, 999, "mov", "pyav")


class MeanTier:
    """A tier of one vector: the mean colour. It fails on black clips."""

    name, whole_clip, untrained = "mean", True, False
    schema = vector_schema("mean", 3)

    def identity(self):
        return {}

    def setup(self, device):
        self.device = device

    def measure(self, windows):
        out = []
        for window in windows:
            if not window.frames.any():
                raise ValueError("too dark")
            out.append({"mean": Weighted(window.frames.mean(axis=(0, 1, 2)), len(window.frames))})
        return out


def decoded(name, brightness):
    return Decoded(name, f"/{name}", ("mean",), FACTS, np.full((3, 8, 8, 3), brightness, np.uint8), seconds=0.5)


def test_rows_survive_the_journey_as_arrow():
    bad = Decoded("b", "/b", ("mean",), failure=Failure("decode", "damaged", "words"))
    first, second = decoded_rows(decoded_table([decoded("a", 7), bad]))
    assert np.array_equal(first.frames, decoded("a", 7).frames)
    assert not first.frames.flags.owndata, "a view of the batch, not a copy"
    assert (first.facts, first.tiers, first.seconds) == (FACTS, ("mean",), 0.5)
    assert (second.frames, second.failure) == (None, bad.failure)


def test_a_clip_that_fails_takes_no_other_with_it():
    stage = TierStage([MeanTier()], DecodeConfig(), LimitsConfig(), 1)
    rows = stage.compute([decoded("a", 10), decoded("dark", 0), decoded("c", 30)])
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
    (row,) = decoded_rows(table)
    assert (row.frames, row.facts.sampled) == (None, 20)
    (computed,) = TierStage([MeanTier()], config, LimitsConfig(), 1).compute([row])
    assert computed.facts == row.facts
    assert computed.decode_seconds > row.seconds
    (table,) = DecodeStage(DecodeConfig(), LimitsConfig())(pa.Table.from_pylist(work, schema=WORK))
    (whole,) = decoded_rows(table)
    np.testing.assert_allclose(computed.values["mean"]["mean"], whole.frames.mean(axis=(0, 1, 2)))


def test_a_clip_that_was_not_asked_for_a_tier_gets_none():
    stage = TierStage([MeanTier()], DecodeConfig(), LimitsConfig(), 1)
    (row,) = stage.compute([Decoded("a", "/a", (), FACTS, decoded("a", 1).frames)])
    assert row.values == {}
    assert row.failure is None


def test_the_writer_parts_features_facts_and_rejects(tmp_path):
    root = Root(str(tmp_path))
    stage = TierStage([MeanTier()], DecodeConfig(), LimitsConfig(), 1)
    batch = stage(decoded_table([decoded("a", 10), decoded("dark", 0)]))
    folders = {"mean": ("features", "mean-1"), "facts": ("features", "facts-1")}
    writer = WriteStage(root, [TierColumns("mean", MeanTier.schema)], folders, {"mean": {"k": 1}, "facts": {}})
    (counts,) = writer(batch).to_pylist()
    assert (counts["done"], counts["rejected"]) == (1, 1)
    assert json.loads(counts["seconds"])["decode"] == 1.0
    table = root.read_shards("features", "mean-1")
    assert table.to_pylist() == [{"clip_id": "a", "mean": [10.0, 10.0, 10.0]}]
    assert table.schema.field("mean").type == vector(3)
    assert root.read_shards("rejects").to_pylist()[0]["message"] == "ValueError: too dark"
    assert root.read_shards("features", "facts-1").to_pylist()[0]["video_bytes"] == 999


def test_a_clip_that_vanished_is_an_error_that_names_it(tmp_path):
    root = Root(str(tmp_path))
    folders = {"mean": ("features", "mean-1"), "facts": ("features", "facts-1")}
    root.write_json({"facts": {"folder": "facts-1"}}, "artifacts", "tiers.json")
    catalogue = pa.table({"clip_id": ["a", "gone"], "uri": ["/a", "/gone"]})
    root.write_shard(pa.table({"clip_id": ["a"], "mean": [1.0]}), folders["mean"], {})
    plan = Plan(root, (MeanTier(),), folders, WORK.empty_table(), {}, {}, 0)
    with pytest.raises(M3RayError, match="1 clips, gone among them, have neither mean features nor a row in rejects"):
        finish(Job(root, "extract"), plan, catalogue, 1)


def test_decoding_errors_become_rows(tmp_path):
    work = pa.Table.from_pylist([{"clip_id": "x", "uri": str(tmp_path / "x.mp4"), "tiers": ["mean"]}], schema=WORK)
    (table,) = DecodeStage(DecodeConfig(), LimitsConfig())(work)
    (row,) = decoded_rows(table)
    assert row.failure is not None
    assert (row.failure.stage, row.failure.error) == ("read", "missing_file")


def test_failures_say_what_was_got():
    assert failure_of(DecodeError("damaged", "words", stage="demux"), "tier") == Failure("demux", "damaged", "words")
    assert failure_of(KeyError("k"), "tier").message == "KeyError: 'k'"


def test_progress_counts_and_names_the_bottleneck():
    with LineKeeper() as said, Progress("extract", 4, "CPUs") as progress:
        progress.add(3, 1, {"decode": 1.0, "event": 3.0})
    text = "\n".join(said.lines)
    assert "extract: 4/4 done, 1 rejected" in text
    assert progress.seconds.bottleneck() == "event"
    assert "75 %  <- most of the work" in text
    assert StageSeconds().bottleneck() is None


def test_a_still_job_says_what_it_waits_for(monkeypatch):
    monkeypatch.setattr("m3ray.pipelines.runtime.progress._STILL_SECONDS", 0.05)
    with LineKeeper() as said, Progress("extract", 4, "a GPU"):
        import time

        time.sleep(0.3)
    assert any("nothing finished for" in line and "waiting for a GPU" in line for line in said.lines)


@pytest.mark.parametrize(
    ("on", "compute", "expected"),
    [
        (Resources(2, 0), ComputeConfig(), (1, 2, 1)),
        (Resources(16, 0), ComputeConfig(), (8, 2, 1)),
        (Resources(16, 4), ComputeConfig(), (4, 4, 8)),
        (Resources(4, 0), ComputeConfig(actors=4, threads=1, clips_per_batch=3), (4, 1, 3)),
    ],
)
def test_actors_threads_and_batches(on, compute, expected):
    assert (on.actors(compute), on.threads(compute), on.batch(compute)) == expected
