"""One environment a folder: what workers note, what a job refuses. No cluster."""

import json
import platform

import pyarrow as pa
import pytest
import torch

from m3ray.config import ComputeConfig, DecodeConfig, LimitsConfig
from m3ray.console import LineKeeper
from m3ray.errors import ConfigError
from m3ray.pipelines.extraction import versions
from m3ray.pipelines.extraction.decode_stage import DecodeStage
from m3ray.pipelines.extraction.planning import Plan
from m3ray.pipelines.extraction.records import WORK, Decoded, decoded_table
from m3ray.pipelines.extraction.tier_stage import TierColumns, TierStage
from m3ray.pipelines.extraction.versions import (
    check_software,
    check_versions,
    check_worker,
    computed_on,
    with_environment,
)
from m3ray.pipelines.extraction.write_stage import WriteStage
from m3ray.pipelines.runtime.cluster import Resources
from m3ray.schema import vector_schema
from m3ray.storage.root import Root
from m3ray.storage.versions import KEY, environments_of, software
from m3ray.tiers import Weighted
from m3ray.video.sampling import Facts

FOLDERS = {"mean": ("features", "mean-1"), "raw": ("features", "raw-1"), "facts": ("features", "facts-1")}
CPU, GPU = Resources(2, 0), Resources(2, 1, 1)


class MeanTier:
    """The mean colour of a clip."""

    whole_clip, untrained = True, False

    def __init__(self, name="mean"):
        self.name, self.schema = name, vector_schema(name, 3)

    def identity(self):
        return {}

    def setup(self, device):
        self.device = device

    def measure(self, windows):
        return [{self.name: Weighted(w.frames.mean(axis=(0, 1, 2)), len(w.frames))} for w in windows]


def other(part, number):
    return {**software(), part: number}


def planned(root, *asked):
    rows = [{"clip_id": "b", "uri": "/b", "tiers": list(asked)}]
    return Plan(root, (MeanTier(), MeanTier("raw")), FOLDERS, pa.Table.from_pylist(rows, schema=WORK), {}, {}, 0)


def held(tmp_path, environment, folder="mean"):
    root = Root(str(tmp_path))
    metadata = {} if environment is None else {KEY: [environment]}
    root.write_shard(pa.table({"clip_id": ["a"], "mean": [1.0]}), FOLDERS[folder], metadata)
    return root


def said_of(root, *asked, on=CPU, mix=False):
    with LineKeeper() as said:
        check_versions(planned(root, *asked), ComputeConfig(), on, mix=mix)
    return said.lines


def test_the_same_versions_are_silent(tmp_path):
    assert said_of(held(tmp_path, {**software(), "device": "cpu", "precision": "bfloat16"}), "mean") == []
    assert said_of(Root(str(tmp_path / "fresh")), "mean", "raw") == []


def test_a_mix_that_changes_numbers_is_refused_in_a_line_that_names_both(tmp_path):
    root = held(tmp_path, other("torch", "2.0.1"))
    with pytest.raises(ConfigError) as caught:
        said_of(root, "mean")
    assert caught.value.exit_status == 2
    now = software()["torch"]
    assert f"features/mean-1: computed with PyTorch 2.0.1 then and {now} now" in str(caught.value)
    assert "requirements.lock" in str(caught.value)
    assert "--mix-versions" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_mix_is_made_when_asked_for_and_said(tmp_path):
    (line,) = said_of(held(tmp_path, other("opencv", "3.4.0")), "mean", mix=True)
    assert "OpenCV 3.4.0 then" in line
    assert "--mix-versions" in line


def test_a_folder_that_nothing_is_added_to_is_not_asked(tmp_path):
    assert said_of(held(tmp_path, other("torch", "2.0.1")), "raw") == []


def test_another_kind_of_device_is_warned_of_once(tmp_path):
    root = held(tmp_path, {**software(), "device": "cpu"})
    root.write_shard(pa.table({"clip_id": ["a"]}), FOLDERS["raw"], {KEY: [{**software(), "device": "cpu"}]})
    (line,) = said_of(root, "mean", "raw", on=GPU)
    assert "features/mean-1, features/raw-1: computed with device cpu then and gpu now" in line
    assert said_of(root, "mean", "raw") == []


