"""The tier stage, called as a plain function: no cluster."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from broken_tier import POISON, BrokenTier, FakeGpuStage
from failing_storage import LIMITS, make_work, upload_clips
from faulty_s3 import scripted_s3
from ledgers import Handle
from mean_tier import METADATA, MeanTier, gray_clip

from m3ray.config import ComputeConfig, DecodeConfig, LimitsConfig
from m3ray.errors import LostDeviceError
from m3ray.pipelines.extraction import crash_guard, device_guard, tier_stage
from m3ray.pipelines.extraction.crash_guard import Ledger
from m3ray.pipelines.extraction.decode_stage import DecodeStage
from m3ray.pipelines.extraction.device_faults import DeviceFaultError
from m3ray.pipelines.extraction.records import DecodedClip, Failure, Part, pack_decoded_clips, unpack_decoded_clips
from m3ray.pipelines.extraction.tier_stage import TierStage


def test_a_clip_that_fails_takes_no_other_with_it():
    stage = TierStage([MeanTier()], DecodeConfig(), LimitsConfig(), 1)
    rows = stage.compute([gray_clip("a", 10), gray_clip("dark", 0), gray_clip("c", 30)])
    assert [row.clip_id for row in rows] == ["a", "dark", "c"]
    assert rows[1].failure == Failure("tier", "ValueError", "ValueError: too dark")
    assert rows[0].values["mean"]["mean"].tolist() == [10, 10, 10]
    assert rows[2].values["mean"]["mean"].tolist() == [30, 30, 30]
    torch.set_num_threads(2)


def test_windows_of_clips_share_a_batch_and_keep_their_weights():
    tier, sizes = MeanTier(), []
    compute = tier.compute
    tier.compute = lambda windows: sizes.append(len(windows)) or compute(windows)
    stage = TierStage([tier], DecodeConfig(), LimitsConfig(), 1)
    parts = [replace(gray_clip("long", 10 + k), part=Part(k, 2)) for k in range(2)]
    first, short, second = stage.compute([parts[0], gray_clip("short", 30), parts[1]])
    assert sizes == [3]
    assert (first.values, second.values, short.windows) == ({}, {}, {})
    assert [row.windows["mean"]["mean"].value.tolist() for row in (first, second)] == [[10] * 3, [11] * 3]
    assert first.windows["mean"]["mean"].weight == 3, "frames"
    assert (first.part, second.part) == (Part(0, 2), Part(1, 2))


def test_tiers_see_the_position_of_a_window_and_the_frame_before_it():
    seen = []
    tier = MeanTier()
    tier.compute = lambda windows: seen.extend(windows) or [{}]
    lead = np.full((1, 8, 8, 3), 7, np.uint8)
    stage = TierStage([tier], DecodeConfig(), LimitsConfig(), 1)
    stage.compute([replace(gray_clip("long", 10), part=Part(4, 9), lead=lead)])
    (window,) = seen
    assert (window.index, window.video_bytes) == (4, METADATA.video_bytes)
    np.testing.assert_array_equal(window.lead, lead[0])


def test_a_clip_that_was_not_asked_for_a_tier_gets_none():
    stage = TierStage([MeanTier()], DecodeConfig(), LimitsConfig(), 1)
    (row,) = stage.compute([DecodedClip("a", "/a", (), METADATA, gray_clip("a", 1).frames)])
    assert row.values == {}
    assert row.failure is None


def test_one_get_a_clip_short_or_long():
    """However many windows it has."""
    tier = MeanTier()
    with scripted_s3(lambda *_: None) as requests:
        upload_clips(4)
        del requests[:]
        config = DecodeConfig(window_frames=3)  # the clips have 4 frames
        decode, compute = DecodeStage(config, LIMITS), TierStage([tier], config, LIMITS, 1)
        rows = [row for table in decode(make_work(4)) for row in unpack_decoded_clips(table)]
        results = compute.compute(rows)
        assert [(row.part.index, len(row.frames)) for row in rows] == [(0, 3), (1, 1)] * 4
        assert [row.failure for row in results] == [None] * 8
        assert [row.metadata.sampled for row in results] == [4] * 8
        assert sum(method == "GET" for method, _ in requests) == len(requests) == 4
        del requests[:]
        whole = DecodeStage(DecodeConfig(), LIMITS)
        assert all(row.frames is not None for table in whole(make_work(4)) for row in unpack_decoded_clips(table))
        assert len(requests) == 4


# Devices. GPUs are in name alone: `FakeGpuStage` computes on the CPU.


@pytest.fixture
def on_gpu(monkeypatch, tmp_path):
    """From a tier's arguments to a stage on a GPU, and its ledger."""
    context = type("Context", (), {"get_node_id": lambda self: "node-1"})()
    fake = type("Ray", (), {"get": staticmethod(lambda value: value), "get_runtime_context": lambda: context,
                            "nodes": lambda: [{"NodeID": "node-1", "Alive": True}]})  # fmt: skip
    monkeypatch.setattr(device_guard, "ray", fake)
    monkeypatch.setattr(crash_guard, "ray", fake)
    monkeypatch.setattr(device_guard, "gpu_name", lambda: "node-1:0")
    monkeypatch.setattr(device_guard, "_describe_gpu", lambda: "GPU 0")
    monkeypatch.setattr("broken_tier.assigned_gpus", lambda: ["0"])
    monkeypatch.setattr(device_guard.os, "_exit", end)
    ledger = Ledger()
    ledger.devices.start_pass(2, 2)

    def make(**more):
        tiers = [BrokenTier(tmp_path, **more)]
        return FakeGpuStage(tiers, DecodeConfig(size=8), LimitsConfig(), 2, ledger=Handle(ledger), gpu=True)

    return make, ledger


