"""Which weights a job uses."""

import hashlib
import urllib.error
from http import HTTPStatus
from importlib.util import find_spec

import pytest
import torch

from m3ray.config import EventConfig, TierConfigs
from m3ray.config.presets import PUBLISHED
from m3ray.errors import ConfigError, WeightsError
from m3ray.tiers import WeightSource
from m3ray.tiers.weight_sources import MAX_TRIAL_CLIPS, pin_weights, weight_sources


def test_auto_weights_fall_back_for_a_trial_and_refuse_a_big_job(monkeypatch):
    def no_network(*_, **__):
        raise WeightsError("cannot download")

    monkeypatch.setattr("m3ray.tiers.weight_sources.fetch", no_network)
    assert weight_sources("auto", ["scene"], TierConfigs(), clips=10)["scene"].untrained
    with pytest.raises(WeightsError):
        weight_sources("auto", ["scene"], TierConfigs(), clips=100_000)
    with pytest.raises(WeightsError):
        weight_sources("published", ["scene"], TierConfigs(), clips=10)


def test_weights_from_a_file(tmp_path):
    torch.save({}, tmp_path / "w.pth")
    (tmp_path / "weights.json").write_text('{"scene": {"path": "w.pth"}}')
    source = weight_sources(str(tmp_path / "weights.json"), ["raw", "scene"], TierConfigs(), clips=1)["scene"]
    assert source.sha256 is not None
    assert source.location == str(tmp_path / "w.pth")
    with pytest.raises(ConfigError, match="names no weights for event"):
        weight_sources(str(tmp_path / "weights.json"), ["event"], TierConfigs(), clips=1)
    with pytest.raises(ConfigError, match="expected published"):
        weight_sources("publishd", ["scene"], TierConfigs(), clips=1)


@pytest.fixture
def downloads(monkeypatch, tmp_path):
    """A network in which every address has a file: the addresses asked for."""
    addresses = []

    def fetch(location, sha256):
        addresses.append(location)
        (tmp_path / "file.pth").write_bytes(b"weights")
        return tmp_path / "file.pth"

    monkeypatch.setattr("m3ray.tiers.weight_sources.fetch", fetch)
    return addresses


def test_published_weights_are_those_of_the_variant_with_their_hash(downloads):
    configs = TierConfigs(event=EventConfig(network="ir"))
    sources = weight_sources("published", ["raw", "scene", "event", "text"], configs, clips=1)
    assert downloads == [PUBLISHED["scene"], PUBLISHED["event:ir"]]
    assert list(sources) == ["scene", "event"]
    assert {source.sha256 for source in sources.values()} == {hashlib.sha256(b"weights").hexdigest()}


def test_a_demo_and_the_untrained_need_no_network(downloads):
    for choice, demo in (("auto", True), ("untrained", False)):
        sources = weight_sources(choice, ["scene"], TierConfigs(), clips=10 * MAX_TRIAL_CLIPS, demo=demo, seed=4)
        assert sources == {"scene": WeightSource(seed=4)}
    assert downloads == []


def test_a_trial_ends_at_its_limit(monkeypatch):
    def fail(*_):
        raise WeightsError("offline")

    monkeypatch.setattr("m3ray.tiers.weight_sources.fetch", fail)
    assert weight_sources("auto", ["scene"], TierConfigs(), clips=MAX_TRIAL_CLIPS)["scene"].untrained
    with pytest.raises(WeightsError, match="offline"):
        weight_sources("auto", ["scene"], TierConfigs(), clips=MAX_TRIAL_CLIPS + 1)


def test_entries_of_a_file_may_be_a_path_or_a_url(tmp_path):
    (tmp_path / "w.pth").write_bytes(b"weights")
    (tmp_path / "weights.json").write_text('{"scene": "w.pth", "event": {"size": 3}}')
    source = weight_sources(str(tmp_path / "weights.json"), ["scene"], TierConfigs(), clips=1)["scene"]
    assert source == WeightSource(str(tmp_path / "w.pth"), hashlib.sha256(b"weights").hexdigest())
    with pytest.raises(ConfigError, match=r"event is \{'size': 3\}; expected a path"):
        weight_sources(str(tmp_path / "weights.json"), ["event"], TierConfigs(), clips=1)


@pytest.mark.parametrize("choice", ["auto", "published", "untrained"])
def test_a_scorer_has_its_package_s_weights_whatever_the_choice(monkeypatch, downloads, choice):
    asked = []

    def find(name, *, allow_other):
        asked.append((name, allow_other))
        return WeightSource("model.pt", "a" * 64)

    monkeypatch.setattr("m3ray.tiers.weight_sources.find_weights", find)
    sources = weight_sources(choice, ["scene", "resmem"], TierConfigs(), clips=1, demo=True, allow_other=True)
    assert sources["resmem"] == WeightSource("model.pt", "a" * 64)
    assert asked == [("resmem", True)]


def test_a_file_may_name_a_scorer_s_weights(tmp_path, monkeypatch):
    def find(name, *, allow_other):
        raise AssertionError(f"{name} is in the file")

    monkeypatch.setattr("m3ray.tiers.weight_sources.find_weights", find)
    (tmp_path / "v.pth").write_bytes(b"weights")
    digest = hashlib.sha256(b"weights").hexdigest()
    (tmp_path / "weights.json").write_text(f'{{"vitmem": {{"path": "v.pth", "sha256": "{digest}"}}}}')
    sources = weight_sources(str(tmp_path / "weights.json"), ["vitmem"], TierConfigs(), clips=1)
    assert sources == {"vitmem": WeightSource(str(tmp_path / "v.pth"), digest)}


@pytest.mark.skipif(find_spec("open_clip") is None, reason="open_clip is not installed: pip install 'm3ray[clip]'")
@pytest.mark.parametrize("status", [HTTPStatus.NOT_FOUND, HTTPStatus.BAD_GATEWAY])
def test_of_two_names_of_a_published_file_the_one_that_exists_is_taken(tmp_path, monkeypatch, status):
    def fetch(url, sha256):
        if url.endswith(".safetensors"):
            raise WeightsError(f"cannot download {url}") from urllib.error.HTTPError(url, status, "", None, None)
        (tmp_path / "w.bin").write_bytes(b"weights")
        return tmp_path / "w.bin"

    monkeypatch.setattr("m3ray.tiers.weight_sources.fetch", fetch)
    tier = "clip:ViT-B-32.laion2b_s34b_b79k"
    if status is HTTPStatus.NOT_FOUND:
        found = weight_sources("published", [tier], TierConfigs(), clips=1)[tier]
        assert found.location.endswith("open_clip_pytorch_model.bin")
    else:
        with pytest.raises(WeightsError, match=r"cannot download .*safetensors"):
            weight_sources("published", [tier], TierConfigs(), clips=1)


def test_untrained_weights_have_nothing_to_pin(downloads):
    source = WeightSource(seed=2)
    assert pin_weights(source) is source
    assert downloads == []
