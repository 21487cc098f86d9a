"""Fine-tuned networks as tiers: what a bundle computes is what the training saw."""

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from m3ray.config import TierConfigs, TunedConfig
from m3ray.config.finetuning import UnfrozenConfig
from m3ray.errors import ConfigError
from m3ray.model import MLP
from m3ray.tiers import Window
from m3ray.tiers.backbones import hrnetv2_w48, ip_csn_152, sha256_of, untrained_
from m3ray.tiers.base import clip_values
from m3ray.tiers.factory import Ingredients, computed, make_tiers
from m3ray.tiers.network import WeightSource
from m3ray.training.finetuning.model import FullModel

CONFIG = TunedConfig(precision="float32", size=64, network="ip", untrained=True)


@pytest.fixture(scope="module")
def networks():
    return {"scene": untrained_(hrnetv2_w48(), 3), "event": untrained_(ip_csn_152(), 3)}


def test_the_tiers_vectors_are_the_training_s(networks, tmp_path):
    sources = {}
    for name, module in networks.items():
        path = tmp_path / f"tuned-{name}.safetensors"
        save_file({k: v for k, v in module.state_dict().items() if "num_batches" not in k}, path)
        sources[f"tuned:{name}"] = WeightSource(str(path), sha256_of(path))
    names = ["tuned:event", "tuned:scene"]
    tiers = make_tiers(names, Ingredients(TierConfigs(tuned=CONFIG), sources, None))
    assert [tier.name for tier in tiers] == ["tuned:scene", "tuned:event"]
    assert all(tier.untrained for tier in tiers)
    rng = np.random.default_rng(0)
    large = rng.integers(0, 256, (9, 256, 256, 3), dtype=np.uint8)
    means = large.reshape(9, 64, 4, 64, 4, 3).mean(axis=(2, 4))
    small = np.floor(means + 0.5).astype(np.uint8)
    model = FullModel(
        networks, MLP(2768, (8,)), {"scene": np.arange(720), "event": np.arange(720, 2768)}, UnfrozenConfig()
    ).eval()
    with torch.no_grad():
        expected = model.vectors([torch.from_numpy(small)])
    for tier, name in zip(tiers, ("scene", "event"), strict=True):
        tier.setup(torch.device("cpu"))
        values = clip_values(tier.measure([Window(large)]))
        (found,) = values.values()
        assert list(values) == [f"tuned_{name}"] == tier.schema.names[1:]
        reference = expected[name][0].numpy()
        # OpenCV rounds a mean of exactly a half to the even side: a few pixels differ by one step of 255.
        assert np.linalg.norm(found - reference) / np.linalg.norm(reference) < 2e-3


def test_they_come_with_a_bundle_alone():
    assert computed(["event", "tuned:scene", "raw"]) == ["raw", "event", "tuned:scene"]
    with pytest.raises(ConfigError, match="comes with the bundle of an unfrozen model"):
        make_tiers(["tuned:scene"], Ingredients(TierConfigs(), {}, None))