class Ended(BaseException):
    """Stands for the end of the process."""


def end(status):
    raise Ended(status)


def test_a_stage_that_was_promised_a_gpu_never_falls_back():
    stage = TierStage([MeanTier()], DecodeConfig(), LimitsConfig(), 1, gpu=True)
    if not torch.cuda.is_available():
        with pytest.raises(DeviceFaultError, match="a GPU was promised to "):
            stage(pack_decoded_clips([gray_clip("a", 10)]))
    assert TierStage([MeanTier()], DecodeConfig(), LimitsConfig(), 1).device == torch.device("cpu")
    torch.set_num_threads(2)


def test_the_raw_tier_may_stay_on_the_cpu(monkeypatch):
    monkeypatch.setattr(tier_stage, "take_device", lambda gpu: torch.device("meta"))
    tiers = MeanTier(), MeanTier("raw")
    TierStage(tiers, DecodeConfig(), LimitsConfig(), 1, ComputeConfig(raw_device="cpu"))
    assert [tier.device.type for tier in tiers] == ["meta", "cpu"]


def test_a_device_fault_ends_the_process_and_rejects_nothing(on_gpu):
    make, ledger = on_gpu
    with pytest.raises(Ended):
        make(broken_gpus=("0",))(pack_decoded_clips([gray_clip("a", 10), gray_clip("b", 20)]))
    assert ledger.in_progress == {}
    assert [sorted(clips) for clips in ledger.devices.gpus["node-1:0"].failures] == [["tier:a", "tier:b"]]
    assert ledger.devices.gpus["node-1:0"].reason == "CUDA error: an illegal memory access was encountered"
    with pytest.raises(Ended):
        make(broken_gpus=("0",))(pack_decoded_clips([gray_clip("a", 10)]))
    assert ledger.devices.gpus["node-1:0"].failures[1] == frozenset(), "gray frames were computed first, and failed"


def test_a_fault_names_the_window_of_a_clip(on_gpu):
    make, ledger = on_gpu
    stage = make(broken_gpus=("0",))
    with pytest.raises(Ended):
        stage(pack_decoded_clips([replace(gray_clip("long", 10), part=Part(1, 2))]))
    assert ledger.suspects["tier:0.1/long"].device_faults == {"node-1:0": 1}


