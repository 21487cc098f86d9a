"""Bundles with all that a model card tells, and with nothing of it."""

from dataclasses import replace

import numpy as np
from made_bundles import make_bundle, make_pretrained
from scipy.stats import spearmanr

from m3ray.features.matrix import Block
from m3ray.storage.tier_index import TierEntry

SCENE = "http://sceneparsing.csail.mit.edu/model/pytorch/ade20k-hrnetv2-c1/encoder_epoch_30.pth"
DIGEST = "ab" * 32
CEILING = {
    "clips": 200,
    "responses": 40.0,
    "reliability": 0.7,
    "pearson": 0.84,
    "spearman": 0.81,
    "low": 0.75,
    "high": 0.86,
}
DATA = {
    "dataset": "memento10k",
    "clips": 1300,
    "train": 1000,
    "val": 200,
    "test": 100,
    "split": {"seed": 3, "group": "film"},
    "responses": {"clips": 1300, "fewest": 20.0, "median": 40.0, "most": 61.0},
    "near_duplicates": "none found",
    "ceiling": {"val": CEILING},
    "ceiling_basis": "score",
    "on_test": {"spearman": 0.5, "mse": 0.01, "mean_error": 0.001, "variance": 0.02},
}
BLOCKS = (Block("raw", ("a", "b"), True), Block("scene", ("s0",), False), Block("text", ("t",), False))


def make_pairs(count=200, seed=0):
    """Scores and truth of `count` clips, float32 (2, count)."""
    rng = np.random.default_rng(seed)
    scores = rng.uniform(0.2, 0.9, count)
    return np.stack([scores, scores + 0.1 * rng.standard_normal(count)]).astype(np.float32)


def make_known(**changes):
    """A bundle that knows everything; its calibration clips are val."""
    pairs = make_pairs().astype(np.float64)
    error = pairs[0] - pairs[1]
    metadata = {
        "tiers": {
            "raw": TierEntry("raw-1", identity={"tier": "raw"}),
            "scene": TierEntry("scene-1", identity={"tier": "scene"}),
            "text": TierEntry("text-1", identity={"columns": {"t": 1}}, user_provided=True),
            "resmem": TierEntry("resmem-1", identity={"tier": "resmem"}),
            "event": TierEntry("event-1", identity={"tier": "event"}),
        },
        "sources": {
            "scene": {"location": SCENE, "sha256": DIGEST, "seed": 0},
            "resmem": {"location": "/home/ada/env/resmem/model.pt", "sha256": DIGEST, "seed": 0},
            "event": {"location": "/home/ada/weights/csn.pth", "sha256": DIGEST, "seed": 0},
        },
        "variant": {"name": "M3-S", "training": {"loss": "mse", "epochs": 20}},
        "seeds": [0, 1],
        "trained_on": {
            "train_clips": 1000,
            "val_clips": 200,
            "mean_score": 0.6,
            "lowest_score": 0.1,
            "highest_score": 0.95,
            "val_spearman": float(spearmanr(pairs[0], pairs[1]).statistic),
            "val_mse": float(np.mean(error**2)),
            "val_mean_error": float(error.mean()),
            "val_variance": 0.03,
        },
        "data": DATA,
        "versions": {"m3ray": "0.1.0", "torch": "2.14.1"},
        "calibrated_on": "val",
        "model": "mlp",
    }
    blocks = (*BLOCKS, Block("resmem", ("r", "r_spread"), False), Block("event", ("e0",), False))
    bundle = make_bundle(blocks, **{**metadata, **changes})
    return replace(bundle, calibration=make_pairs())


def make_unknown(sources=None):
    """A bundle of an earlier m3ray, which recorded next to nothing."""
    return make_bundle(BLOCKS, sources={"scene": {"location": None, "sha256": None, "seed": 3}, **(sources or {})})


__all__ = ["DATA", "DIGEST", "make_known", "make_pairs", "make_pretrained", "make_unknown"]
