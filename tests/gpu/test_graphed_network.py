"""CUDA graphs on a real GPU: the same features as without, for every bucket."""

import pytest
import torch

from m3ray.tiers.backbones.csn import CSN
from m3ray.tiers.event import NORMALISE
from m3ray.tiers.graphed_network import GraphedNetwork
from m3ray.tiers.network import Network, WeightSource

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU"),
]
GPU = torch.device("cuda", 0)


# A batch that is padded may be computed by another kernel, which sums in another order.
@pytest.mark.parametrize(("precision", "bound"), [("float32", 1e-5), ("bfloat16", 2e-2)])
def test_features_are_those_without_graphs(precision, bound):
    loaded = Network(lambda: CSN((1, 1, 1, 1), "ip"), NORMALISE, WeightSource(), precision).load(GPU)
    assert isinstance(loaded._compute, GraphedNetwork)
    generator = torch.Generator().manual_seed(0)
    with torch.inference_mode():
        for batch, frames in ((3, 8), (3, 8), (3, 8), (4, 8), (2, 16), (2, 16), (2, 16), (3, 8)):
            clips = torch.randint(0, 256, (batch, frames, 64, 64, 3), generator=generator, dtype=torch.uint8).to(GPU)
            found, expected = loaded.compute_features(clips), loaded._compute_plainly(clips)
            assert ((found - expected).norm() / expected.norm()).item() < bound
    assert set(loaded._compute._graphs) == {(4, 8, 64, 64, 3), (2, 16, 64, 64, 3)}
