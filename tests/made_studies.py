"""Data of a study whose scores follow a known function of one user-provided tier."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from m3ray.config import TrainConfig
from m3ray.features.dataset import StudyData
from m3ray.features.matrix import Block, Features

LINEAR = TrainConfig(hidden=(), epochs=8, learning_rate=1e-2)


def make_study(
    function: Callable[[np.ndarray], np.ndarray],
    rows: int = 500,
    columns: int = 20,
    noise: float = 0.0,
    seed: int = 0,
    val: int = 100,
) -> StudyData:
    rng = np.random.default_rng(seed)
    values = rng.standard_normal((rows, columns)).astype(np.float32)
    signal = function(values)
    scores = 0.5 + 0.1 * signal / signal.std() + noise * rng.standard_normal(rows)
    block = Block("text", tuple(f"text_{k}" for k in range(columns)), True, (columns,))
    features = Features(tuple(map(str, range(rows))), values, (block,))
    return StudyData.make(features, scores.clip(0, 1), ["train"] * (rows - val) + ["val"] * val)
