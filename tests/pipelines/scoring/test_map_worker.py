"""The worker that maps clips: what it writes, and which failures are one clip's alone."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from made_maps import make_map

from m3ray.config import LimitsConfig
from m3ray.config.explain_options import ExplainConfig
from m3ray.errors import ConfigError, DecodeError, FeatureError, StorageError
from m3ray.pipelines.extraction.device_faults import DeviceFaultError
from m3ray.pipelines.scoring import map_worker
from m3ray.pipelines.scoring.map_worker import MapSettings, MapWork, MapWorker, describe_map, find_peak
from m3ray.scoring import explanations, scorer
from m3ray.scoring.explanations.explained_files import (
    MAPS,
    OVERLAYS,
    name_clip_files,
    read_explained,
    read_map,
    read_origin,
)
from m3ray.storage.root import Root

CLIP = MapWork("a.mp4", "/videos/a.mp4", "stamp")


@pytest.fixture
def settings(tmp_path):
    folder = Root(str(tmp_path / "explanations"))
    origin = {"bundle": "m3s", "catalogue": "predict"}
    return MapSettings("models/m3s", ExplainConfig(budget=8), folder, "source", origin, LimitsConfig())


@pytest.fixture
def worker(settings):
    return MapWorker(settings)


def answer(monkeypatch, result):
    """`explain_clip` gives a map, or raises; what it was called with is returned."""
    called = []

    def explain_clip(*given, **named):
        called.append((given, named))
        if isinstance(result, Exception):
            raise result
        return result

    monkeypatch.setattr(explanations, "explain_clip", explain_clip)
    return called


def test_a_map_is_written_with_its_row_and_its_picture(worker, settings, monkeypatch):
    called = answer(monkeypatch, make_map())
    row = worker.compute(replace(CLIP, tiers={"text": {"text": np.ones((1, 2))}}))
    (given, named) = called[0]
    assert (given[1].clip_id, given[1].data, given[2].budget) == ("a.mp4", "/videos/a.mp4", 8)
    assert named["tiers"]["text"]["text"].shape == (1, 2)
    assert (row["score"], row["segments"], row["rows"], row["columns"], row["evaluations"]) == (0.7, 2, 2, 2, 8)
    assert (row["peak_t"], row["peak_y"], row["peak_x"], row["peak_effect"]) == (1.5, 0.25, 0.25, 0.08)
    assert (row["reason"], row["source"], row["stamp"]) == (None, "source", "stamp")
    folder, name = settings.folder, name_clip_files("a.mp4")
    assert read_explained(folder, pictures=True).to_pylist() == [row]
    assert read_map(folder, "a.mp4").num_rows == 8
    assert folder.list_names(OVERLAYS) == [f"{name}.webp"]
    assert folder.read_bytes(OVERLAYS, f"{name}.webp")[8:12] == b"WEBP"
    assert read_origin(folder) == settings.origin


def test_an_image_has_a_still_picture(worker, settings, monkeypatch):
    answer(monkeypatch, make_map(frames=1))
    row = worker.compute(CLIP)
    assert row["overlay"].endswith(".png")
    assert row["peak_t"] == 0
    assert settings.folder.read_bytes(OVERLAYS, row["overlay"]).startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (DecodeError("damaged", "no frame", "decode"), "no frame"),
        (FeatureError("a.mp4: raw is not finite"), "raw is not finite"),
        (ValueError("an odd\nshape"), "ValueError: an odd shape"),
        (torch.OutOfMemoryError("CUDA out of memory"), "OutOfMemoryError: CUDA out of memory"),
    ],
)
def test_what_is_one_clip_s_trouble_is_its_row(worker, settings, monkeypatch, error, reason):
    answer(monkeypatch, error)
    row = worker.compute(CLIP)
    assert row["reason"].endswith(reason)
    assert read_explained(settings.folder)["reason"].to_pylist() == [row["reason"]]
    assert settings.folder.list_names(MAPS) == []


@pytest.mark.parametrize("error", [ConfigError("gradients: raw has none"), StorageError("no answer")])
def test_what_every_clip_would_fail_with_ends_the_work(worker, settings, monkeypatch, error):
    answer(monkeypatch, error)
    with pytest.raises(type(error)):
        worker.compute(CLIP)
    assert read_explained(settings.folder).num_rows == 0


def test_a_gpu_that_failed_ends_the_process(worker, monkeypatch):
    answer(monkeypatch, RuntimeError("CUDA error: an illegal memory access was encountered"))
    with pytest.raises(DeviceFaultError, match="illegal memory access"):
        worker.compute(CLIP)


def test_the_bundle_is_opened_once_on_the_promised_device(settings, monkeypatch):
    opened = []
    monkeypatch.setattr(scorer, "Scorer", lambda *given, **named: opened.append((given, named)) or "scorer")
    monkeypatch.setattr(map_worker, "check_worker", opened.append)
    threads = torch.get_num_threads()
    try:
        worker = MapWorker(replace(settings, threads=1, allow_other_weights=True))
        worker.open()
        assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(threads)
    assert opened == [settings.software, (("models/m3s", LimitsConfig()), {"allow_other_weights": True})]
    assert worker.scorer == "scorer"


def test_a_map_in_words_has_what_adds_and_what_takes():
    said = describe_map(make_map())
    assert said["adds"][0].startswith("upper left (x 0-50 %, y 0-50 %), 1.0-2.0 s: +0.080 ± ")
    assert (len(said["adds"]), len(said["takes"])) == (1, 3), "+0.002 is within its doubt"
    assert all(": -0.010" in line for line in said["takes"])
    assert "8 versions scored" in said["resolution"]
    assert find_peak(make_map(frames=1))["peak_t"] == 0
