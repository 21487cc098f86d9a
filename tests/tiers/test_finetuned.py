"""Finetuned networks as tiers: what a bundle computes is what the training saw."""

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from m3ray.config import FinetunedConfig, TierConfigs
from m3ray.config.finetuning import FinetuneConfig
from m3ray.errors import ConfigError
from m3ray.model import MLP
from m3ray.tiers import Window
from m3ray.tiers.backbones import fill_untrained_, hrnetv2_w48, ip_csn_152, sha256_of
from m3ray.tiers.base import average_windows
from m3ray.tiers.factory import TierInputs, make_tiers, select_computed
from m3ray.tiers.finetuned import FINETUNED, build_networks, network_file_name, tier_of_network_file
from m3ray.tiers.network import WeightSource
from m3ray.training.finetuning.model import FinetuneModel

CONFIG = FinetunedConfig(precision="float32", size=64, network="ip", untrained=True)


@pytest.fixture(scope="module")
def networks():
    return {"scene": fill_untrained_(hrnetv2_w48(), 3), "event": fill_untrained_(ip_csn_152(), 3)}


def test_the_tiers_vectors_are_the_training_s(networks, tmp_path):
    sources = {}
    for name, module in networks.items():
        path = tmp_path / f"tuned-{name}.safetensors"
        save_file({k: v for k, v in module.state_dict().items() if "num_batches" not in k}, path)
        sources[f"tuned:{name}"] = WeightSource(str(path), sha256_of(path))
    names = ["tuned:event", "tuned:scene"]
    tiers = make_tiers(names, TierInputs(TierConfigs(finetuned=CONFIG), sources, None))
    assert [tier.name for tier in tiers] == ["tuned:scene", "tuned:event"]
    assert all(tier.untrained for tier in tiers)
    rng = np.random.default_rng(0)
    large = rng.integers(0, 256, (9, 256, 256, 3), dtype=np.uint8)
    means = large.reshape(9, 64, 4, 64, 4, 3).mean(axis=(2, 4))
    small = np.floor(means + 0.5).astype(np.uint8)
    model = FinetuneModel(
        networks, MLP(2768, (8,)), {"scene": np.arange(720), "event": np.arange(720, 2768)}, FinetuneConfig()
    ).eval()
    with torch.no_grad():
        expected = model.vectors([torch.from_numpy(small)])
    for tier, name in zip(tiers, ("scene", "event"), strict=True):
        tier.setup(torch.device("cpu"))
        values = average_windows(tier.compute([Window(large)]))
        (found,) = values.values()
        assert list(values) == [f"tuned_{name}"] == tier.schema.names[1:]
        reference = expected[name][0].numpy()
        # OpenCV rounds a mean of exactly a half to the even side: a few pixels differ by one step of 255.
        assert np.linalg.norm(found - reference) / np.linalg.norm(reference) < 2e-3


def test_they_come_with_a_bundle_alone():
    assert select_computed(["event", "tuned:scene", "raw"]) == ["raw", "event", "tuned:scene"]
    with pytest.raises(ConfigError, match="comes with the bundle of an unfrozen model"):
        make_tiers(["tuned:scene"], TierInputs(TierConfigs(), {}, None))


@pytest.mark.parametrize("tier", [f"tuned:{name}" for name in FINETUNED])
def test_a_network_s_file_names_its_tier(tier):
    assert network_file_name(tier) == f"{tier.replace(':', '-')}.safetensors"
    assert tier_of_network_file(network_file_name(tier)) == tier


@pytest.mark.parametrize(("variant", "blocks"), [("ip", 3), ("ir", 1)])
def test_networks_are_those_of_the_tiers_in_the_variant_asked_for(variant, blocks):
    with torch.device("meta"):
        networks = build_networks(["event"], variant)
    assert list(networks) == ["event"]
    separated = networks["event"].get_submodule("layer1.0.conv2.0")
    assert len(list(separated.children()) or [separated]) == blocks
