"""A network of clips that is small enough to differentiate by hand, and a bundle that sees it."""

import torch
from made_bundles import make_bundle
from small_maps import SIZE
from torch import nn

from m3ray.config import SceneConfig
from m3ray.features.matrix import Block
from m3ray.tiers.network import LoadedNetwork, Normalise, WeightSource, compute_vectors
from m3ray.tiers.network_tier import VectorTier

NORMALISE = Normalise((0.5, 0.5, 0.5), (0.25, 0.25, 0.25))
BLOCKS = (Block("tiny", ("tiny_0", "tiny_1"), False),)


class TinyNetwork(nn.Module):
    """Two weighted sums over the pixels and frames of clips, (B, 3, T, H, W) or of images, to (B, 2)."""

    def __init__(self):
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.weights = nn.Parameter(torch.randn(2, 3, SIZE, SIZE, generator=generator) / SIZE)

    def forward(self, x):
        x = x.mean(dim=2) if x.ndim == 5 else x
        return torch.einsum("bchw,kchw->bk", x, self.weights)


class TinyTier(VectorTier):
    """The vector of the tiny network over each window."""

    name, width, whole_clip = "tiny", 2, True

    def __init__(self):
        super().__init__(SceneConfig("float32"), WeightSource(seed=0))
        self.loaded = LoadedNetwork(TinyNetwork().eval(), NORMALISE, torch.device("cpu"), torch.float32)

    def compute(self, windows):
        from m3ray.tiers.base import WeightedValue

        vectors = compute_vectors(self.loaded, [window.frames for window in windows], self.column)
        return [
            {"tiny": WeightedValue(vector["tiny"].value, len(window.frames))}
            for vector, window in zip(vectors, windows, strict=True)
        ]


def make_tiny_bundle():
    return make_bundle(BLOCKS)
