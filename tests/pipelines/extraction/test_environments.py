"""The environment that rows were computed in, from a tier actor into a shard."""

import json

import pyarrow as pa
import torch
from mean_tier import FOLDERS, MeanTier

from m3ray.config import DecodeConfig, LimitsConfig
from m3ray.pipelines.extraction.environments import add_environment, describe_device
from m3ray.pipelines.extraction.records import DecodedClip, pack_decoded_clips
from m3ray.pipelines.extraction.tier_columns import TierColumns
from m3ray.pipelines.extraction.tier_stage import TierStage
from m3ray.pipelines.extraction.write_stage import WriteStage
from m3ray.storage.root import Root
from m3ray.storage.versions import read_environments, software_versions
from m3ray.tiers.precision import float32_precision
from m3ray.video.metadata import VideoMetadata


def compute(*names):
    import numpy as np

    facts = VideoMetadata(64, 48, 10.0, 0.3, 3, 3, 999, "mov", "pyav")
    stage = TierStage([MeanTier()], DecodeConfig(), LimitsConfig(), 1)
    clips = [DecodedClip(name, f"/{name}", ("mean",), facts, np.full((3, 8, 8, 3), 9, np.uint8)) for name in names]
    table = stage(pack_decoded_clips(clips))
    torch.set_num_threads(2)
    return table


def test_shards_say_what_their_own_workers_had(tmp_path):
    """Two actors of different GPUs filled one shard: it names both."""
    first, second = compute("a"), compute("b")
    environment = json.loads(first["environment"][0].as_py())
    environment["tiers"]["mean"] = {"device": "gpu", "processor": "NVIDIA L4", "precision": "bfloat16"}
    first = add_environment(first.drop_columns(["environment"]), json.dumps(environment))
    root = Root(str(tmp_path))
    writer = WriteStage(root, [TierColumns("mean", MeanTier().schema)], FOLDERS, {"mean": {"k": 1}, "facts": {}})
    writer(pa.concat_tables([first, second]))
    environments = read_environments(root, *FOLDERS["mean"])
    assert sorted(e["processor"] for e in environments if e["device"] == "gpu") == ["NVIDIA L4"]
    (ours,) = [e for e in environments if e["device"] == "cpu"]
    assert {name: ours[name] for name in software_versions()} == software_versions()
    assert ours["precision"] == "float32"
    assert ours["processor"].startswith(torch.backends.cpu.get_cpu_capability())
    assert root.read_shard_metadata(*FOLDERS["mean"])["k"] == 1
    (facts,) = read_environments(root, *FOLDERS["facts"])
    assert facts["libavcodec"] == software_versions()["libavcodec"]
    assert "environment" not in root.read_shards(*FOLDERS["mean"]).column_names


def test_the_precision_is_the_network_s():
    class Loaded:
        precision = torch.bfloat16

    assert describe_device(torch.device("cpu"), Loaded())["precision"] == "bfloat16"


def test_a_network_that_takes_tensorfloat_on_a_gpu_that_has_it_is_called_so(monkeypatch):
    class Loaded:
        precision, tf32 = torch.float32, True

    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "NVIDIA L4")
    for capability, network, expected in (
        ((8, 9), Loaded(), "tf32"), ((7, 5), Loaded(), "float32"), ((8, 9), None, "float32"),
    ):  # fmt: skip
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device, value=capability: value)
        environment = describe_device(torch.device("cuda", 0), network)
        assert (environment["device"], environment["processor"], environment["precision"]) == (
            "gpu",
            "NVIDIA L4",
            expected,
        )


def test_a_backend_whose_precision_was_set_by_itself_is_no_obstacle(monkeypatch):
    """`torch.backends.cudnn.allow_tf32` raises then."""
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "NVIDIA L4")
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (8, 9))
    with float32_precision(tf32=True):
        assert describe_device(torch.device("cuda", 0))["precision"] == "float32"