def test_shards_of_an_older_m3ray_are_not_known_and_not_refused(tmp_path):
    root = held(tmp_path, None)
    held(tmp_path, None, "raw")
    (line,) = said_of(root, "mean", "raw")
    assert "mean, raw do not say what they were computed with" in line


def test_a_worker_with_other_software_refuses(monkeypatch):
    check_worker(software())
    check_worker(other("numpy", "1.0.0"))
    check_worker(other("torch", software()["torch"].rpartition(".")[0] + ".77"))  # a patch: no other numbers foreseen
    with pytest.raises(ConfigError) as caught:
        check_worker(other("av", "9.1.0"))
    assert f"node {platform.node()} has PyAV {software()['av']} where the job has 9.1.0" in str(caught.value)
    with pytest.raises(ConfigError, match="PyTorch"):
        TierStage([MeanTier()], DecodeConfig(), LimitsConfig(), 1, software=other("torch", "2.0.1"))
    stage = DecodeStage(DecodeConfig(), LimitsConfig())
    monkeypatch.setattr(versions, "software", lambda: other("libswscale", "1.0.0"))  # of the node it travelled to
    with pytest.raises(ConfigError, match=r"libswscale 1\.0\.0 where the job has"):
        next(stage(WORK.empty_table()))


def computed(*names):
    import numpy as np

    facts = Facts(64, 48, 10.0, 0.3, 3, 3, 999, "mov", "pyav")
    stage = TierStage([MeanTier()], DecodeConfig(), LimitsConfig(), 1)
    clips = [Decoded(name, f"/{name}", ("mean",), facts, np.full((3, 8, 8, 3), 9, np.uint8)) for name in names]
    table = stage(decoded_table(clips))
    torch.set_num_threads(2)
    return table


def test_shards_say_what_their_own_workers_had(tmp_path):
    """Two actors of different GPUs filled one shard: it names both."""
    first, second = computed("a"), computed("b")
    told = json.loads(first["environment"][0].as_py())
    told["tiers"]["mean"] = {"device": "gpu", "processor": "NVIDIA L4", "precision": "bfloat16"}
    first = with_environment(first.drop_columns(["environment"]), json.dumps(told))
    root = Root(str(tmp_path))
    writer = WriteStage(root, [TierColumns("mean", MeanTier().schema)], FOLDERS, {"mean": {"k": 1}, "facts": {}})
    writer(pa.concat_tables([first, second]))
    found = environments_of(root, *FOLDERS["mean"])
    assert sorted(e["processor"] for e in found if e["device"] == "gpu") == ["NVIDIA L4"]
    (ours,) = [e for e in found if e["device"] == "cpu"]
    assert {name: ours[name] for name in software()} == software()
    assert ours["precision"] == "float32"
    assert ours["processor"].startswith(torch.backends.cpu.get_cpu_capability())
    assert root.shard_metadata(*FOLDERS["mean"])["k"] == 1
    (facts,) = environments_of(root, *FOLDERS["facts"])
    assert facts["libavcodec"] == software()["libavcodec"]
    assert "environment" not in root.read_shards(*FOLDERS["mean"]).column_names


def test_the_precision_is_the_network_s():
    class Loaded:
        precision = torch.bfloat16

    assert computed_on(torch.device("cpu"), Loaded())["precision"] == "bfloat16"


def test_float32_on_a_gpu_that_rounds_convolutions_is_called_so(monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "NVIDIA L4")
    for capability, expected in (((8, 9), "tf32"), ((7, 5), "float32")):
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device, found=capability: found)
        told = computed_on(torch.device("cuda", 0))
        assert (told["device"], told["processor"], told["precision"]) == ("gpu", "NVIDIA L4", expected)


def test_preflight_compares_what_a_worker_of_each_kind_of_node_told():
    check_software(software(), {}, "the workers of a")  # one that did not tell
    with pytest.raises(ConfigError, match=r"the workers of gpu_spot: 16 CPUs has OpenCV 3\.4\.0 where the job has"):
        check_software(software(), other("opencv", "3.4.0"), "the workers of gpu_spot: 16 CPUs")