def test_a_poisonous_clip_is_one_reject_with_cuda_s_words(on_gpu):
    make, ledger = on_gpu
    batch = pack_decoded_clips([gray_clip("a", 10), gray_clip("p", POISON), gray_clip("c", 30)])
    ended = 0
    while True:
        try:
            table = make()(batch)
            break
        except Ended:
            ended += 1
    assert ended == 4, "once with the batch, three times alone"
    assert table["error"].to_pylist() == [None, "worker_crashed", None]
    assert "CUDA error: an illegal memory access" in table["message"][1].as_py()
    assert ledger.devices.count_banned() == 0


def test_a_banned_gpu_s_process_hands_clips_back_but_those_that_decoding_rejected(on_gpu):
    make, ledger = on_gpu
    ledger.devices.enter("node-1:0", "GPU 0")
    for _ in range(3):
        ledger.lose_device("node-1:0", [], "words")
    ledger.devices.start_pass(1, 2)
    bad = DecodedClip("bad", "/bad", ("mean",), failure=Failure("decode", "damaged", "words"))
    table = make()(pack_decoded_clips([gray_clip("a", 10), bad]))
    assert table["error"].to_pylist() == ["device_lost", "damaged"]
    ledger.devices.start_pass(1, 1)
    with pytest.raises(LostDeviceError, match="no GPU is left"):
        make()(pack_decoded_clips([gray_clip("a", 10)]))


def test_networks_that_cannot_be_loaded_onto_the_gpu_are_its_fault(on_gpu, monkeypatch):
    make, ledger = on_gpu

    def setup(self, device):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 1.00 GiB.")

    monkeypatch.setattr(BrokenTier, "setup", setup)
    stage = make()
    with pytest.raises(Ended):
        stage(pack_decoded_clips([gray_clip("a", 10)]))
    assert ledger.devices.gpus["node-1:0"].failures == [frozenset()]
    assert ledger.suspects == {}


def test_memory_that_runs_out_halves_the_batch_and_loses_no_clip(on_gpu, tmp_path):
    make, ledger = on_gpu
    stage = make(most=2)
    for _ in range(2):
        rows = stage.compute([gray_clip(name, 10 + k) for k, name in enumerate("abcde")])
        assert [row.failure for row in rows] == [None] * 5
        assert [int(row.values["mean"]["mean"][0]) for row in rows] == [10, 11, 12, 13, 14]
    assert [count for _, count in stage.tiers[0].read_notes()] == [5, 3, 2, 1, 2, 2, 2, 1]
    assert ledger.devices.gpus["node-1:0"].failures == []


def test_a_clip_that_does_not_fit_alone_is_one_reject_with_its_size(on_gpu):
    make, _ = on_gpu
    large = DecodedClip("large", "/large", ("mean",), METADATA, np.full((9, 8, 8, 3), 50, np.uint8))
    rows = make(most_frames=5).compute([gray_clip("a", 10), large, gray_clip("c", 30)])
    assert [row.failure and row.failure.error for row in rows] == [None, "out_of_memory", None]
    assert rows[1].failure.message.startswith("9 x 8 x 8 (frames x height x width) do not fit alone into the ")


def test_what_cuda_says_on_a_cpu_is_the_clip_s(tmp_path):
    """Nothing was promised there, so nothing was lost."""
    tier = BrokenTier(tmp_path, ("",))
    stage = TierStage([tier], DecodeConfig(), LimitsConfig(), 2)
    (row,) = stage.compute([gray_clip("a", 10)])
    assert row.failure.error == "AcceleratorError"


def test_deterministic_algorithms_are_asked_for_on_a_gpu(on_gpu, monkeypatch):
    asked = []
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    monkeypatch.setattr(torch, "use_deterministic_algorithms", lambda on, warn_only: asked.append((on, warn_only)))
    monkeypatch.setattr(torch.backends.cudnn, "benchmark", True)
    for gpu in (False, True):
        FakeGpuStage([MeanTier()], DecodeConfig(), LimitsConfig(), 2, ComputeConfig(deterministic=True), gpu=gpu)
    assert asked == [(True, True)]
    assert tier_stage.os.environ.pop("CUBLAS_WORKSPACE_CONFIG") == ":4096:8"
    assert not torch.backends.cudnn.benchmark
