"""What tiers that are a network's vector have in common."""

import numpy as np
import pyarrow as pa
import pytest
import torch
from torch import nn

from m3ray.config import SceneConfig
from m3ray.tiers.network import Network, Normalise, WeightSource
from m3ray.tiers.network_tier import VectorTier


class Pooled(nn.Module):
    def forward(self, x):
        return x.flatten(2).mean(dim=2)


class PooledTier(VectorTier):
    name = "pooled"
    width = 3
    whole_clip = False

    @property
    def network(self):
        return Network(Pooled, Normalise((0, 0, 0), (1, 1, 1)), self.source, "float32")


def test_the_table_has_the_vector_under_the_tier_s_name():
    tier = PooledTier(SceneConfig(), WeightSource())
    assert tier.schema.names == ["clip_id", "pooled"]
    assert tier.schema.field("pooled").type == pa.list_(pa.float32(), 3)


def test_the_identity_holds_settings_and_weights():
    tier = PooledTier(SceneConfig(precision="float32"), WeightSource("w.pth", "ab"))
    expected = {"tier": "pooled", "code": 1, "config": {"precision": "float32"}, "weights": {"sha256": "ab"}}
    assert tier.identity() == expected
    assert not tier.untrained
    assert PooledTier(SceneConfig(), WeightSource()).untrained


def test_setup_makes_the_network_ready():
    tier = PooledTier(SceneConfig(), WeightSource())
    tier.setup(torch.device("cpu"))
    (features,) = tier.loaded([torch.full((1, 4, 4, 3), 255, dtype=torch.uint8)])
    np.testing.assert_allclose(features, [[1, 1, 1]])


@pytest.mark.parametrize("attribute", ["name", "width", "network"])
def test_a_subclass_that_lacks_something_is_named(attribute):
    class Unfinished(VectorTier):
        pass

    with pytest.raises(TypeError, match="Unfinished"):
        getattr(Unfinished(SceneConfig(), WeightSource()), attribute)
