"""Data of a study with a planted effect."""

import numpy as np
import torch

from m3ray.features.dataset import StudyData
from m3ray.features.matrix import Block, Features

CPU = torch.device("cpu")


def planted(rows=600, seed=0):
    """Raw features of which only the second matters."""
    rng = np.random.default_rng(seed)
    values = rng.standard_normal((rows, 3)).astype(np.float32)
    scores = 1 / (1 + np.exp(-(values[:, 1] + 0.3 * rng.standard_normal(rows))))
    block = Block("raw", ("brightness", "contrast", "blurriness"), True)
    features = Features(tuple(f"c{k}" for k in range(rows)), values, (block,))
    return StudyData.make(features, scores, ["train" if k % 5 else "val" for k in range(rows)])


def planted_tiers(rows=2000, seed=0, *, test=False):
    """Four columns; the second decides the score, the first a little, the others not at all."""
    rng = np.random.default_rng(seed)
    values = rng.standard_normal((rows, 4)).astype(np.float32)
    scores = 1 / (1 + np.exp(-(values[:, 1] + 0.3 * values[:, 0] + rng.standard_normal(rows))))
    block = Block("raw", ("brightness", "contrast", "blurriness", "mean_optical_flow"), True)
    features = Features(tuple(f"c{k}" for k in range(rows)), values, (block,))
    held_out = ("val", "train", "test", "train") if test else ("val", "train", "train", "train")
    return StudyData.make(features, scores, [held_out[k % 4] for k in range(rows)])
